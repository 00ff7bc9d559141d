"""What a run would bring from the hub."""

from __future__ import annotations

from huggingface_hub import try_to_load_from_cache

from goft_cli.config import TrainConfig
from goft_cli.preflight import model_location
from goft_cli.sharing import hub

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""One of them is there with the weights; `config.json` alone comes with a plan."""


def downloads(cfg: TrainConfig) -> list[str]:
    """Name the model and the datasets that are on the hub and not in the cache."""
    missing = []
    if isinstance(model_location(cfg.model.path), str) and not has_weights(cfg.model.path):
        missing.append(f"model {cfg.model.path}")
    here = {item.partition(" ")[0] for item in hub.cached("dataset")}
    for task in (cfg.task, cfg.benchmark):
        dataset = task.remote_dataset if task else None
        if dataset and dataset.id not in here:
            missing.append(f"dataset {dataset.id}")
    return missing


def has_weights(name: str) -> bool:
    """Tell whether the cache holds the weights of a model."""
    return any(isinstance(try_to_load_from_cache(name, file), str) for file in WEIGHTS)
