"""Measure the CPU seconds and peak memory of short commands, as medians of some rounds.

python scripts/bench_start.py [--rounds 5] [--against CHECKOUT]

Runs all commands in turns, in this checkout and in the other one if it is given, so that other load
on the machine affects all of them. Each checkout works in a folder of its own, in which it first
finishes the six runs of a comparison. Leaves out wall-clock time, which other programs change.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

GOFT = (sys.executable, "-m", "goft_cli")
DEMO = "task=demo/acceptability trainer.max_steps=2 trainer.use_cpu=true"
COMPARE = f"compare {DEMO} adapters=[qgoft,goft,lora] seeds=2"
SWEEP = f"train -m {DEMO} adapter=qgoft,goft,lora seed=1,2"
AGAIN = f"train {DEMO} adapter=qgoft seed=1"
RUN = (
    "outputs/demo/acceptability/tiny-deberta-v3/qgoft/"
    "seed1-trainer.max_steps=2,trainer.use_cpu=true"
)
"""The run folder of `AGAIN`."""
ALONE: dict[str, Sequence[str]] = {
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
ON_RUNS = {
    name: (*GOFT, *words.split())
    for name, words in {
        "goft train, the run is finished": AGAIN,
        "goft plan, there is no such model": f"plan {DEMO} model.path=nobody/nothing",
        "goft report of a run, reported": f"report runs={RUN}",
        "goft report of a run, new": f"report runs={RUN} output_dir=new",
        "goft compare, six runs are finished": COMPARE,
        "goft train -m, six runs are finished": SWEEP,
        "goft eval of a run": f"eval adapter={RUN}",
        "goft train, two updates": f"{AGAIN} run_name=new overwrite=true",
        "goft plan of two updates": f"plan {DEMO} adapter=qgoft",
    }.items()
}
COMMANDS = ALONE | ON_RUNS


@dataclass
class Checkout:
    """A checkout, its working folder, and its measurements by command: (CPU seconds, MB)."""

    code: Path
    folder: Path
    found: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def run(self, command: Sequence[str]) -> tuple[float, float]:
        """Run a command; return its CPU seconds and the peak MB of its largest process."""
        paths = {"PYTHONPATH": str(self.code), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with (self.folder / "output.txt").open("w") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | paths, stdout=output, stderr=output
            )
            usage = os.wait4(process.pid, 0)[2]
        peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        return usage.ru_utime + usage.ru_stime, peak

    def measure(self, name: str) -> None:
        """Run one of `COMMANDS` once more and keep its measurement."""
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        self.found.setdefault(name, []).append(self.run(COMMANDS[name]))

    def medians(self, name: str) -> tuple[float, float]:
        """Return the median CPU seconds and MB of a command."""
        seconds, megabytes = zip(*self.found[name], strict=True)
        return statistics.median(seconds), statistics.median(megabytes)


def main() -> None:
    """Measure all commands and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout to measure as well")
    parser.add_argument("--only", default="", help="text that a command's name must contain")
    options = parser.parse_args()
    codes = [code.resolve() for code in (Path(__file__).parents[1], options.against) if code]
    names = [name for name in COMMANDS if options.only in name]
    with tempfile.TemporaryDirectory() as root:
        checkouts = [Checkout(code, Path(root, str(at))) for at, code in enumerate(codes)]
        for checkout in checkouts:
            checkout.folder.mkdir()
            if not ON_RUNS.keys().isdisjoint(names):
                checkout.run([*GOFT, *COMPARE.split()])
                checkout.run([*GOFT, "report", f"runs={RUN}"])
        for _ in range(options.rounds):
            for name in names:
                for checkout in checkouts:
                    checkout.measure(name)
    show(names, checkouts)


def show(names: Sequence[str], checkouts: Sequence[Checkout]) -> None:
    """Print a row per command; for another checkout, also its numbers and the ratio of times."""
    columns = ["CPU s", "MB", "other CPU s", "other MB", "CPU ratio"]
    table = Table("command", *(columns if len(checkouts) > 1 else columns[:2]))
    for name in names:
        found = [checkout.medians(name) for checkout in checkouts]
        cells = [cell for cpu, mb in found for cell in (f"{cpu:.2f}", f"{mb:.0f}")]
        ratio = [f"{found[0][0] / found[1][0]:.2f}"] if len(found) > 1 else []
        table.add_row(name, *cells, *ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
