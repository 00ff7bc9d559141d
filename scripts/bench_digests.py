"""Measure the share of file digests in the CPU time that a training takes to start.

python scripts/bench_digests.py [--rows 400000] [--megabytes 500]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from transformers import BertConfig, BertForSequenceClassification

from goft_cli.compose.recomposition import compose_train
from goft_cli.config import TrainConfig
from goft_cli.models.backbone import load_backbone
from goft_cli.run.provenance import changes_on_disk, describe_base
from goft_cli.system import digests
from goft_cli.system.locations import asset_dir
from goft_cli.system.screen import quiet_libraries
from goft_cli.tasks.families import build_task


def write_rows(folder: Path, rows: int) -> None:
    """Write a table of texts about as long as MNLI's sentence pairs, and a small second table."""
    words = ["the", "old", "man", "sees", "that", "a", "dog", "sleeps", "under", "trees"]
    folder.mkdir()
    for name, count in (("train", rows), ("dev", 100)):
        lines = ["sentence\tlabel"]
        for index in range(count):
            chosen = [words[(index + step * (1 + index % 7)) % len(words)] for step in range(24)]
            lines.append(f"{' '.join(chosen)} {index}\t{index % 2}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_model(folder: Path, megabytes: int) -> None:
    """Save a BERT of a given size with random weights, and the tokenizer of a shipped model."""
    width, vocabulary = 768, 1000
    layers = max(1, round(megabytes * 1e6 / 4 / (12 * width**2)))
    config = BertConfig(vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers)
    BertForSequenceClassification(config).save_pretrained(folder)
    for path in asset_dir("tiny-deberta-v3").glob("tokenizer*"):
        (folder / path.name).write_bytes(path.read_bytes())


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call; wall-clock time would include other processes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(cfg: TrainConfig, imports: float) -> None:
    """Time a start up to the first update, then its digests alone."""
    task = build_task(cfg.task)
    start = time.process_time()
    data = task.load()
    backbone = load_backbone(cfg.model, task)
    for rows in data.splits.values():
        task.encode(rows, backbone.processor)
    whole = imports + time.process_time() - start
    recorded = data.provenance
    read = cpu_seconds(lambda: changes_on_disk(recorded, cfg.task, fresh=True))
    show("digests of the data", read, whole)
    show("digests of the base model", cpu_seconds(lambda: describe_base(cfg.model)), whole)
    known = cpu_seconds(lambda: changes_on_disk(recorded, cfg.task))
    known += cpu_seconds(lambda: describe_base(cfg.model))
    show("both from the cache", known, whole)


def show(what: str, spent: float, whole: float) -> None:
    """Print the time of one part and its share of the whole start."""
    print(f"{what}: {1000 * spent:.1f} ms, {spent / whole:.2%} of a start of {whole:.1f} s")


def main() -> None:
    """Measure and print."""
    imports = time.process_time()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--megabytes", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        write_rows(root / "data", options.rows)
        write_model(root / "model", options.megabytes)
        time.sleep(digests.SETTLED_NS / 1e9)
        words = ["task=glue/cola", "model=minilm-l6", "run_name=bench"]
        places = [f"model.path={root / 'model'}", f"task.data_dir={root / 'data'}"]
        with quiet_libraries():
            measure(compose_train([*words, *places]), imports)


if __name__ == "__main__":
    main()
