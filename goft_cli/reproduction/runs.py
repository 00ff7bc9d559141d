"""The runs behind a cell, composed as `goft train` composes them: what is there is reused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import open_dict
from omegaconf.errors import OmegaConfBaseException

from goft_cli.commands.train import train
from goft_cli.composition import config_source, freeze, register
from goft_cli.config import MeasureConfig, TrainConfig
from goft_cli.errors import GoftError
from goft_cli.run_folder import RunFolder, read_json
from goft_cli.suggest import CommandLine, explain, open_configs

VERB = "train"


@dataclass(frozen=True)
class Run:
    """A finished run of one seed."""

    cfg: TrainConfig
    folder: RunFolder
    metrics: dict[str, Any]
    manifest: dict[str, Any]

    def value(self, measure: MeasureConfig) -> float:
        """Return the number that a recipe compares, in the paper's unit.

        Raises:
            GoftError: the run has no such number.
        """
        found: Any = self.metrics
        for step in measure.key.split("."):
            if not isinstance(found, dict) or step not in found:
                raise GoftError(
                    f"{self.folder.metrics}: there is no {measure.key}; correct the recipe's key"
                )
            found = found[step]
        return measure.scale * found


def finished_run(cfg: TrainConfig) -> Run:
    """Train, or find it done, and read what it left.

    Raises:
        GoftError: the run refuses its input, or fails.
    """
    train(cfg)
    folder = RunFolder(Path(cfg.output_dir))
    return Run(cfg, folder, read_json(folder.metrics), read_json(folder.manifest))


def compose_train(words: Sequence[str]) -> TrainConfig:
    """Compose what `goft train` makes of these words, run folder included.

    Args:
        words: overrides; of several with one key, the last.

    Raises:
        GoftError: a word is not one that `goft train` knows.
    """
    chosen = list({word.partition("=")[0]: word for word in words}.values())
    register(VERB)
    GlobalHydra.instance().clear()
    place, name = config_source(VERB)
    try:
        with open_configs(place):
            cfg = compose(name, chosen, return_hydra_config=True)
            HydraConfig.instance().set_config(cfg)  # names the run folder
            with open_dict(cfg):
                del cfg["hydra"]
            return freeze(cfg, TrainConfig)
    except (HydraException, OmegaConfBaseException) as error:
        sentence = explain(error, CommandLine(VERB, tuple(chosen)))
        raise GoftError(sentence or str(error)) from error
