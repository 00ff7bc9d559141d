"""Kill a training at random moments, resume it, and compare it with an uninterrupted one.

python scripts/kill_runs.py --kills 6
python scripts/kill_runs.py --only "2 processes" --kills 20 --seed 3

Starts the same command again and again, and ends it with SIGKILL at a random moment of training, of
an evaluation, or of the writing of a checkpoint. After the last kill, the command runs to its end.
Its weights must equal those of the uninterrupted run bit for bit, and its metrics digit for digit.
Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli.run.outcome import MEASURED

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "goft_cli", "train", "task=glue/cola", "model=tiny-deberta-v3"]
SHARED = ["adapter=qgoft", "trainer.use_cpu=true", "trainer.per_device_train_batch_size=8"]
SHARED += ["trainer.num_train_epochs=4", "trainer.warmup_steps=0"]
CASES = {
    "1 process": [],
    "accumulation": ["trainer.gradient_accumulation_steps=4"],
    "2 data workers": ["trainer.dataloader_num_workers=2"],
    "evaluated inside epochs": ["trainer.eval_strategy=steps", "trainer.eval_steps=3"],
    "2 processes": ["launcher.num_processes=2"],
    "2 processes, accumulation, 2 data workers": [
        "launcher.num_processes=2",
        "trainer.gradient_accumulation_steps=2",
        "trainer.dataloader_num_workers=2",
    ],
}
MOMENTS = {
    "training": ("Running training", 1.5),
    "evaluation": ("Running Evaluation", 0.1),
    "checkpoint": ("Saving model checkpoint", 0.05),
}
"""The log message at the start of each moment, and the most seconds from it to the kill."""
POLL_SECONDS = 0.002
TIMEOUT_SECONDS = 600
ROWS = {"train": 64, "dev": 200}


@dataclass
class Outcome:
    """The result of one case."""

    case: str
    kills: list[str] = field(default_factory=list)
    weight_difference: float = float("nan")
    same_metrics: bool = False

    @property
    def survived(self) -> bool:
        """Whether weights and metrics equal those of the uninterrupted run."""
        return self.weight_difference == 0 and self.same_metrics


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every case; return 1 if a number differs."""
    words = parse(arguments)
    chance, outcomes = random.Random(words.seed), []
    with TemporaryDirectory() as folder:
        write_rows(Path(folder) / "data")
        for case in words.only or CASES:
            outcomes.append(run_case(case, Path(folder), words.kills, chance))
            Console().print(table_of(outcomes))
    result = [asdict(outcome) | {"survived": outcome.survived} for outcome in outcomes]
    words.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(outcome.survived for outcome in outcomes) else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=CASES, help="cases, all by default")
    parser.add_argument("--kills", type=int, default=6, help="kills per case")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--output", type=Path, default=Path("kills.json"))
    return parser.parse_args(arguments)


def write_rows(folder: Path) -> None:
    """Write rows in CoLA's layout that are easy to classify but are not learnt at once."""
    folder.mkdir()
    chance, nouns = random.Random(0), ["dog", "cat", "teacher", "child"]
    for split, count in ROWS.items():
        lines = ["sentence\tlabel"]
        for _ in range(count):
            noun, right = chance.choice(nouns), chance.randrange(2)
            lines.append(f"The {noun}{'' if right else 's'} sleeps.\t{right}")
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_case(case: str, folder: Path, kills: int, chance: random.Random) -> Outcome:
    """Train once without kills and once with them; return how both compare."""
    data = [f"task.data_dir={folder / 'data'}"]
    name = case.replace(" ", "-").replace(",", "")
    whole, run = folder / f"{name}-whole", folder / name
    command = [*COMMAND, *SHARED, *CASES[case], *data]
    finish([*command, f"output_dir={whole}"], whole)
    outcome, command = Outcome(case), [*command, f"output_dir={run}"]
    moments = list(MOMENTS)
    while len(outcome.kills) < kills:
        moment = moments[len(outcome.kills) % len(moments)]
        if not kill_one(command, run, moment, chance):
            break
        outcome.kills.append(moment)
    finish(command, run)
    outcome.weight_difference, outcome.same_metrics = compare(whole, run)
    return outcome


def start(command: Sequence[str], run: Path) -> subprocess.Popen[bytes]:
    """Start the command, with messages in the run's log about what Trainer begins."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRANSFORMERS_VERBOSITY": "info"}
    output = run.with_suffix(".output")
    with output.open("ab") as stream:
        return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)


def finish(command: Sequence[str], run: Path) -> None:
    """Run the command to its end.

    Raises:
        RuntimeError: it failed.
    """
    if start(command, run).wait(TIMEOUT_SECONDS) != 0:
        raise RuntimeError(printed(run))


def printed(run: Path) -> str:
    """Return the last characters that a run's processes printed."""
    return run.with_suffix(".output").read_text(encoding="utf-8")[-2000:]


def kill_one(command: Sequence[str], run: Path, moment: str, chance: random.Random) -> bool:
    """Start the command and kill it at a moment; return False if it finished before.

    Raises:
        RuntimeError: it failed.
    """
    log = run / "run.log"
    before = log.stat().st_size if log.exists() else 0
    process = start(command, run)
    sign, latest = MOMENTS[moment]
    wanted = 1 if moment == "training" else chance.randint(1, 2)
    while read_since(log, before).count(sign) < wanted:
        if process.poll() is not None:
            if process.returncode:
                raise RuntimeError(printed(run))
            return False
        time.sleep(POLL_SECONDS)
    time.sleep(chance.uniform(0, latest))
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def read_since(log: Path, position: int) -> str:
    """Return the text of a log after a position."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(position)
        return stream.read().decode(errors="replace")  # the last letter may be half written


def compare(whole: Path, run: Path) -> tuple[float, bool]:
    """Return the largest difference of any weight, and whether all metrics are equal."""
    one, two = (load_file(path / "adapter" / "adapter_model.safetensors") for path in (whole, run))
    difference = max((one[name] - two[name]).abs().max().item() for name in one)
    return difference, reproducible_metrics(whole) == reproducible_metrics(run)


def reproducible_metrics(run: Path) -> dict[str, Any]:
    """Return the metrics that must not depend on how often a run was started."""
    found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in MEASURED}


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """Return the table of the outcomes."""
    table = Table("case", "kills", "kills while saving", "weight difference", "same metrics")
    for one in outcomes:
        writing = str(one.kills.count("checkpoint"))
        apart = f"{one.weight_difference:g}"
        table.add_row(one.case, str(len(one.kills)), writing, apart, str(one.same_metrics))
    return table


if __name__ == "__main__":
    sys.exit(main())
