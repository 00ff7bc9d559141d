"""The runs of a comparison: those of `goft train` with the same words, and so reused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from goft_cli.compose.keys import verb_choices
from goft_cli.compose.recomposition import compose_seeds
from goft_cli.compose.words import did_you_mean
from goft_cli.config import CompareConfig, TrainConfig
from goft_cli.run.provenance import is_reusable
from goft_cli.system.errors import GoftError, RankError
from goft_cli.verbs.train import finish_run

PER_RUN = {"adapter": "adapters=[...]", "seed": "seeds=[...]", "run_name": "other keys"}
"""What differs from run to run, and how a comparison is told it."""
PER_COMPARISON = {entry.name for entry in fields(CompareConfig)} - {
    entry.name for entry in fields(TrainConfig) if entry.name != "output_dir"
}
"""Keys that are not passed on to a run."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: what follows `goft train`, and what that composes to."""

    words: tuple[str, ...]
    cfg: TrainConfig

    @property
    def command(self) -> str:
        """What a user types for this run alone."""
        return " ".join(["goft", "train", *self.words])


def shared_words() -> list[str]:
    """Return the user's words that hold for all runs."""
    kept = []
    for word in HydraConfig.get().overrides.task:
        key = word.lstrip("+~").partition("=")[0]
        if key in PER_RUN:
            raise GoftError(
                f"{word}: the runs of a comparison differ in it", f"pass {PER_RUN[key]}"
            )
        if key not in PER_COMPARISON:
            kept.append(word)
    return kept


def compose_runs(words: Sequence[str], adapter: str, seeds: Sequence[int]) -> list[PlannedRun]:
    """Compose runs as `goft train` does; `words` are those of all runs and of this adapter.

    Raises:
        HydraException, OmegaConfBaseException: the words do not compose with this adapter.
    """
    chosen = f"adapter={adapter}"
    return [
        PlannedRun((chosen, f"seed={cfg.seed}", *words), cfg)
        for cfg in compose_seeds([chosen, *words], seeds)
    ]


def check_adapters(names: Sequence[str]) -> None:
    """Refuse an unknown adapter, before anything heavy is imported."""
    sources = HydraConfig.get().runtime.config_sources
    own = tuple(Path(source.path) for source in sources if source.provider == "command-line")
    choices = verb_choices("train", own)["adapter"]
    for name in names:
        if name not in choices:
            raise GoftError(f"adapters: there is no adapter {name}", did_you_mean(name, choices))


def is_done(run: PlannedRun) -> bool:
    """Tell whether a run is finished; refuse one whose data or model has changed since."""
    return is_reusable(run.cfg, f"restore it, or train that run anew: {run.command} overwrite=true")


def finish(run: PlannedRun) -> None:
    """Train, unless that is done, and say on stderr why a run failed, before it is refused.

    Raises:
        KeyboardInterrupt: after the run, which was told to end too, has saved a checkpoint.
    """
    try:
        finish_run(run.cfg, several=False)  # so its memory compares with a run of goft train
    except (GoftError, RankError) as error:
        print(f"goft: {error}", file=sys.stderr)
        raise GoftError(
            f"{run.command} failed, see its error above", "then start the comparison again"
        ) from error
