"""Print finished VTAB-1K runs as a Markdown table: tasks, group means and average of each method.

python scripts/vtab_table.py outputs/vtab
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from goft_cli.config import VtabGroup
from goft_cli.run.record import find_runs
from goft_cli.system.files import read_yaml
from goft_cli.system.locations import data_root
from scripts.vtab.average import average, group_means, groups

Key = tuple[str, str, str]
"""Model, adapter, and the selection of the checkpoint."""
Scores = Mapping[str, list[float]]
"""Accuracies of the seeds, by task."""


def read_runs(root: Path) -> dict[Key, Scores]:
    """Return the scores of all finished runs below `root`; a star marks unpublished images.

    Runs that were scored on another split than the tasks' own, as trials of a tuning are, are left
    out.
    """
    tasks, shared = groups(), read_yaml(data_root() / "configs" / "task" / "vtab" / "_base.yaml")
    found: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in find_runs(root):
        task = run.metrics["task"]
        if task not in tasks:
            continue
        stated = read_yaml(run.folder.config)["task"]
        if stated["headline_split"] == shared["headline_split"]:
            selection = stated["selection"]
            mark = "" if run.manifest["data"]["is_the_benchmark"] else "*"
            found[run.model, run.metrics["adapter"], selection + mark][task].append(run.score)
    return dict(found)


def column(scores: Scores) -> dict[str, str]:
    """Return the cells of one method in percent, by row: tasks, groups, average."""
    means = {task: 100 * statistics.mean(values) for task, values in scores.items()}
    by_group = group_means(means)
    rows = {task: means.get(task) for task in groups()}
    rows |= {group.value: by_group.get(group) for group in VtabGroup}
    rows |= {"average": average(means)}
    return {name: "" if value is None else f"{value:.1f}" for name, value in rows.items()}


def lines(runs: Mapping[Key, Scores]) -> list[str]:
    """Return the lines of the table, with a column per method."""
    columns = [column(scores) for scores in runs.values()]
    header = [["", *(" ".join(key) for key in runs)], ["---"] * (len(runs) + 1)]
    body = [[name, *(cells[name] for cells in columns)] for name in column({})]
    return ["| " + " | ".join(cells) + " |" for cells in header + body]


def main() -> None:
    """Print the table of means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", type=Path, help="folder with run folders below it")
    runs = read_runs(parser.parse_args().root)
    print("\n".join(lines(runs)))
    if any(key[-1].endswith("*") for key in runs):
        print("\n* not the published images, or not all of them")


if __name__ == "__main__":
    main()
