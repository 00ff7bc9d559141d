"""Write cache entries like those of huggingface_hub and datasets, without a download."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetInfo, SplitDict, SplitInfo
from datasets import config as datasets_config
from datasets.arrow_writer import ArrowWriter
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def turn_to(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the libraries look for their caches below `root`."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root / "hub"))
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", root / "datasets")


def cache_model(root: Path, name: str, *, weights: bool = True) -> Path:
    """Write a config.json and an empty weights file into the hub's cache."""
    folder = root / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 24}))
    if weights:
        (snapshot / "model.safetensors").touch()
    return snapshot


Rows = Mapping[str, Sequence[dict[str, Any]]]
"""Rows by split."""

ONE_SENTENCE: Rows = {split: [{"sentence": split, "label": 1}] for split in ("train", "validation")}


def cache_dataset(root: Path, name: str, config: str, rows: Rows = ONE_SENTENCE) -> None:
    """Write the files that `load_dataset` leaves in its cache."""
    owner, short = name.split("/")
    folder = root / "datasets" / f"{owner}___{short}" / config / "0.0.0" / COMMIT
    folder.mkdir(parents=True)
    features = Dataset.from_list(list(next(iter(rows.values())))).features
    splits = SplitDict(dataset_name=short)
    for split, members in rows.items():
        writer = ArrowWriter(path=str(folder / f"{short}-{split}.arrow"), features=features)
        for row in members:
            writer.write(row)
        writer.finalize()
        writer.close()
        splits.add(SplitInfo(split, num_examples=len(members)))
    info = DatasetInfo(features=features, splits=splits, config_name=config, dataset_name=short)
    info.write_to_directory(str(folder))
