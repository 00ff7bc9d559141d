"""Time and weigh training with GOFT and with PEFT's methods, side by side in one process.

    python scripts/bench_adapters.py
    python scripts/bench_adapters.py --shape llama2-7b --layers 2 --methods frozen,lora-8,oft,goft
    python scripts/bench_adapters.py --shape linear --width 4096 --tokens 512 --no-memory

Run it on an idle machine. Every method trains the same model: published sizes (`--shape`), random
weights, cut to `--layers` blocks, all methods on one copy of the frozen weights. The steps are
interleaved round by round in an order drawn anew each time, so that a machine that slows down
does so for all; a ratio is taken within its round before the median over rounds. Brackets hold
quartiles.

A step is forward, loss plus penalty, backward, AdamW. Dropout is the model's own; adapters have
none. `frozen` is the floor: gradients flow from the loss to the embedding, and nothing is learnt.
Methods with an adapter train the task's head beside it where the task brings one; `linear` trains
that head alone (of LLaMA, its language-modelling head).

Peak memory is that of training steps less that of the loaded frozen model; see
`benchmarks/memory.py`. The second table has forward passes alone, without gradients, before and
after merging. `--authors DIR` adds the authors' layer; see `benchmarks/authors.py`.

hra, boft and the authors' first version form dense matrices in every step: at LLaMA's width on a
CPU leave them out of `--methods`.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from benchmarks import authors, machine, report
from benchmarks.comparison import Comparison
from benchmarks.options import Options, read

from goft_cli.errors import GoftError
from goft_cli.logs import quiet_libraries

SUMMARY = (__doc__ or "").splitlines()[0]
USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print the tables and write the file."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = read(words, SUMMARY)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        with quiet_libraries():
            warnings.simplefilter("ignore")
            run(options, words)
    except GoftError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def run(options: Options, words: Sequence[str]) -> None:
    """Do what was asked for, or, in a process started for it, one measurement of memory.

    Raises:
        GoftError: a method, a device, the authors' code or room for the output is not there.
    """
    others = authors.find(options.authors) if options.authors else {}
    comparison = Comparison(options, others)
    if options.memory_of:
        comparison.load()
        print(json.dumps({"growth": comparison.growth(options.memory_of)}))
        return
    report.claim(options.out)
    measured = comparison.run(Path(__file__), words)
    found = {
        "command": ["python", "scripts/bench_adapters.py", *words],
        "arguments": asdict(options),
        "machine": machine.describe(options.torch_device),
        **report.document(measured),
    }
    report.save(found, options.out)
    show(found, options)


def show(found: report.Document, options: Options) -> None:
    """Print the tables."""
    size = options.size
    rows = f"{size.tokens} rows" if options.shape == "linear" else f"batch {size.batch}"
    where = f"{options.shape}, {rows}, {options.dtype} on {options.device}"
    console = report.console()
    console.print(report.training_table(found["training"], f"Training step: {where}"))
    console.print(report.forward_table(found["forward"], f"Forward pass: {where}"))
    console.print(f"written to {options.out}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
