"""Measure the peak memory of training steps with GOFT by precision of the frozen weights.

python scripts/bench_memory.py --shape llama2-7b --blocks 4 --batch 1 --length 256
python scripts/bench_memory.py --foreseen     # goft plan's forecast and the peak of a run

Measures each cell in a process of its own, which loads the model from disk as `goft train` does,
trains a few steps, and reports its peak: the allocator's on a GPU, resident memory on a CPU. Prints
a table, and writes that of the precisions as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli.models.adapters import attach_adapter
from goft_cli.models.backbone import Backbone, load_model
from goft_cli.models.weights import keep_packing
from goft_cli.system.screen import quiet_libraries
from scripts.benchmarks.foreseen import WORKLOADS, compared, write_model, write_rows
from scripts.benchmarks.foreseen import table_of as foreseen_table
from scripts.benchmarks.memory import forget_peak, peak_in_child, resident_peak
from scripts.benchmarks.shapes import SHAPES, build
from scripts.benchmarks.training import VARIANTS, Candidate, compose_words

STEPS = 3
SHARD = "100MB"
"""Size of a weight file: a mapped file counts as resident until none of its tensors is in use."""
PRECISIONS = {
    "float32": "model.dtype=float32",
    "bfloat16": "model.dtype=bfloat16",
    "8bit": "model.dtype=bfloat16 model.quantization=8bit",
    "4bit": "model.dtype=bfloat16 model.quantization=4bit",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write it as JSON."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = parse(given)
    with quiet_libraries():
        if words.cell:
            print(peak(words))
        elif words.foreseen is not None:
            foresee(words.foreseen or list(WORKLOADS))
        else:
            measure(words, given)


def measure(words: argparse.Namespace, given: Sequence[str]) -> None:
    """Measure each cell in a process of its own, print the peaks and write them as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        shape = SHAPES[words.shape]
        whole = build(shape, words.blocks, torch.bfloat16, torch.device("cpu"))
        whole.save_pretrained(folder, max_shard_size=SHARD)
        command = [str(Path(__file__).resolve()), *given, "--model", folder, "--cell"]
        cells = [(name, mode) for name in PRECISIONS for mode in ("kept", "checkpointed")]
        peaks = {cell: peak_in_child([*command, *cell]) for cell in cells}
    Console().print(table_of(peaks))
    words.output.mkdir(parents=True, exist_ok=True)
    target = words.output / f"memory-{words.shape}-{words.blocks}.json"
    rows = [
        {"weights": name, "activations": mode, "bytes": size}
        for (name, mode), size in peaks.items()
    ]
    settings = {key: str(value) for key, value in vars(words).items()}
    content = {"settings": settings, "torch": torch.__version__, "rows": rows}
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"written: {target}")


def foresee(shapes: Sequence[str]) -> None:
    """Plan and train each workload; print the table of peaks after each shape."""
    peaks = []
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            write_model(shape, Path(folder, "model"))
            write_rows(Path(folder))
            peaks += [
                compared(shape, setting, Path(folder)) for setting in WORKLOADS[shape].settings
            ]
        Console().print(foreseen_table(peaks))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama2-7b")
    parser.add_argument("--blocks", type=int, default=4, help="blocks that the model is cut to")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=256, help="tokens per row")
    parser.add_argument("--adapter", choices=VARIANTS, default="goft")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"))
    parser.add_argument(
        "--foreseen",
        nargs="*",
        choices=WORKLOADS,
        help="of whole models on the CPU; all by default",
    )
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def peak(words: argparse.Namespace) -> int:
    """Return the peak memory of a few steps of one cell, the weights included, in bytes."""
    precision, mode = words.cell
    shape, device = SHAPES[words.shape], torch.device(words.device)
    more = f"model.path={words.model} {PRECISIONS[precision]}"
    cfg = compose_words(f"{VARIANTS[words.adapter]} {more}", shape.model)
    source = AutoConfig.from_pretrained(words.model)
    model = load_model(words.model, shape.auto_class, source, cfg.model)
    keep_packing(model)
    head = cfg.model.head_modules or []
    adapted = attach_adapter(Backbone(model, None, ""), cfg.adapter, head, shape.auto_class, 1)
    if mode == "checkpointed":
        adapted.gradient_checkpointing_enable({"use_reentrant": False})
    adapted.to(device).train()
    batch = {key: value.to(device) for key, value in shape.batch(words.batch, words.length).items()}
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad])
    one = Candidate(adapted, optimizer, batch, 0)
    forget_peak()
    for _ in range(STEPS):
        one.step()
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else resident_peak()


def table_of(peaks: dict[tuple[str, str], int]) -> Table:
    """Return the table of peaks: a row per precision, a column per treatment of activations."""
    table = Table(title="peak memory of a training step, GB")
    table.add_column("frozen weights")
    for heading in ("activations kept", "checkpointed"):
        table.add_column(heading, justify="right")
    for name in PRECISIONS:
        sizes = (peaks[name, mode] / 1e9 for mode in ("kept", "checkpointed"))
        table.add_row(name, *(f"{size:.2f}" for size in sizes))
    return table


if __name__ == "__main__":
    main()
