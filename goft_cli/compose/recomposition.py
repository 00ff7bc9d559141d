"""Compose `goft train` within another command, to the same configuration and run folder."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from goft_cli.compose.composition import freeze, register
from goft_cli.compose.store import config_source
from goft_cli.compose.suggest import CommandLine, explain, open_configs, without_hydra
from goft_cli.config import TrainConfig
from goft_cli.system.errors import GoftError

VERB = "train"


def compose_train(words: Sequence[str]) -> TrainConfig:
    """Compose what `goft train` makes of these overrides; of several with one key, the last."""
    chosen = list({word.partition("=")[0]: word for word in words}.values())
    register(VERB)
    GlobalHydra.instance().clear()
    try:
        with open_configs(config_source(VERB)[0]):
            return compose_here(chosen)
    except (HydraException, OmegaConfBaseException) as error:
        refusal = explain(error, CommandLine(VERB, tuple(chosen)))
        raise (refusal or GoftError(str(error))) from error


def compose_here(words: Sequence[str]) -> TrainConfig:
    """Compose what `goft train` makes of these words, with the folders that Hydra has open."""
    opened, settings = GlobalHydra.instance().hydra, HydraConfig.instance()
    assert opened is not None, "runs are composed where Hydra is at work"
    cfg, outer = opened.compose_config(VERB, list(words), RunMode.RUN), settings.cfg
    try:
        return freeze(without_hydra(cfg), TrainConfig)
    finally:
        settings.cfg = outer
