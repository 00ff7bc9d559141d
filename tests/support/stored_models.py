"""The weights of a small model in every file format in which models are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SAFE, PICKLE = "model.safetensors", "pytorch_model.bin"
Tensors = dict[str, Tensor]


def write_safe(folder: Path, tensors: Tensors) -> None:
    save_file(tensors, folder / SAFE, metadata={"format": "pt"})


def write_pickle(folder: Path, tensors: Tensors) -> None:
    torch.save(tensors, folder / PICKLE)


def write_old_pickle(folder: Path, tensors: Tensors) -> None:
    torch.save(tensors, folder / PICKLE, _use_new_zipfile_serialization=False)


def write_shards(folder: Path, tensors: Tensors, *, safe: bool) -> None:
    """Put every second tensor into the second of two files, and write their index."""
    stem, _, ending = (SAFE if safe else PICKLE).partition(".")
    places = {
        name: f"{stem}-{1 + number % 2:05d}-of-00002.{ending}"
        for number, name in enumerate(sorted(tensors))
    }
    for place in set(places.values()):
        part = {name: tensors[name] for name in tensors if places[name] == place}
        if safe:
            save_file(part, folder / place, metadata={"format": "pt"})
        else:
            torch.save(part, folder / place)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index))


FORMS: dict[str, Callable[[Path, Tensors], None]] = {
    "safetensors": write_safe,
    "safetensors in shards": lambda folder, tensors: write_shards(folder, tensors, safe=True),
    "pickle": write_pickle,
    "pickle of old": write_old_pickle,
    "pickle in shards": lambda folder, tensors: write_shards(folder, tensors, safe=False),
}


def store_as(form: str, folder: Path, dtype: torch.dtype = torch.float32) -> Tensors:
    """Replace a model's `model.safetensors` by the same weights in another form; return them."""
    tensors = load_file(folder / SAFE)
    (folder / SAFE).unlink()
    FORMS[form](folder, {name: tensor.to(dtype) for name, tensor in tensors.items()})
    return tensors
