"""Stand-ins for a rehearsal: few steps, tiny model and data, a judge on loopback."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from PIL import Image

from goft_cli.config import (
    ImageClassificationConfig,
    InstructionConfig,
    MMLUConfig,
    QuestionAnsweringConfig,
    TaskConfig,
    TextClassificationConfig,
    TokenClassificationConfig,
    TrainConfig,
    VicunaConfig,
    VtabConfig,
)
from goft_cli.data.sources import DIGITS, FOLDER, digit, read_demo, read_rows
from goft_cli.studies.recipes import Cell
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json, write_text
from goft_cli.tasks.image_classification.lists import DRAW
from goft_cli.tasks.mmlu.questions import LETTERS

ROOT = Path("outputs/rehearsal")
# Two updates, for AdaLoRA lowers its ranks in between. A recipe's columns, heads and
# metrics stay.
SHORT = (
    "trainer.max_steps=2",
    "trainer.per_device_train_batch_size=2",
    "trainer.gradient_accumulation_steps=1",
    "trainer.warmup_steps=0",
    "trainer.use_cpu=true",
    "overwrite=true",
)
ROWS = 4
"""Rows of each split."""
EXEMPLARS = 5
HOST = "127.0.0.1"
VERDICT = "It answers the question. Rating: [[7]]"

Reply = Callable[[BaseHTTPRequestHandler], None]


def rehearsal_words(cell: Cell, seed: int) -> list[str]:
    """Return the overrides that a rehearsal adds after the recipe's own."""
    swapped = [f"model={cell.recipe.stand_in}", *cell.recipe.rehearsal]
    return [*swapped, *SHORT, f"output_dir={ROOT / cell.name / f'seed{seed}'}"]


@contextmanager
def stand_ins(cfg: TrainConfig) -> Iterator[TrainConfig]:
    """Yield the same run on tiny data, which exists until the block ends."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        benchmark = cfg.benchmark and with_stand_in(cfg.benchmark, data / "benchmark")
        if isinstance(benchmark, VicunaConfig):
            judge = replace(benchmark.judge, base_url=stack.enter_context(serving(agree)))
            benchmark = replace(benchmark, judge=judge)
        yield replace(cfg, task=with_stand_in(cfg.task, data / "task"), benchmark=benchmark)


def with_stand_in(task: TaskConfig, folder: Path) -> TaskConfig:
    """Write tiny data, and return the task that reads it."""
    write_stand_in(task, folder)
    return replace(task, data_dir=str(folder))


def write_stand_in(task: TaskConfig, folder: Path) -> None:
    """Write a tiny data folder that the task reads as it would read the published one."""
    folder.mkdir(parents=True)
    match task:
        case TextClassificationConfig():
            write_tables(task, folder)
        case TokenClassificationConfig():
            write_words(task, folder)
        case QuestionAnsweringConfig():
            write_squad(task, folder)
        case InstructionConfig():
            rows = json.dumps(read_demo("demo:instructions", "train")[:ROWS])
            for split in splits_of(task):
                write_text(folder / f"{split}.json", rows)
        case VtabConfig():
            write_images(task, folder)
        case ImageClassificationConfig():
            write_classes(task, folder)
        case MMLUConfig():
            write_mmlu(task, folder)
        case VicunaConfig():
            write_vicuna(task, folder)
        case _:
            raise GoftError(f"task {task.name}: no rehearsal for the family {task.family}")


def splits_of(task: TaskConfig) -> list[str]:
    """Return the splits that a task reads."""
    return list(dict.fromkeys([task.train_split, *task.eval_splits]))


def write_tables(task: TextClassificationConfig, folder: Path) -> None:
    """Write `train.tsv`, `dev.tsv` and so on, with the task's own columns and labels."""
    width = len(task.text_columns)
    drawn = read_rows(FOLDER / "stand_ins" / f"{ROWS * width}.jsonl.gz")
    sentences = [row["sentence"] for row in drawn]
    for split in splits_of(task):
        rows = [sentences[index * width : (index + 1) * width] for index in range(ROWS)]
        lines = [[*row, target_of(task, index)] for index, row in enumerate(rows)]
        path = folder / f"{split.replace('validation', 'dev')}.tsv"
        write_table(path, [[*task.text_columns, task.label_column], *lines], delimiter="\t")


def write_words(task: TokenClassificationConfig, folder: Path) -> None:
    """Write `train.jsonl` and so on; the tags of a row take each label in turn."""
    drawn = read_rows(FOLDER / "stand_ins" / f"{ROWS}.jsonl.gz")
    rows = [row["sentence"].split() for row in drawn]
    tags = [[task.labels[at % len(task.labels)] for at in range(len(row))] for row in rows]
    columns = task.text_columns[0], task.label_column
    lines = [dict(zip(columns, pair, strict=True)) for pair in zip(rows, tags, strict=True)]
    for split in splits_of(task):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_text(folder / f"{split.replace('validation', 'dev')}.jsonl", text)


def target_of(task: TextClassificationConfig, index: int) -> str:
    """Return the label of a row, each label in turn, or a number in the task's range.

    In a task with sets of labels, row n has the first n labels.
    """
    if task.multi_label:
        return ";".join(task.labels[:index])
    if task.labels:
        return task.labels[index % len(task.labels)]
    low, high = task.label_range or (0.0, 1.0)
    return str(low + (high - low) * index / (ROWS - 1))


def write_squad(task: QuestionAnsweringConfig, folder: Path) -> None:
    """Write SQuAD's nested JSON, a paragraph for each question."""
    paragraphs = []
    for row in read_demo("demo:qa", "train")[:ROWS]:
        pairs = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
        asked = {"id": row["id"], "question": row["question"], "answers": answers}
        paragraphs.append({"context": row["context"], "qas": [asked]})
    document = {"version": "1.1", "data": [{"title": "Demo", "paragraphs": paragraphs}]}
    for split in splits_of(task):
        write_json(folder / f"{split.replace('validation', 'dev')}-v1.1.json", document)


def write_images(task: VtabConfig, folder: Path) -> None:
    """Write the public VTAB-1K layout; every image has a class of the task."""
    images = [digit(row["image"]).convert("RGB") for row in read_demo(DIGITS, "train")[:ROWS]]
    pairs = [(image, index % task.classes) for index, image in enumerate(images)]
    write_vtab(dict.fromkeys(("train800", "val200", "test"), pairs), folder, {"source": DIGITS})


def write_classes(task: ImageClassificationConfig, folder: Path) -> None:
    """Write a folder of images for each class."""
    for index, row in enumerate(read_demo(DIGITS, "train")[:ROWS]):
        place = folder / task.names[index % task.classes]
        place.mkdir(exist_ok=True)
        digit(row["image"]).convert("RGB").save(place / f"{index}.png")


def write_vtab(
    splits: Mapping[str, Iterable[tuple[Image.Image, int]]],
    folder: Path,
    note: Mapping[str, str | int],
) -> None:
    """Write images, then the lists, so that an interrupted folder is not taken for a whole one."""
    lists: dict[str, list[str]] = {}
    for split, pairs in splits.items():
        (folder / "images" / split).mkdir(parents=True)
        lists[split] = []
        for number, (image, label) in enumerate(pairs):
            name = f"images/{split}/{number:06d}.jpg"
            image.save(folder / name)
            lists[split].append(f"{name} {label}\n")
    lists["train800val200"] = lists["train800"] + lists["val200"]
    write_text(folder / DRAW, json.dumps(note) + "\n")
    for split, lines in lists.items():
        write_text(folder / f"{split}.txt", "".join(lines))


def write_mmlu(task: MMLUConfig, folder: Path) -> None:
    """Write the header-less csv files of one subject of each category."""
    rows = read_demo("demo:choices", "dev")
    lines = [[row["question"], *row["choices"], LETTERS[row["answer"]]] for row in rows]
    for split in splits_of(task):
        (folder / split).mkdir()
        count = EXEMPLARS if split == task.train_split else ROWS
        for subject, *_ in task.categories.values():
            write_table(folder / split / f"{subject}_{split}.csv", lines[:count])


def write_vicuna(task: VicunaConfig, folder: Path) -> None:
    """Write questions in FastChat's jsonl, of categories that need no reference answer."""
    (split,) = task.eval_splits
    lines = [json.dumps(row) + "\n" for row in read_demo("demo:chat", split)[:2]]
    write_text(folder / f"{split}.jsonl", "".join(lines))


def write_table(path: Path, rows: Sequence[Sequence[str]], delimiter: str = ",") -> None:
    """Write rows of texts."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    """Answer every GET and POST with `reply`, on a free port; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply(self)

        def do_GET(self) -> None:
            reply(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with without_proxy():
            yield f"http://{HOST}:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def without_proxy() -> Iterator[None]:
    """Reach the host directly, without the proxies of the environment."""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = HOST
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before


def agree(handler: BaseHTTPRequestHandler) -> None:
    """Answer a chat completion with always the same rating."""
    handler.rfile.read(int(handler.headers["Content-Length"] or 0))
    message = {"role": "assistant", "content": VERDICT}
    content = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
