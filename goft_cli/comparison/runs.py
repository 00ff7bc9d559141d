"""The runs behind a comparison: those of `goft train` with the same words, and so reused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from goft_cli.command_line.keys import verb_choices
from goft_cli.command_line.nearest import did_you_mean
from goft_cli.command_line.recomposition import compose_here
from goft_cli.config import CompareConfig, TrainConfig
from goft_cli.errors import GoftError
from goft_cli.runs.files import read_json
from goft_cli.runs.provenance import is_reusable
from goft_cli.runs.run_folder import RunFolder

PER_RUN = {"adapter": "adapters=[...]", "seed": "seeds=[...]", "run_name": "other keys"}
"""What differs from run to run, and what says it here."""
PER_COMPARISON = {entry.name for entry in fields(CompareConfig)} - {
    entry.name for entry in fields(TrainConfig) if entry.name != "output_dir"
}
"""What no run is told."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: what follows `goft train`, and what that composes to."""

    words: tuple[str, ...]
    cfg: TrainConfig

    @property
    def folder(self) -> RunFolder:
        """Where it is, or will be."""
        return RunFolder(Path(self.cfg.output_dir))

    @property
    def command(self) -> str:
        """What a user types for this run alone."""
        return " ".join(["goft", "train", *self.words])


@dataclass(frozen=True)
class Result:
    """What a finished run says of itself.

    Attributes:
        score: the task's headline.
        parameters: that the adapter trains; `head_parameters` train beside it.
        train_seconds: wall clock.
        peak_memory_bytes: of the process, or of the GPU's allocator.
        environment: versions and hardware.
    """

    adapter: str
    seed: int
    score: float
    parameters: int
    head_parameters: int
    train_seconds: float
    peak_memory_bytes: int
    environment: dict[str, Any]
    folder: Path


def shared_words() -> list[str]:
    """Return what the user said of all runs alike.

    Raises:
        GoftError: it was said of all runs, but differs from run to run.
    """
    kept = []
    for word in HydraConfig.get().overrides.task:
        key = word.lstrip("+~").partition("=")[0]
        if key in PER_RUN:
            raise GoftError(
                f"{word}: the runs of a comparison differ in it",
                f"pass {PER_RUN[key]}",
            )
        if key not in PER_COMPARISON:
            kept.append(word)
    return kept


def plan(words: Sequence[str], adapter: str, seed: int) -> PlannedRun:
    """Compose one run as `goft train` composes it.

    Args:
        words: of all runs, and what this adapter needs besides.
        adapter: its name.
        seed: its seed.

    Raises:
        HydraException, OmegaConfBaseException: the words do not compose with this adapter.
        GoftError: a value is out of range.
    """
    own = (f"adapter={adapter}", f"seed={seed}", *words)
    return PlannedRun(own, compose_here(own))


def check_adapters(names: Sequence[str]) -> None:
    """Refuse an adapter that there is none of, before anything heavy is imported.

    Raises:
        GoftError: names the nearest one.
    """
    choices = verb_choices("train", tuple(map(Path, own_folders())))["adapter"]
    for name in names:
        if name not in choices:
            raise GoftError(f"adapters: there is no adapter {name}", did_you_mean(name, choices))


def config_flags() -> list[str]:
    """Return the flags that name the user's own folder of configurations."""
    return [part for path in own_folders() for part in ("--config-dir", path)]


def own_folders() -> list[str]:
    """Return the user's own folder of configurations, if there is one."""
    sources = HydraConfig.get().runtime.config_sources
    return [source.path for source in sources if source.provider == "command-line"]


def is_done(run: PlannedRun) -> bool:
    """Tell whether a run is finished, and may be compared.

    Raises:
        GoftError: it is, but its base model or its data has changed since.
    """
    return is_reusable(run.cfg, f"restore it, or train that run anew: {run.command} overwrite=true")


def finish(run: PlannedRun, flags: Sequence[str]) -> None:
    """Train unless that is done, in a process of its own, whose peak of memory is its own too.

    Raises:
        GoftError: the run failed; it has said why.
        KeyboardInterrupt: after the run, which was told to end too, has saved a checkpoint.
    """
    if is_done(run):
        return
    command = [sys.executable, "-m", "goft_cli", "train", *flags, *run.words]
    # in a session of its own, so that Ctrl-C reaches it once: a second one would not let it save
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if code:
        raise GoftError(
            f"{run.command} failed, as it says above",
            "then start the comparison again",
        )


def read_result(run: PlannedRun) -> Result:
    """Read what a finished run left.

    Raises:
        GoftError: its files are damaged.
    """
    metrics = read_json(run.folder.metrics)
    return Result(
        adapter=run.cfg.adapter.name,
        seed=run.cfg.seed,
        score=metrics["headline"]["value"],
        parameters=metrics["trainable_parameters"],
        head_parameters=metrics["head_parameters"],
        train_seconds=metrics["train_seconds"],
        peak_memory_bytes=metrics["peak_memory_bytes"],
        environment=read_json(run.folder.manifest)["environment"],
        folder=run.folder.path,
    )
