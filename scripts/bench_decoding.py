"""Time a decoding step, one token after a prompt, with adapters that are not merged.

python scripts/bench_decoding.py --shape smollm2-135m
python scripts/bench_decoding.py --shape llama2-7b --blocks 4 --dtype bfloat16

Times the base model and the adapters in turns in one process. Prints each adapter's time as a
multiple of the base model's, and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.benchmarks.shapes import SHAPES, build
from scripts.benchmarks.tables import row_of, table_of
from scripts.benchmarks.timing import interleave
from scripts.benchmarks.training import REFERENCE, Workbench, shared_copy

BASE = "base model"
ADAPTERS = (REFERENCE, "goft", "qgoft")
LANGUAGE = [name for name, shape in SHAPES.items() if shape.auto_class == "AutoModelForCausalLM"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=LANGUAGE, default="smollm2-135m")
    parser.add_argument("--blocks", type=int, help="blocks of the model to keep, all by default")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, all by default")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"))
    words = parser.parse_args(arguments)
    if words.threads:
        torch.set_num_threads(words.threads)
    shape = SHAPES[words.shape]
    blocks = words.blocks or shape.blocks
    base = build(shape, blocks, getattr(torch, words.dtype), torch.device("cpu"))
    bench = Workbench(base.requires_grad_(False).eval(), shape, shape.batch(1, words.prompt))
    steps = {BASE: decoding_step(bench.base, bench.batch["input_ids"])}
    for name in ADAPTERS:
        model = bench.adapted(shared_copy(bench.base), name).eval()
        steps[name] = decoding_step(model, bench.batch["input_ids"])
    samples = interleave(steps, words.rounds)
    rows = [row_of(name, found) for name, found in samples.items()]
    Console().print(table_of(f"a decoding step, {words.shape}", rows, BASE, BASE))
    target = words.output / f"decoding-{words.shape}-{blocks}-{words.dtype}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    print(f"written: {target}")


@torch.no_grad()
def decoding_step(model: Any, prompt: torch.Tensor) -> Callable[[], object]:  # noqa: ANN401 - untyped
    """Return a function that decodes one token after the prompt and restores the cache."""
    cache = model(input_ids=prompt, use_cache=True).past_key_values

    def step() -> None:
        with torch.no_grad():
            model(input_ids=prompt[:, -1:], past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return step


if __name__ == "__main__":
    main()
