"""Measure the start of commands: CPU seconds and peak memory, medians of some rounds.

python scripts/bench_start.py [--rounds 5] [--against CHECKOUT]

All commands run in turns, in this checkout and in the other one if there is one, so that a busy
moment of the machine touches each of them. A checkout works in a folder of its own, in which the
six runs of a comparison are finished first. Wall clocks say what other programs do, and are left
out.
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
"""The folder of that run."""
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
    """A checkout, the folder that it works in, and what was measured: (CPU s, MB) by command."""

    code: Path
    folder: Path
    found: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def run(self, command: Sequence[str]) -> tuple[float, float]:
        """Run a command to its end; return the CPU seconds and peak MB of its largest process."""
        paths = {"PYTHONPATH": str(self.code), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with (self.folder / "said.txt").open("w") as said:
            process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | paths, stdout=said, stderr=said
            )
            usage = os.wait4(process.pid, 0)[2]
        peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        return usage.ru_utime + usage.ru_stime, peak

    def measure(self, name: str) -> None:
        """Run one of `COMMANDS` once more."""
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        self.found.setdefault(name, []).append(self.run(COMMANDS[name]))

    def medians(self, name: str) -> tuple[float, float]:
        """Return the median CPU seconds and MB of a command."""
        seconds, megabytes = zip(*self.found[name], strict=True)
        return statistics.median(seconds), statistics.median(megabytes)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout, to measure beside this one")
    parser.add_argument("--only", default="", help="words that a command's name must contain")
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
    """Print a row for each command; beside another checkout, its numbers and the ratio of times."""
    columns = ["CPU s", "MB", "CPU s there", "MB there", "here / there"]
    table = Table("command", *(columns if len(checkouts) > 1 else columns[:2]))
    for name in names:
        found = [checkout.medians(name) for checkout in checkouts]
        cells = [cell for cpu, mb in found for cell in (f"{cpu:.2f}", f"{mb:.0f}")]
        ratio = [f"{found[0][0] / found[1][0]:.2f}"] if len(found) > 1 else []
        table.add_row(name, *cells, *ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
