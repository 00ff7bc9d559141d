"""`goft predict` reads every format, stdin and rows without text, and refuses bad input."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from datasets import Dataset

from goft_cli.config import PredictConfig
from goft_cli.run import trained as run_trained
from goft_cli.system.errors import GoftError
from goft_cli.verbs.predict import predict
from tests.conftest import Goft

ROWS: list[dict[str, Any]] = [
    {
        "id": "17",
        "Review Date": "2024-01-01",
        "sentence": "the dog runs .",
        "label": "?",
        "note": "",
    },
    {"id": "4", "Review Date": "", "sentence": 'the "cat" , it\tsleeps', "label": "", "note": "雪"},
    {"id": "5", "Review Date": "", "sentence": "a\nb", "label": "ham", "note": "x"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format of the file's extension, without goft's own writers."""
    table, ending = Dataset.from_list(rows), path.suffix
    frame: Any = table.to_pandas()
    if ending in (".csv", ".tsv"):
        frame.to_csv(path, sep="," if ending == ".csv" else "\t", index=False)
    elif ending == ".parquet":
        frame.to_parquet(path)
    elif ending == ".feather":
        frame.to_feather(path)
    elif ending == ".arrow":
        table.save_to_disk(str(path.with_suffix("")))
        next(path.with_suffix("").glob("*.arrow")).rename(path)
    elif ending == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.rstrip("\n").split("\n")]


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet", "arrow", "feather"])
def test_every_column_of_every_format_is_kept_in_its_order(
    ending: str, trained: Path, tmp_path: Path
) -> None:
    source, output = write(tmp_path / f"new.{ending}", ROWS), tmp_path / "out.jsonl"
    predict(PredictConfig(adapter=str(trained), input=str(source), output=str(output)))
    found = lines(output.read_text(encoding="utf-8"))
    assert [[*line] for line in found] == [[*ROWS[0], "prediction"]] * 3
    assert [{name: line[name] for name in ROWS[0]} for line in found] == ROWS
    assert all(
        set(line["prediction"]["probabilities"]) == {"acceptable", "unacceptable"} for line in found
    )


def test_predicting_on_predictions_adds_columns(trained: Path, tmp_path: Path, goft: Goft) -> None:
    write(tmp_path / "new.csv", ROWS)
    assert goft("predict", f"adapter={trained}", "input=new.csv", "output=one.csv").code == 0
    again = goft("predict", f"adapter={trained}", "input=one.csv", "output=two.parquet")
    assert "called prediction_2" in again.err
    found = Dataset.from_parquet(str(tmp_path / "two.parquet"))
    assert isinstance(found, Dataset)
    assert found.column_names[:6] == [*ROWS[0], "prediction.label"]
    assert found["prediction.label"][:] == found["prediction_2.label"][:]
    assert [float(score) for score in found["prediction.score"]] == pytest.approx(
        found["prediction_2.score"][:], rel=1e-5
    )


@pytest.mark.parametrize(
    "content", ["{}\n\n{}\n", '{{"sentence": "{}"}}\n{{}}\n{{"sentence": "{}"}}']
)
def test_stdin_is_lines_of_json_or_of_text_and_stdout_nothing_but_json(
    content: str, trained: Path, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, content.format("the dog runs .", "cats sleep .").encode())
    answer = goft("predict", f"adapter={trained}", "input=-", "output=-")
    found = lines(answer.out)
    assert [line["sentence"] for line in found] in (
        ["the dog runs .", "", "cats sleep ."],
        ["the dog runs .", None, "cats sleep ."],
    )
    assert [bool(line["prediction"]) for line in found] == [True, False, True]
    assert "1 of 3 rows get an empty prediction; the first is stdin, line 2" in answer.err
    assert "2 predictions" in answer.err


@pytest.mark.parametrize("blank", ["", "  ", None, float("nan")])
def test_a_row_without_text_is_kept_and_changes_no_other(
    blank: object, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"sentence": "the dog runs ."}, {"sentence": blank}, {"sentence": "cats sleep ."}]
    found = []
    for name, some in (("whole", rows), ("full", rows[::2])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)))
        output = tmp_path / f"{name}.out.jsonl"
        source = str(tmp_path / f"{name}.jsonl")
        predict(PredictConfig(adapter=str(trained), input=source, output=str(output)))
        found.append([line["prediction"] for line in lines(output.read_text())])
    assert "whole.jsonl, line 2: sentence is empty" in capsys.readouterr().err
    (one, none, two), full = found
    assert none is None
    assert [one, two] == full


BAD: dict[str, tuple[str, bytes, str]] = {
    "nothing": ("new.csv", b"", r"new\.csv is empty"),
    "a header": ("new.csv", b"sentence,id\n", r"new\.csv: no rows"),
    "blank lines": ("new.txt", b"\n \n", r"new\.txt is empty"),
    "no text": ("new.csv", b"sentence,id\n,1\n  ,2\n", r"line 2: sentence is empty, and no other"),
    "another column": ("new.csv", b"id,review\n1,good\n", r"missing; found 'id', 'review'"),
    "two alike": ("new.csv", b"sentence,sentence\na,b\n", r"line 1: two columns share a name"),
    "a short row": ("new.csv", b"id,sentence\n1,a\n2\n", r"line 3: found 1 fields, expected 2"),
    "latin-1": ("new.csv", b"id,sentence\n1,caf\xe9\n", r"line 2: byte 0xe9 is not UTF-8"),
    "broken JSON": (
        "new.jsonl",
        b'{"sentence": "a"}\n' * 4999 + b'{"sentence": "x\n',
        r"new\.jsonl, line 5000: not JSON",
    ),
    "a number": (
        "new.jsonl",
        b'{"sentence": "a"}\n{"sentence": 5}\n',
        r"new\.jsonl, line 2: sentence is 5, expected text",
    ),
    "a list": ("new.jsonl", b'["a"]\n', r"new\.jsonl, line 1: found .*expected one object"),
    "no parquet": ("new.parquet", b"PAR1", r"new\.parquet: not a readable parquet file"),
    "no arrow": ("new.arrow", b"ARROW1", r"new\.arrow: not a readable Arrow file"),
    "an unknown ending": ("new.xlsx", b"PK", r"unknown extension; expected one of \.tsv"),
}


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that loads a model."""

    def opened(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(run_trained, "open_trained", opened)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_before_the_model_is_loaded(
    case: str, trained: Path, tmp_path: Path
) -> None:
    name, content, sentence = BAD[case]
    (tmp_path / name).write_bytes(content)
    output = str(tmp_path / "out.csv")
    with pytest.raises(GoftError, match=sentence):
        predict(PredictConfig(adapter=str(trained), input=str(tmp_path / name), output=output))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"output": "nowhere/out.csv"}, r"there is no folder .*nowhere"),
        ({"output": "folder.csv"}, r"folder\.csv is a folder"),
        ({"output": "there.csv"}, r"there\.csv is already there"),
        ({"output": "out.xlsx"}, r"the ending '\.xlsx' names no format.*output=-"),
        ({"input": "nowhere.csv"}, r"nowhere\.csv: cannot be read"),
        ({"input": "folder.csv"}, r"folder\.csv is a folder"),
        ({"temperature": 0.7, "stop": ["x"]}, "temperature, stop is for models that generate"),
        ({"input": None, "text": " "}, r"text=' ' is empty"),
    ],
)
def test_bad_words_are_refused_before_the_model_is_loaded(
    words: dict[str, Any],
    sentence: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "there.csv").write_text("x")
    write(tmp_path / "new.csv", ROWS)
    given = {"input": "new.csv", "output": "out.csv", **words}
    with pytest.raises(GoftError, match=sentence):
        predict(PredictConfig(adapter=str(trained), **given))
    assert not (tmp_path / "out.csv").exists()
