"""Which cell of the paper a run is, and what it should reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import yaml

from goft_cli.config import EVERY, HEADLINE, TrainConfig
from goft_cli.studies.recipes import Cell, cells


@dataclass(frozen=True)
class Published:
    """A cell of the paper.

    Attributes:
        name: what `goft reproduce` calls it.
        source: where in the paper it is.
        values: what the paper prints, by measure; None where it draws the result only.
        not_comparable: why the paper's number says nothing about ours; empty if it does.
    """

    name: str
    source: str
    values: Mapping[str, float | None]
    not_comparable: str


def published(cfg: TrainConfig) -> Published | None:
    """Find the cell whose words say what this run does; of several, the one that says most."""
    found = [cell for cell in cells() if is_of(cell, cfg)]
    if not found:
        return None
    cell = max(found, key=lambda one: len(one.words(cfg.seed)))
    recipe = cell.recipe
    values = {
        cfg.task.headline if name == HEADLINE else name: measure.paper[cell.method]
        for name, measure in recipe.measures.items()
        if cell.method in measure.paper
    }
    why = recipe.not_comparable.get(cell.method) or recipe.not_comparable.get(EVERY, "")
    return Published(cell.name, recipe.source, values, why)


def is_of(cell: Cell, cfg: TrainConfig) -> bool:
    """Tell whether every word of a cell holds of a run; its seeds are the reader's choice."""
    *words, _ = cell.words(cfg.seed)
    pairs = [word.partition("=") for word in words]
    return all(holds(key, value, cfg) for key, _, value in pairs)


def holds(key: str, value: str, cfg: TrainConfig) -> bool:
    """Tell whether a run was composed with this value, or as if it had been."""
    found: object = cfg
    for step in key.split("."):
        found = getattr(found, step, None)
    if hasattr(found, "name") and not isinstance(found, Enum):
        return getattr(found, "name") == value  # noqa: B009 - a group, of whichever schema
    plain = found.value if isinstance(found, Enum) else found
    return plain == yaml.safe_load(value)
