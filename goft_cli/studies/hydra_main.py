"""Hand the composed configuration to a verb, or each job of a sweep in its own process.

What a sweep needs is imported late, since most commands are not sweeps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from goft_cli.compose.composition import freeze, register
from goft_cli.compose.flags import overrides_first, read_flags
from goft_cli.compose.store import config_source

ConfigT = TypeVar("ConfigT")


def run_composed(verb: str, kind: type[ConfigT], job: Callable[[ConfigT], object]) -> None:
    """Let Hydra compose `configs/<verb>.yaml` with `sys.argv`, then hand the dataclass to `job`.

    A sweep hands each of its configurations to `job` in a process of its own.
    """
    register(verb)
    refused: list[Exception] = []

    def task(cfg: DictConfig) -> float | None:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            register(verb)  # a launcher may have started a new process
            from goft_cli.studies.jobs import swept

            return swept(lambda: freeze(cfg, kind), job)
        try:
            job(freeze(cfg, kind))
        except Exception as error:
            refused.append(error)  # raised outside Hydra, which would print it in its own form
        return None

    place, name = config_source(verb)
    main = hydra.main(version_base="1.3", config_path=place, config_name=name)(task)
    words = sys.argv[1:]
    with sweep_of(words) as added, composed_once(words):
        sys.argv[:] = ["goft", *overrides_first([*words, *added])]
        main()
    if refused:
        raise refused[0]


def sweep_of(words: Sequence[str]) -> AbstractContextManager[list[str]]:
    """Return a context for running Hydra with these words; it yields the words to add."""
    if not read_flags(words).multirun:
        return nullcontext([])
    from goft_cli.studies.sweep import sweeping

    return sweeping(words)


@contextmanager
def composed_once(words: Sequence[str]) -> Iterator[None]:
    """Skip Hydra's composition for `hydra.mode` if no word can have set that key.

    Hydra composes everything first, only to read `hydra.mode`. It is null unless set by a flag, by
    an override of Hydra's own keys, or in a folder that a flag adds.
    """
    asked = Hydra.get_mode
    if not any(word.lstrip("+~").startswith(("-", "hydra")) for word in words):
        Hydra.get_mode = lambda *_, **__: None
    try:
        yield
    finally:
        Hydra.get_mode = asked
