"""Time how long a command takes to answer, as ratios to an empty Python and to Hydra's import.

python scripts/bench_start.py [--rounds 10]

All commands run in turns, so that a busy moment of the machine touches each of them; the smallest
time of the rounds counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

GOFT = (sys.executable, "-m", "goft_cli")
COMMANDS: dict[str, Sequence[str]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "python -c 'import hydra'": (sys.executable, "-c", "import hydra"),
    **{
        f"goft {words}": (*GOFT, *words.split())
        for words in (
            "--help",
            "trian",
            "train taskk=glue/cola",
            "train task=glue/colla",
            "train trainer.lerning_rate=1",
            "train task=glue/cola model=minilm-l6 adapter=qgoft seed=1 output_dir=x trainer.lr=1",
            "predict adapter=run inptu=file",
            "train --cfg job",
            "train --help",
        )
    },
}


def seconds(command: Sequence[str], folder: str) -> float:
    """Run a command to its end, and return how long it took."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, float]:
    """Return the smallest time of each command, in seconds."""
    best = dict.fromkeys(COMMANDS, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                best[name] = min(best[name], seconds(command, folder))
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    best = measure(parser.parse_args().rounds)
    empty, hydra = list(best.values())[:2]
    table = Table("command", "seconds", "/ empty Python", "/ import hydra")
    for name, found in best.items():
        table.add_row(name, f"{found:.3f}", f"{found / empty:.1f}", f"{found / hydra:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
