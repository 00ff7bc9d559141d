"""What a run reads of the hub: which of it is here, and what it would download."""

from __future__ import annotations

from goft_cli.config import TrainConfig
from goft_cli.data import dataset_files, model_files
from goft_cli.system.locations import model_location


def hub_items(cfg: TrainConfig) -> dict[str, bool]:
    """Tell of the model and the datasets on the hub whether the caches hold all that is read."""
    items = {}
    if isinstance(model_location(cfg.model.path), str):
        items[f"model {cfg.model.path}"] = model_files.is_cached(cfg.model)
    for task in (cfg.task, cfg.benchmark):
        dataset = task.remote_dataset if task else None
        if task and dataset:
            found = dataset_files.dataset_is_cached(dataset, task.splits)
            items[f"dataset {dataset.id}"] = found
    return items
