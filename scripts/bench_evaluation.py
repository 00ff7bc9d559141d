"""Compare the time of evaluation with a plain PyTorch loop, and measure its peak memory by rows.

python scripts/bench_evaluation.py [--rounds 7] [--rows 10000 100000]

The first table compares CPU seconds: evaluation and a loop over rows sorted by length run the same
model over the same encoded rows in turns, so that other load on the machine affects both alike. Its
ratio is that of the medians. The second table has the peak resident memory of a process for each
verb, task and number of rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli.cli import main as goft
from goft_cli.run.configuration import read_config
from goft_cli.run.folder import RunFolder
from goft_cli.run.trained import open_trained
from goft_cli.system.screen import quiet_libraries
from goft_cli.tasks.base import Collator, Split
from goft_cli.training.evaluation import run_model
from goft_cli.training.trainer import training_arguments
from scripts.benchmarks.memory import peak_in_child, resident_peak

TASKS = ("demo/acceptability", "demo/qa")
VERBS = ("predict", "eval")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TIMED_ROWS = 2000
BATCH = 64
WORDS = (
    "the",
    "a",
    "dog",
    "cat",
    "bird",
    "runs",
    "sleeps",
    "sings",
    "near",
    "old",
    "young",
    "house",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print both tables; a child process measures and prints one peak."""
    words = parse(arguments)
    if words.cell:
        print(json.dumps(peak(words)))
        return
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        model = write_model(Path(folder) / "model")
        runs = {task: train(task, model) for task in TASKS}
        times = throughput(runs["demo/acceptability"], words.rounds)
        Console().print(throughput_table(times))
        peaks = {
            (verb, task, rows): peak_in_child(
                [__file__, "--cell", verb, "--run", str(run.path), "--count", str(rows)]
            )
            for verb in VERBS
            for task, run in runs.items()
            for rows in words.rows
        }
    Console().print(memory_table(peaks, words.rows))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--cell", choices=VERBS, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def train(task: str, model: Path) -> RunFolder:
    """Train for one update; return the run, whose folder is beside the model's."""
    output = model.parent / task
    words = [f"task={task}", "trainer.max_steps=1", "trainer.use_cpu=true", "model=minilm-l6"]
    words.append(f"model.path={model}")
    one_split = ["task.eval_splits=[validation]", "task.headline_split=validation"]
    run_goft("train", *words, *one_split, f"output_dir={output}")
    return RunFolder(output)


def write_model(folder: Path) -> Path:
    """Save a BERT of one block with random weights, and a tokenizer of whole words."""
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **names)
    fast.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def run_goft(*words: str) -> None:
    """Run a goft command in this process, with its standard output on standard error."""
    with redirect_stdout(sys.stderr):
        code = goft([*words])
    if code:
        raise SystemExit(code)


def sentences(count: int, seed: int = 0) -> list[str]:
    """Return random sentences of 3 to 120 words; most are short, as in any corpus."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(2.7, 0.7, count), 3, 120).astype(int)
    return [" ".join(random.choice(WORDS, length)) for length in lengths]


def throughput(run: RunFolder, rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each round, for goft and for the plain loop."""
    opened = open_trained(str(run.path), base_model=None)
    task, tokenizer = opened.task, opened.backbone.processor
    task = type(task)(replace(task.config, max_length=128))
    labels = [index % 2 for index in range(TIMED_ROWS)]
    raw = Dataset.from_dict({"sentence": sentences(TIMED_ROWS), "label": labels})
    rows = cast(Dataset, task.encode(raw, tokenizer))
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=4, num_attention_heads=4
    )
    model = BertForSequenceClassification(config).eval()
    collate = task.collate(tokenizer)
    cfg = read_config(run.config)
    cfg = replace(cfg, trainer=replace(cfg.trainer, per_device_eval_batch_size=BATCH))
    arguments = training_arguments(cfg, run.checkpoints, task)

    def ours() -> np.ndarray:
        splits = {"rows": Split(raw, rows)}
        return cast(np.ndarray, run_model(model, task, splits, collate, arguments)["rows"])

    sides = {"goft": ours, "plain loop": lambda: plain_loop(model, rows, collate)}
    apart = np.abs(sides["goft"]() - sides["plain loop"]()).max()
    if apart > 1e-5:
        raise AssertionError(f"the logits of the two sides differ by {apart:.1e}")
    return time_in_turns(sides, rounds)


def plain_loop(model: torch.nn.Module, rows: Dataset, collate: Collator) -> np.ndarray:
    """Return the logits of the rows in order, from a plain loop that runs the longest first."""
    lengths = [len(ids) for ids in rows["input_ids"]]
    order = sorted(range(len(rows)), key=lambda row: -lengths[row])
    loader = DataLoader(cast(Any, rows.select(order)), batch_size=BATCH, collate_fn=collate)
    with torch.inference_mode():
        found = torch.cat([model(**batch).logits for batch in loader])
    logits = torch.empty_like(found)
    logits[order] = found
    return logits.numpy()


def time_in_turns(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each side by round; every second round runs in reverse order."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            sides[name]()
            times[name].append(time.process_time() - start)
    return times


def throughput_table(times: dict[str, list[float]]) -> Table:
    """Return the table of the medians and their ratio to the plain loop's."""
    plain = statistics.median(times["plain loop"])
    table = Table("side", "CPU s", "ratio", title=f"{TIMED_ROWS:,} sentences, batches of {BATCH}")
    for name, found in times.items():
        median = statistics.median(found)
        table.add_row(name, f"{median:.3f}", f"{median / plain:.3f}")
    return table


def peak(words: argparse.Namespace) -> int:
    """Run one verb on `count` rows; return the peak memory of this process in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        family = read_config(words.run / "config.yaml").task.family
        write = write_questions if family == "question_answering" else write_sentences
        write(data / "validation.jsonl", words.count)
        places = {
            "predict": [f"input={data / 'validation.jsonl'}", f"output={data / 'found.jsonl'}"],
            "eval": [f"data_dir={data}", f"output={data / 'scores.json'}"],
        }
        run_goft(words.cell, f"adapter={words.run}", *places[words.cell])
    return resident_peak()


def write_sentences(path: Path, count: int) -> None:
    """Write JSON lines, each with a text and its label."""
    with path.open("w") as file:
        for index, text in enumerate(sentences(count)):
            file.write(json.dumps({"sentence": text, "label": index % 2}) + "\n")


def write_questions(path: Path, count: int) -> None:
    """Write JSON lines, each with a question, its context and an answer in it."""
    with path.open("w") as file:
        for index, text in enumerate(sentences(count)):
            answer = text.split()[0]
            answers = {"text": [answer], "answer_start": [0]}
            row = {"id": str(index), "title": "", "question": "who sings ?", "context": text}
            file.write(json.dumps({**row, "answers": answers}) + "\n")


def memory_table(peaks: dict[tuple[str, str, int], int], counts: Sequence[int]) -> Table:
    """Return the table of peaks by number of rows, and of the bytes that each row adds."""
    table = Table("verb", "task", *(f"{count:,} rows" for count in counts), "bytes per row")
    for verb, task in dict.fromkeys(key[:2] for key in peaks):
        found = [peaks[verb, task, count] for count in counts]
        added = (found[-1] - found[0]) / max(counts[-1] - counts[0], 1)
        shown = (f"{size / 2**20:,.0f} MB" for size in found)
        table.add_row(verb, task, *shown, f"{added:,.0f}")
    return table


if __name__ == "__main__":
    main()
