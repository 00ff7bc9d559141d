"""Print finished runs as a Markdown table: mean and deviation over seeds per adapter.

python scripts/runs_table.py outputs/demo/acceptability
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

COLUMNS = ("task", "model", "adapter", "runs", "score", "adapter parameters", "seconds")


def read_runs(root: Path) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Return the metrics of every finished run below `root`, grouped by task, model, adapter."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(root.rglob("metrics.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        groups[run["task"], run["model"], run["adapter"]].append(run)
    return groups


def row(key: tuple[str, str, str], runs: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return one line of the table."""
    scores = [run["headline"]["value"] for run in runs]
    spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
    return (
        *key,
        str(len(runs)),
        f"{statistics.mean(scores):.3f}{spread}",
        f"{runs[0]['trainable_parameters']:,}",
        f"{statistics.median(run['train_seconds'] for run in runs):.0f}",
    )


def main() -> None:
    """Print the table, best adapter first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", type=Path, help="folder with run folders below it")
    groups = read_runs(parser.parse_args().root)
    rows = [row(key, runs) for key, runs in groups.items()]
    for cells in [
        COLUMNS,
        ("---",) * len(COLUMNS),
        *sorted(rows, key=lambda r: r[4], reverse=True),
    ]:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
