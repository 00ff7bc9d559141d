"""Compose `goft train` within another command, to the same configuration and run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from goft_cli.compose.composition import freeze, register
from goft_cli.compose.store import config_source
from goft_cli.compose.suggest import CommandLine, explain, open_configs, without_hydra
from goft_cli.compose.words import in_full, spelled
from goft_cli.config import ModelConfig, TrainConfig
from goft_cli.config.model import yaml_of
from goft_cli.system.errors import GoftError

VERB = "train"


def compose_train(words: Sequence[str]) -> TrainConfig:
    """Compose these overrides as `goft train` does; of several with one key, the last counts."""
    written = (in_full(VERB, word) for word in words)
    chosen = list({word.partition("=")[0]: word for word in written}.values())
    register(VERB)
    GlobalHydra.instance().clear()
    try:
        with open_configs(config_source(VERB)[0]):
            return compose_here(chosen)
    except (HydraException, OmegaConfBaseException) as error:
        refusal = explain(error, CommandLine(VERB, tuple(chosen)))
        raise (refusal or GoftError(str(error))) from error


def compose_here(words: Sequence[str]) -> TrainConfig:
    """Compose these overrides as `goft train` does, with Hydra's present config folders."""
    with composed_here(words) as cfg:
        return freeze(cfg, TrainConfig)


def compose_seeds(words: Sequence[str], seeds: Sequence[int]) -> list[TrainConfig]:
    """Do what `compose_here` does for each seed; the overrides may not set one.

    Hydra composes once: from seed to seed, only the value and its override change.
    """
    first, *others = ([f"seed={seed}", *words] for seed in seeds)
    with composed_here(first) as cfg:
        made, hydra = [freeze(cfg, TrainConfig)], HydraConfig.get()
        # a user's config folder may have a group `seed`, or put the override into the run's name
        if "seed" in hydra.runtime.choices or first[0] in hydra.job.override_dirname:
            return made + [compose_here(other) for other in others]
        for seed, other in zip(seeds[1:], others, strict=True):
            cfg.seed = seed
            with read_write(cast(DictConfig, hydra)):
                hydra.overrides.task[0] = other[0]
            made.append(freeze(cfg, TrainConfig))
    return made


def model_words(model: ModelConfig) -> list[str]:
    """Return the overrides that select a model."""
    if yaml_of(model.name).is_file():
        return [f"model={model.name}"]
    return ["model=auto", f"model.path={spelled(model.path)}"]


def own_folders() -> tuple[Path, ...]:
    """Return the folders that `--config-dir` names."""
    sources = HydraConfig.get().runtime.config_sources
    return tuple(Path(source.path) for source in sources if source.provider == "command-line")


def words_of_groups(*groups: str) -> list[str]:
    """Return this command's `--config-dir`, its choices of some groups, and its keys of these."""
    settings = HydraConfig.get()
    flags = [word for folder in own_folders() for word in ("--config-dir", str(folder))]
    choices = [f"{group}={settings.runtime.choices[group]}" for group in groups]
    keys = tuple(f"{group}." for group in groups)
    typed = [word for word in settings.overrides.task if word.lstrip("+~").startswith(keys)]
    return [*flags, *choices, *typed]


@contextmanager
def separate_hydra() -> Iterator[None]:
    """Let the block initialize Hydra anew; restore its config folders and settings afterwards."""
    opened, settings = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    try:
        yield
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = opened, settings


@contextmanager
def composed_here(words: Sequence[str]) -> Iterator[DictConfig]:
    """Compose without resolving; within the block, `${hydra:...}` is that of these overrides."""
    opened, settings = GlobalHydra.instance().hydra, HydraConfig.instance()
    assert opened is not None, "runs are composed only after Hydra is initialized"
    cfg, outer = opened.compose_config(VERB, list(words), RunMode.RUN), settings.cfg
    try:
        yield without_hydra(cfg)
    finally:
        settings.cfg = outer
