"""Predictions beside their rows: named labels, and the format of the file's ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from goft_cli.config import PredictConfig
from goft_cli.run import trained as run_trained
from goft_cli.run.summary import with_predictions
from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError
from goft_cli.verbs.predict import WRITERS, predict, write_lines
from tests.conftest import Goft
from tests.support import small_runs

Line = dict[str, Any]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
LINES = st.lists(
    st.builds(
        lambda text, score: {
            "sentence": text,
            "prediction": {"label": "ham", "score": score, "probabilities": {"ham": score}},
        },
        TEXTS,
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=4,
)


def delimited(delimiter: str) -> Callable[[Path], list[Line]]:
    """Read what Python's own reader makes of it."""

    def read(path: Path) -> list[Line]:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter, strict=True))
        return [
            {
                "sentence": row["sentence"],
                "prediction": {
                    "label": row["prediction.label"],
                    "score": float(row["prediction.score"]),
                    "probabilities": {"ham": float(row["prediction.probabilities.ham"])},
                },
            }
            for row in rows
        ]

    return read


READERS: dict[str, Callable[[Path], list[Line]]] = {
    ".jsonl": lambda path: [
        json.loads(line) for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    ],
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".csv": delimited(","),
    ".tsv": delimited("\t"),
    ".parquet": lambda path: parquet.read_table(path).to_pylist(),
}


def test_every_format_is_read_back() -> None:
    assert READERS.keys() == WRITERS.keys()


@pytest.mark.parametrize("ending", READERS)
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=LINES)
def test_what_is_written_is_what_is_read(ending: str, lines: list[Line], tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    write_lines(path, [lines])
    assert READERS[ending](path) == lines
    write_lines(path.with_suffix(ending.upper()), [[line] for line in lines])
    assert READERS[ending](path.with_suffix(ending.upper())) == lines
    if ending != ".parquet":  # where the groups of rows are those of the parts
        assert path.with_suffix(ending.upper()).read_bytes() == path.read_bytes()


def test_a_rows_label_and_its_prediction_speak_one_language() -> None:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
    rows = Dataset.from_dict({"sentence": ["a", "b"], "label": [1, 0]}, features=features)
    lines = with_predictions(rows, [{"label": "ham"}, {"label": "ham"}])
    assert [line["label"] for line in lines] == ["spam", "ham"]
    assert [line["prediction"]["label"] for line in lines] == ["ham", "ham"]


@pytest.mark.parametrize("ending", WRITERS)
def test_a_column_that_is_empty_in_the_first_part_is_written(ending: str, tmp_path: Path) -> None:
    first = {"sentence": "a", "source": None, "prediction": {"label": "ham"}}
    last = {"sentence": "b", "source": {"page": 3}, "prediction": {"label": "spam"}}
    file = tmp_path / f"pred{ending}"
    write_lines(file, iter([[first], [last]]))
    if ending in (".csv", ".tsv"):
        found = pd.read_csv(file, sep="," if ending == ".csv" else "\t").to_dict("list")
        assert found["sentence"] == ["a", "b"]
        assert found["source.page"][1] == 3
        assert found["prediction.label"] == ["ham", "spam"]
    elif ending == ".parquet":
        assert parquet.read_table(file).to_pylist() == [first, last]
    else:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if ending == ".json" else [*map(json.loads, text.splitlines())]
        assert found == [first, last]


@pytest.mark.parametrize("name", ["pred", "pred.xlsx", "pred.csv.gz", "pred.txt", "pred."])
def test_another_ending_is_refused_before_anything_is_loaded(
    name: str, goft: Goft, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("sentence\nthe dog runs .\n")
    answer = goft("predict", "adapter=nowhere", "input=new.csv", f"output={name}")
    assert answer.code == 2
    assert all(ending in answer.err for ending in [name, *WRITERS])
    assert "nowhere" not in answer.err, "the run was not looked for"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["new.csv"]


def test_rows_are_predicted_and_written_in_parts(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small_runs.write_data(tmp_path, rows=11) / "train.tsv"
    parts: list[int] = []
    real = TrainedRun.outputs

    def counting(run: TrainedRun, model: Any, splits: Any, batch_size: int) -> Any:  # noqa: ANN401
        parts.append(len(splits["input"].rows))
        return real(run, model, splits, batch_size)

    monkeypatch.setattr(TrainedRun, "outputs", counting)
    found = []
    for size in (11, 4):
        monkeypatch.setattr(run_trained, "PREDICTED_ROWS", size)
        output = tmp_path / f"out{size}.jsonl"
        predict(PredictConfig(adapter=str(trained), input=str(source), output=str(output)))
        found.append(READERS[".jsonl"](output))
    assert parts == [11, 4, 4, 3]
    whole, cut = found
    assert [line["sentence"] for line in cut] == [line["sentence"] for line in whole]
    scores = [[line["prediction"]["score"] for line in lines] for lines in found]
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)


def test_an_interrupted_prediction_leaves_no_file(tmp_path: Path) -> None:
    def parts() -> Iterator[list[Line]]:
        yield [{"sentence": "a", "prediction": {"label": "ham"}}]
        assert list(tmp_path.iterdir()), "written as it goes"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(tmp_path / "out.jsonl", parts())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", READERS)
def test_predict_writes_the_format_of_the_ending(
    ending: str, trained: Path, tmp_path: Path
) -> None:
    source = small_runs.write_data(tmp_path, rows=4) / "train.tsv"
    output = tmp_path / f"out{ending}"
    config = PredictConfig(adapter=str(trained), input=str(source), output=str(output))
    predict(config)
    content = output.read_bytes()
    assert (content[:4] == b"PAR1") == (ending == ".parquet")
    assert content.count(b"the dog") >= 1
    assert any(name in content for name in (b"acceptable", b"unacceptable"))
    with pytest.raises(GoftError, match="already there"):
        predict(config)
    assert output.read_bytes() == content
