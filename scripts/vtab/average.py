"""Compute VTAB's average, the mean of the three groups' means: every group has equal weight."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import yaml

from goft_cli.config import VtabGroup
from goft_cli.system.locations import data_root


def groups() -> dict[str, VtabGroup]:
    """Return the group of each of the nineteen tasks, group by group."""
    found = {}
    for path in sorted((data_root() / "configs" / "task" / "vtab").glob("[!_]*.yaml")):
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[stated["name"]] = VtabGroup(stated["group"])
    order = list(VtabGroup)
    return dict(sorted(found.items(), key=lambda item: order.index(item[1])))


def group_means(scores: Mapping[str, float]) -> dict[VtabGroup, float]:
    """Average the scores of each group that is complete.

    Args:
        scores: scores by task.
    """
    members: dict[VtabGroup, list[str]] = {group: [] for group in VtabGroup}
    for task, group in groups().items():
        members[group].append(task)
    return {
        group: statistics.mean(scores[task] for task in tasks)
        for group, tasks in members.items()
        if scores.keys() >= set(tasks)
    }


def average(scores: Mapping[str, float]) -> float | None:
    """Average the groups' means; None unless all nineteen tasks have a score."""
    means = group_means(scores)
    return statistics.mean(means.values()) if len(means) == len(VtabGroup) else None
