"""Broken data is refused with one sentence that names the file, the line and the problem."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goft_cli.data.formats import PARSERS
from goft_cli.system.errors import GoftError
from goft_cli.tasks.classification import TextClassification
from tests.support.made_up_tasks import make_task
from tests.support.refusals import (
    Change,
    at,
    both,
    dangle,
    described,
    link,
    listen,
    refusal,
    remove,
    write,
)

__all__ = ["make_task"]

TaskMaker = Callable[..., TextClassification]
GOOD = "sentence\tlabel\nhello\t1\n"


def train(content: str | bytes) -> Change:
    return write("train.tsv", content)


def instead(name: str, content: str | bytes) -> Change:
    """Return a change that replaces the training file by a file of another name."""

    def change(folder: Path) -> None:
        (folder / "train.tsv").unlink()
        write(name, content)(folder)

    return change


def half_saved(folder: Path) -> None:
    (folder / "train.tsv").unlink()
    rows = Dataset.from_dict({"sentence": ["a"], "label": [1]})
    rows.save_to_disk(str(folder / "train"))
    next((folder / "train").glob("*.arrow")).unlink()


def saved_through_a_pipe(folder: Path) -> None:
    half_saved(folder)
    os.mkfifo(folder / "train" / "data-00000-of-00001.arrow")


def folder_instead(folder: Path) -> None:
    (folder / "train.tsv").unlink()
    (folder / "train.tsv").mkdir()


def one_shard(folder: Path) -> None:
    (folder / "train.tsv").unlink()
    rows = Dataset.from_dict({"sentence": ["a"], "label": [1]})
    rows.to_parquet(str(folder / "train-00000-of-00003.parquet"))


CASES: dict[str, tuple[Change, str]] = {
    "missing": (
        remove("train.tsv"),
        r"has no train split: found dev.tsv; expected train with one of .tsv, .csv",
    ),
    "missing-dev": (
        remove("dev.tsv"),
        r"has no validation split: found train.tsv; expected validation or dev or valid or val",
    ),
    "extension": (
        instead("train.xlsx", "PK"),
        r"train.xlsx: unknown extension; expected one of .tsv, .csv, .jsonl, .json, .parquet",
    ),
    "pickle": (instead("train.pkl", b"\x80\x04N."), r"train.pkl: unknown extension"),
    "script": (instead("train.py", "raise SystemExit"), r"train.py: unknown extension"),
    "ambiguous": (
        write("dev.csv", "sentence,label\na,1\n"),
        r"dev.csv and dev.tsv may both be the validation split; keep one",
    ),
    "ambiguous-names": (write("val.tsv", GOOD), r"dev.tsv and val.tsv may both be the validation"),
    "empty": (train(""), r"train.tsv is empty; expected at least one row"),
    "blank": (train("\n \n"), r"train.tsv is empty"),
    "byte-order-mark": (train(b"\xef\xbb\xbf\n"), r"train.tsv is empty"),
    "header-only": (train("sentence\tlabel\n"), r"train.tsv: no rows"),
    "column": (
        train("text\tlabel\na\t1\n"),
        r"train.tsv: column sentence is missing.*'text', 'label'.*sentence, label"
        r".*task.text_columns.*task.label_column.*task.raw_columns",
    ),
    "long-row": (
        train(GOOD + "a\t1\t2\n"),
        r"train.tsv, line 3: found 3 fields, expected 2 \(sentence, label\)",
    ),
    "short-row": (train(GOOD + "\nlonely\n"), r"train.tsv, line 4: found 1 fields, expected 2"),
    "not-utf8": (
        train(GOOD.encode() + "caf\xe9\t1\n".encode("latin-1")),
        r"train.tsv, line 3: byte 0xe9 is not UTF-8; save the file as UTF-8",
    ),
    "label-range": (
        train(GOOD + "a\t2\n"),
        r"train.tsv, line 3: label is '2'.*0 to 1.*bad, good",
    ),
    "label-name": (train(GOOD + "a\tgoood\n"), r"train.tsv, line 3: label is 'goood', expected"),
    "label-empty": (train(GOOD + "a\t\n"), r"train.tsv, line 3: label is '', expected a label"),
    "label-fraction": (train(GOOD + "a\t0.5\n"), r"train.tsv, line 3: label is '0.5', expected"),
    "label-nan": (train(GOOD + "a\tnan\n"), r"train.tsv, line 3: label is 'nan', expected"),
    "label-hidden": (train(GOOD + "a\t-1\n"), r"train.tsv, line 3: label is '-1', expected"),
    "twice": (train("label\tlabel\n1\t1\n"), r"line 1: two columns share a name \(label, label\)"),
    "huge": (train(GOOD + "a" * 200_000 + "\t9\n"), r"train.tsv, line 3: label is '9'"),
    "pipe": (both(remove("train.tsv"), at("train.tsv", os.mkfifo)), r"train.tsv is a named pipe"),
    "socket": (both(remove("train.tsv"), at("train.tsv", listen)), r"train.tsv is a socket"),
    "device": (both(remove("train.tsv"), link("train.tsv", "/dev/zero")), r"train.tsv is a device"),
    "saved-pipe": (saved_through_a_pipe, r"state.json is a named pipe|\.arrow is a named pipe"),
    "csv-quote": (
        instead("train.csv", 'sentence,label\na,1\n"open,1\nb,0\n'),
        r"train.csv, line 3: unexpected end of data",
    ),
    "csv-ragged-after-break": (
        instead("train.csv", 'sentence,label\n"two\nlines",1\nb\n'),
        r"train.csv, line 4: found 1 fields, expected 2",
    ),
    "json": (
        instead("train.jsonl", '{"sentence": "a", "label": 1}\n{"sentence": \n'),
        r"train.jsonl, line 2: not JSON \(.*\); expected one object per line",
    ),
    "json-line": (
        instead("train.jsonl", "[1, 2]"),
        r"train.jsonl, line 1: found \[1, 2\]; expected one object per row",
    ),
    "json-array": (
        instead("train.json", '[\n{"sentence": "a", "label": 1},\n2]'),
        r"train.json, row 2: found 2; expected one object per row",
    ),
    "json-array-text": (
        instead("train.json", '[{"sentence": "a", "label": 1}, {"sentence": 7, "label": 1}]'),
        r"train.json, row 2: sentence is 7, expected text",
    ),
    "json-array-open": (
        instead("train.json", '[\n{"sentence": "a", "label": 1},\n'),
        r"train.json, line 3: not JSON \(.*\); expected an array of objects",
    ),
    "json-array-empty": (instead("train.json", "[]"), r"train.json is empty; expected at least"),
    "json-ragged": (
        instead("train.jsonl", '{"sentence": "a", "label": 1}\n\n{"sentence": "b"}\n'),
        r"train.jsonl, line 3: label is None, expected a label id",
    ),
    "json-number": (
        instead("train.jsonl", '{"sentence": 7, "label": 1}\n'),
        r"train.jsonl, line 1: sentence is 7, expected text",
    ),
    "json-list-label": (
        instead("train.jsonl", '{"sentence": "a", "label": [1]}\n'),
        r"train.jsonl, line 1: label is \[1\], expected a label id",
    ),
    "json-null": (
        instead("train.jsonl", '{"sentence": null, "label": 1}\n'),
        r"train.jsonl, line 1: sentence is None, expected text",
    ),
    "parquet": (instead("train.parquet", "PAR1"), r"train.parquet: not a readable parquet file"),
    "saved": (half_saved, r"train: not a folder that save_to_disk wrote whole"),
    "dangling": (dangle("train.tsv"), r"train.tsv: cannot be read \(No such file"),
    "a-folder": (folder_instead, r"train.tsv is a folder, expected a file"),
    "utf-16-cut": (
        train(GOOD.encode("utf-16")[:-1]),
        r"train.tsv, line 2: byte .* not UTF-16",
    ),
    "utf-16-empty": (train("\n".encode("utf-16")), r"train.tsv is empty"),
    "utf-32-bad": (train("a".encode("utf-32") + b"\xff" * 4), r"train.tsv, line 1: .* not UTF-32"),
    "nul": (train(GOOD + "a\0\tx\n"), r"train.tsv, line 3: label is 'x'"),
    "compressed": (train(b"\x1f\x8b\x08\0\0\0\0\0"), r"train.tsv, line 1: byte 0x8b is not UTF-8"),
    "web-page": (train("<!DOCTYPE html>\n<html></html>\n"), r"column sentence, label is missing"),
    "json-deep": (instead("train.json", "[" * 100_000), r"train.json.*: not JSON"),
    "jsonl-deep": (instead("train.jsonl", "[" * 100_000), r"train.jsonl, line 1: not JSON"),
    "json-huge-number": (
        instead("train.jsonl", '{"sentence": "a", "label": 1e999}'),
        r"train.jsonl, line 1: label is inf",
    ),
    "json-long-number": (
        instead("train.jsonl", '{"sentence": "a", "label": ' + "9" * 5000 + "}"),
        r"train.jsonl, line 1: not JSON",
    ),
    "json-half-a-pair": (
        instead("train.jsonl", '{"sentence": "\\ud800", "label": 1}'),
        r"train.jsonl, line 1: sentence is .*, expected text",
    ),
    "shards": (one_shard, r"found 1 of the 3 shards of train; copy the others too"),
}


@pytest.mark.parametrize("case", CASES)
def test_broken_data_has_its_sentence(make_task: TaskMaker, tmp_path: Path, case: str) -> None:
    change, sentence = CASES[case]
    for name in ("train.tsv", "dev.tsv"):
        write(name, GOOD)(tmp_path)
    change(tmp_path)
    assert re.search(sentence, refusal(make_task().load, tmp_path))


@pytest.mark.parametrize(("low", "value"), [("0", "-0.1"), ("0", "5.01"), ("0", "inf")])
def test_a_regression_target_has_bounds(
    make_task: TaskMaker, tmp_path: Path, low: str, value: str
) -> None:
    for name in ("train.tsv", "dev.tsv"):
        write(name, f"sentence\tlabel\na\t{low}\nb\t{value}\n")(tmp_path)
    options = {"labels": [], "label_range": [0.0, 5.0], "metrics": ["pearson"]}
    task = make_task(**options, headline="pearson")
    sentence = rf"line 3: label is '{re.escape(value)}', expected a number from 0 to 5"
    with pytest.raises(GoftError, match=sentence):
        task.load()


def test_a_data_folder_that_is_not_there(make_task: TaskMaker, tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    sentence = r"task.data_dir=.*nowhere"
    with pytest.raises(GoftError, match=sentence):
        make_task(data_dir=str(folder)).load()


def test_a_data_folder_that_is_a_file(make_task: TaskMaker, tmp_path: Path) -> None:
    write("data.tsv", GOOD)(tmp_path)
    with pytest.raises(GoftError, match=r"data\.tsv: .*expected a folder"):
        make_task(data_dir=str(tmp_path / "data.tsv")).load()


def test_a_file_to_predict_on_that_is_not_there(make_task: TaskMaker, tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=r"new.tsv: .*No such file"):
        make_task().read(tmp_path / "new.tsv")


def test_raw_rows_of_another_width_are_not_taken_for_raw(
    make_task: TaskMaker, tmp_path: Path
) -> None:
    for name in ("train.tsv", "dev.tsv"):
        write(name, "src\t1\thello\n")(tmp_path)
    sentence = r"sentence, label.*'src', '1', 'hello'"
    with pytest.raises(GoftError, match=sentence):
        make_task(raw_columns=["source", "label", "mark", "sentence"]).load()


# Bytes with a meaning in the formats, so that generated files get past the first check.
TOKENS = "sentence label null NaN 1e999 d800 PAR1 1 a - \\u { } [ ] : ,"
BYTES = [b"\t", b"\n", b"\r", b'"', b"\0", b"\xff", b"\xef\xbb\xbf"]
pieces = st.sampled_from([*TOKENS.encode().split(), *BYTES])
contents = st.one_of(st.binary(max_size=64), st.lists(pieces, max_size=24).map(b"".join))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=contents, extension=st.sampled_from(sorted(PARSERS)))
def test_whatever_a_file_holds_it_is_read_or_refused(
    content: bytes, extension: str, make_task: TaskMaker, tmp_path: Path
) -> None:
    path = tmp_path / f"fuzzed{extension}"
    path.write_bytes(content)
    try:
        rows = make_task().read(path)
    except Exception as error:
        described(error)
    else:
        assert all(isinstance(row, str) for row in rows["sentence"])
