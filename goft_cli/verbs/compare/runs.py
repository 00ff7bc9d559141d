"""The runs of a comparison: those of `goft train` with the same overrides, and so reused."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from goft_cli.compose.keys import verb_choices
from goft_cli.compose.recomposition import compose_seeds, own_folders
from goft_cli.compose.words import did_you_mean
from goft_cli.config import CompareConfig, TrainConfig
from goft_cli.run.provenance import is_reusable
from goft_cli.run.record import RunRecord
from goft_cli.system.errors import GoftError, RankError, UnusableError
from goft_cli.verbs.train import finish_run

PER_RUN = {"adapter": "adapters=[...]", "seed": "seeds=[...]", "run_name": "other keys"}
"""Keys that differ from run to run, and how a comparison sets them."""
PER_COMPARISON = {entry.name for entry in fields(CompareConfig)} - {
    entry.name for entry in fields(TrainConfig) if entry.name != "output_dir"
}
"""Keys that are not passed on to a run."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of `goft train`.

    Attributes:
        words: overrides.
        cfg: the configuration that they compose to.
        folders: the user's own config folders, in which they compose.
    """

    words: tuple[str, ...]
    cfg: TrainConfig
    folders: tuple[Path, ...] = ()

    @property
    def adapter(self) -> str:
        """The adapter as it was chosen; its YAML may have another `name`."""
        return self.words[0].partition("=")[2]

    @property
    def command(self) -> str:
        """What a user types for this run alone."""
        flags = [word for folder in self.folders for word in ("--config-dir", str(folder))]
        return shlex.join(["goft", "train", *flags, *self.words])

    @property
    def record(self) -> RunRecord:
        """Its record, once it is finished."""
        return RunRecord.of(self.cfg)


Runs = Mapping[str, Sequence[PlannedRun]]
"""The runs of each adapter, one per seed."""


def shared_words() -> list[str]:
    """Return the user's overrides for all runs."""
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
    """Compose runs as `goft train` does; `words` are the overrides of all runs and of this adapter.

    Raises:
        HydraException, OmegaConfBaseException: the words do not compose with this adapter.
    """
    chosen = f"adapter={adapter}"
    return [
        PlannedRun((chosen, f"seed={cfg.seed}", *words), cfg, own_folders())
        for cfg in compose_seeds([chosen, *words], seeds)
    ]


def check_adapters(names: Sequence[str]) -> None:
    """Refuse an unknown adapter, before anything heavy is imported."""
    choices = verb_choices("train", own_folders())["adapter"]
    for name in names:
        if name not in choices:
            raise GoftError(f"adapters: there is no adapter {name}", did_you_mean(name, choices))


def check_folders(runs: Runs) -> None:
    """Refuse adapters whose runs would share a folder, where one would replace the other."""
    owners: dict[str, str] = {}
    for name, (run, *_) in runs.items():
        owner = owners.setdefault(run.cfg.output_dir, name)
        if owner != name:
            adapter = run.cfg.adapter
            copy = name if owner == adapter.name else owner
            raise GoftError(
                f"adapters: {owner} and {name} both have name: {adapter.name}, so their runs have "
                "the same folder",
                f"write name: {copy} and recipe: {adapter.recipe} into {copy}.yaml",
            )


def without(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """Return the overrides that set none of the keys, nor one below them."""
    starts = tuple(f"{key}{end}" for key in keys for end in ("=", "."))
    return [word for word in words if not f"{word.lstrip('+~')}=".startswith(starts)]


def is_done(run: PlannedRun) -> bool:
    """Tell whether a run is finished; refuse one whose data or model has changed since."""
    return is_reusable(
        run.cfg, f"restore it, or train that run again: {run.command} overwrite=true"
    )


def finish_all(runs: Runs, *, trials: bool = False) -> None:
    """Train the missing runs, adapter by adapter within a seed, and print each command."""
    from goft_cli.run.summary import screen  # late, as rich takes longer than the checks before

    by_seed = [run for together in zip(*runs.values(), strict=True) for run in together]
    missing = [run for run in by_seed if not is_done(run)]
    kind = "trials" if trials else "runs"
    done = len(by_seed) - len(missing)
    screen.print(f"{len(by_seed)} {kind}, {done} of them finished already", highlight=False)
    for number, run in enumerate(missing, start=1):
        screen.print(
            f"{number} of {len(missing)}: {run.command}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        finish(run, trial=trials)


def finish(run: PlannedRun, *, trial: bool = False) -> None:
    """Train unless the run is finished; if it fails, say why on stderr before raising.

    A `trial` that gives no adapter to use stays unfinished, which is no error.

    Raises:
        KeyboardInterrupt: after the run, which was told to end too, has saved a checkpoint.
    """
    try:
        # a run in a new process has goft train's memory peak; a trial's peak is not reported
        finish_run(run.cfg, several=trial)
    except UnusableError as error:
        if not trial:
            raise refused(run, error) from error
        print(f"goft: this trial counts as the worst: {error.problem}", file=sys.stderr)
    except (GoftError, RankError) as error:
        raise refused(run, error) from error


def refused(run: PlannedRun, error: Exception) -> GoftError:
    """Say on stderr why a run failed; return the error of the comparison."""
    print(f"goft: {error}", file=sys.stderr)
    failed = f"{run.command} failed, see its error above"
    return GoftError(failed, "then start the comparison again")
