"""The table of `docs/scaling.md`: forecasts for LLaMA2-13B and 70B on one or more GPUs.

python -m tests.support.scaling_table docs/scaling.md     # rewrites the table
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig

from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import forecast_memory
from goft_cli.verbs.plan.scaling import Way, parts_of_model, ways
from goft_cli.verbs.plan.steps import Batches
from tests.support.small_runs import composed

SHAPES: dict[str, dict[str, Any]] = {
    "LLaMA2-13B": {
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
    },
    "LLaMA2-70B": {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
LENGTH, DEVICES, SIZES = 1024, (1, 4, 8), (24, 48, 80)
BEGIN = "<!-- written by tests.support.scaling_table -->"
COLUMNS = ["model", "base", "way", "GPUs", "training, GB each", "check, GB each", "sent, MB"]


def found(model: str, *, packed: bool) -> dict[int, list[Way]]:
    """Return the ways to share a training, by number of devices; each gets 1,024 tokens."""
    with tempfile.TemporaryDirectory() as folder:
        LlamaConfig(**SHAPES[model]).save_pretrained(folder)
        words = ["task=instruct/alpaca", "model=llama2-13b", f"model.path={folder}"]
        words += ["trainer.use_cpu=true", "trainer.gradient_checkpointing=true"]
        words += ["model.quantization=4bit"] if packed else []
        cfg = composed(words)
        adapted = attached(cfg, cfg.adapter)
    tokens = torch.zeros(1, LENGTH, dtype=torch.long)
    parts = parts_of_model(adapted)
    row = {"input_ids": tokens, "labels": tokens}
    memory = forecast_memory(adapted, Batches(row, row), cfg, "cpu")
    on_gpu = replace(memory, process=0, fragments=0)
    return {count: ways(on_gpu, parts, count, 1, packed=packed) for count in DEVICES}


def table() -> str:
    """Return the ways to share a training as a Markdown table."""
    lines = [[*COLUMNS, "trains on"], ["---"] * (len(COLUMNS) + 1)]
    for model in SHAPES:
        for packed in (False, True):
            base = "4 bit" if packed else "bfloat16"
            for count, ones in found(model, packed=packed).items():
                for way in ones:
                    fit = [f"{size} GB" for size in SIZES if way.training <= size * 1e9]
                    held = (f"{value / 1e9:,.1f}" for value in (way.training, way.checking))
                    sent = f"{way.sent / 1e6:,.1f}"
                    lines.append([model, base, way.name, str(count), *held, sent])
                    lines[-1].append(", ".join(fit) or "none of them")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main(path: Path) -> None:
    """Write the table after the mark in a document."""
    before = path.read_text(encoding="utf-8").partition(BEGIN)[0]
    path.write_text(f"{before}{BEGIN}\n\n{table()}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
