"""Compare the memory that `goft plan` predicts for a short run with what `goft train` takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table

from goft_cli.system.locations import data_root
from scripts.benchmarks.shapes import SHAPES, build

ROWS, EVALUATED, UPDATES = 256, 16, 4
"""Numbers of training rows, of evaluated rows, and of updates."""


@dataclass(frozen=True)
class Workload:
    """The commands that plan and train a model of one shape.

    Attributes:
        tiny: the shipped model whose tokenizer or image processor is used.
        words: command-line words of the task and its rows.
        settings: command-line words of each run, by its name in the table.
    """

    tiny: str
    words: str
    settings: dict[str, str]


CHECKPOINTING = "trainer.gradient_checkpointing=true"
WORKLOADS = {
    "minilm-l6": Workload(
        "tiny-deberta-v3",
        "task=own/classification data=texts.csv validation=few.csv task.max_length=128",
        {
            "goft, batch 32": "adapter=goft trainer.per_device_train_batch_size=32",
            "goft, batch 64, checkpointed": "adapter=goft "
            f"trainer.per_device_train_batch_size=64 {CHECKPOINTING}",
            "lora, batch 48": "adapter=lora trainer.per_device_train_batch_size=48",
        },
    ),
    "smollm2-135m": Workload(
        "tiny-llama",
        "task=own/instruction data=texts.jsonl validation=few.jsonl task.max_length=256 "
        "task.global_batch=null",
        {
            "goft, batch 4": "adapter=goft trainer.per_device_train_batch_size=4",
            "goft, batch 8, checkpointed": "adapter=goft "
            f"trainer.per_device_train_batch_size=8 {CHECKPOINTING}",
            "lora, batch 6": "adapter=lora trainer.per_device_train_batch_size=6",
        },
    ),
    "vit-b16": Workload(
        "tiny-vit",
        f"task=demo/digits task.max_train_samples={ROWS} task.max_eval_samples={EVALUATED}",
        {
            "goft, batch 8": "adapter=goft trainer.per_device_train_batch_size=8",
            "goft, batch 16, checkpointed": "adapter=goft "
            f"trainer.per_device_train_batch_size=16 {CHECKPOINTING}",
            "lora, batch 12": "adapter=lora trainer.per_device_train_batch_size=12",
        },
    ),
}


@dataclass(frozen=True)
class Peak:
    """Peak bytes of one run: predicted from shapes, with `calibrate=true`, and measured."""

    shape: str
    setting: str
    foreseen: int
    calibrated: int
    measured: int


def write_model(shape: str, folder: Path) -> Path:
    """Write a model of random weights, with the tokenizer or image processor of a shipped one."""
    build(SHAPES[shape], SHAPES[shape].blocks, torch.float32, torch.device("cpu")).save_pretrained(
        folder
    )
    shipped = data_root() / "goft_cli" / "assets" / WORKLOADS[shape].tiny
    for file in [*shipped.glob("tokenizer*"), *shipped.glob("preprocessor*")]:
        text = file.read_text(encoding="utf-8")
        if file.name.startswith("preprocessor"):
            text = json.dumps(json.loads(text) | {"size": {"height": 224, "width": 224}})
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder


def write_rows(folder: Path) -> None:
    """Write tables of texts that are longer than the length to which any workload cuts them."""
    for name, count in (("texts", ROWS), ("few", EVALUATED)):
        texts = [f"{'the cats sleep . ' * 100}{index}" for index in range(count)]
        lines = [f"{text},{index % 2}" for index, text in enumerate(texts)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *lines, ""]))
        rows = [json.dumps({"instruction": "Say it.", "output": text}) for text in texts]
        (folder / f"{name}.jsonl").write_text("\n".join([*rows, ""]))


def compared(shape: str, setting: str, folder: Path) -> Peak:
    """Plan and train, in child processes, in a folder with `model` and rows; return the peaks."""
    workload, run = WORKLOADS[shape], folder / "run"
    words = [
        *workload.words.split(),
        *workload.settings[setting].split(),
        f"model={SHAPES[shape].model}",
        f"model.path={folder / 'model'}",
        f"trainer.max_steps={UPDATES}",
        "trainer.use_cpu=true",
        "tracker=none",
        f"output_dir={run}",
    ]

    def goft(*command: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "goft_cli", *command, *words],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def foreseen(*more: str) -> int:
        goft("plan", *more)
        plan = json.loads((folder / "run.plan.json").read_text(encoding="utf-8"))
        return plan["forecast"]["peak_memory_bytes"]

    traced, calibrated = foreseen(), foreseen("calibrate=true")
    goft("train")
    found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    shutil.rmtree(run)
    return Peak(shape, setting, traced, calibrated, found["peak_memory_bytes"])


def table_of(peaks: list[Peak]) -> Table:
    """Return a table with a row per run: megabytes, and the forecasts over the measured peak."""
    table = Table(title="peak memory of goft train, MB")
    columns = ("shape", "setting", "measured", "foreseen", "ratio", "calibrate=true", "ratio")
    for index, heading in enumerate(columns):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for one in peaks:
        row = [one.shape, one.setting, f"{one.measured / 1e6:,.0f}"]
        for size in (one.foreseen, one.calibrated):
            row += [f"{size / 1e6:,.0f}", f"{size / one.measured:.2f}"]
        table.add_row(*row)
    return table
