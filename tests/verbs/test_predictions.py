"""Predictions are written beside their rows, in the format of the file's extension."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from goft_cli.config import PredictConfig
from goft_cli.data.writers import WRITERS, Predicted, free_name, typed
from goft_cli.run import trained as run_trained
from goft_cli.run.summary import with_predictions
from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import chunks
from goft_cli.verbs.predict import predict, write
from tests.conftest import Goft
from tests.support import small_runs

Line = dict[str, Any]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
PREDICTIONS = st.builds(
    lambda score: {"label": "ham", "score": score, "probabilities": {"ham": score}},
    st.floats(0, 1),
)
LINES = st.lists(
    st.builds(
        lambda text, found: {"id": "7", "sentence": text, "prediction": found},
        TEXTS,
        PREDICTIONS | st.none(),
    ),
    min_size=1,
    max_size=5,
).filter(lambda lines: any(line["prediction"] for line in lines))


def predicted(lines: list[Line], size: int) -> Predicted:
    """Return the lines as predictions in parts of `size` rows."""
    names = [name for name in lines[0] if name != "prediction"]
    columns = {name: [line[name] for line in lines] for name in names}
    parts = [
        (part, [lines[place]["prediction"] for place in part]) for part in chunks(len(lines), size)
    ]
    return Predicted(columns, parts)


def nested(row: dict[str, Any]) -> Line:
    """Return a table's row as the nested dictionary of a JSON line; numbers may be text."""
    flat = [row[f"prediction.{name}"] for name in ("label", "score", "probabilities.ham")]
    if flat[0] in ("", None):
        assert {*flat} <= {"", None}
        return {"id": row["id"], "sentence": row["sentence"], "prediction": None}
    label, score, ham = flat[0], *map(float, flat[1:])
    found = {"label": label, "score": score, "probabilities": {"ham": ham}}
    return {"id": row["id"], "sentence": row["sentence"], "prediction": found}


def delimited(delimiter: str) -> Callable[[Path], list[Line]]:
    """Return a reader of delimited files that uses Python's csv module."""

    def read(path: Path) -> list[Line]:
        with path.open(newline="", encoding="utf-8") as file:
            return [*map(nested, csv.DictReader(file, delimiter=delimiter, strict=True))]

    return read


def feather_rows(path: Path) -> list[Line]:
    return [*map(nested, feather.read_table(path).to_pylist())]


READERS: dict[str, Callable[[Path], list[Line]]] = {
    ".jsonl": lambda path: [
        json.loads(line) for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    ],
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".csv": delimited(","),
    ".tsv": delimited("\t"),
    ".parquet": lambda path: [*map(nested, parquet.read_table(path).to_pylist())],
    ".arrow": feather_rows,
    ".feather": feather_rows,
}


def test_every_format_is_read_back() -> None:
    assert READERS.keys() == WRITERS.keys()


@pytest.mark.parametrize("ending", READERS)
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=LINES, size=st.integers(1, 5))
def test_what_is_written_is_what_is_read(
    ending: str, lines: list[Line], size: int, tmp_path: Path
) -> None:
    path, upper = tmp_path / f"out{ending}", tmp_path / f"out{ending.upper()}"
    write(str(path), predicted(lines, len(lines)))
    assert READERS[ending](path) == lines
    write(str(upper), predicted(lines, size))
    assert READERS[ending](upper) == lines
    if ending in {".jsonl", ".json", ".csv", ".tsv"}:  # other formats store parts as row groups
        assert upper.read_bytes() == path.read_bytes()


def test_a_rows_label_and_its_prediction_speak_one_language() -> None:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
    rows = Dataset.from_dict({"sentence": ["a", "b"], "label": [1, 0]}, features=features)
    lines = with_predictions(rows, [{"label": "ham"}, {"label": "ham"}])
    assert [line["label"] for line in lines] == ["spam", "ham"]
    assert [line["prediction"]["label"] for line in lines] == ["ham", "ham"]


VALUES: list[object] = [None, {"page": 3}, [1, 2], 5, "7", True, 0.5, "\ud800"]


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("later", VALUES)
def test_a_column_that_is_empty_in_the_first_part_is_written(
    ending: str, later: object, tmp_path: Path
) -> None:
    sources = [None, later, "a"] if isinstance(later, str) else [None, later, None]
    lines = [
        {"text": name, "source": source, "prediction": found}
        for name, source, found in zip(
            "abc", sources, [None, {"label": "ham"}, {"label": None}], strict=True
        )
    ]
    file = tmp_path / f"pred{ending}"
    write(str(file), predicted(lines, 1))
    if ending in (".csv", ".tsv"):
        with file.open(newline="", encoding="utf-8") as opened:
            rows = list(csv.DictReader(opened, delimiter="," if ending == ".csv" else "\t"))
        text = "" if later is None else later if isinstance(later, str) else json.dumps(later)
        assert rows[1]["source"] == text.replace("\ud800", "?")
        assert [row["prediction.label"] for row in rows] == ["", "ham", ""]
    elif ending in {".json", ".jsonl"}:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if ending == ".json" else [*map(json.loads, text.splitlines())]
        assert [line["prediction"] for line in found] == [line["prediction"] for line in lines]
        assert found[1]["source"] == (later if later != "\ud800" else "?")
    else:
        read = parquet.read_table if ending == ".parquet" else feather.read_table
        found = read(file).to_pylist()
        assert [line["prediction.label"] for line in found] == [None, "ham", None]
        assert found[1]["source"] == (later if later != "\ud800" else "?")


EMPTY: list[Line | None] = [None, {"tags": [], "score": None}, {"tags": None, "score": None}]
FULL: Line = {"tags": [{"type": "PER"}], "score": 0.5}


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
@pytest.mark.parametrize(
    "empty", [*itertools.permutations(EMPTY), *itertools.combinations(EMPTY, 2)]
)
def test_the_first_values_decide_the_types_wherever_they_come(
    ending: str, empty: tuple[Line | None, ...], tmp_path: Path
) -> None:
    predictions = [*empty, FULL, *empty]
    lines: list[Line] = [{"own": [], "prediction": found} for found in predictions]
    for size in (1, len(lines)):
        file = tmp_path / f"pred{size}{ending}"
        write(str(file), predicted(lines, size))
        read = parquet.read_table if ending == ".parquet" else feather.read_table
        found = read(file)
        for name in ("tags", "score"):
            expected = [one and one[name] for one in predictions]
            assert found[f"prediction.{name}"].to_pylist() == expected
        assert found["own"].to_pylist() == [[]] * len(lines)


def test_predictions_do_not_wait_once_their_types_are_known() -> None:
    taken: list[int] = []

    def parts() -> Iterator[tuple[range, list[Line]]]:
        for number in range(4):
            taken.append(number)
            yield range(number, number + 1), [FULL]

    schema, tables = typed(Predicted({"own": [[]] * 4}, parts()))
    assert taken == [0]
    assert str(schema.field("prediction.score").type) == "double"
    assert len([*tables]) == len(taken) == 4


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_values_without_a_common_type_become_text(ending: str, tmp_path: Path) -> None:
    values = [1, "b", {"c": 2}, None]
    rows = Predicted({"id": values}, [(range(4), [{"label": "ham"}] * 4)])
    write(str(tmp_path / f"pred{ending}"), rows)
    read = parquet.read_table if ending == ".parquet" else feather.read_table
    found = read(tmp_path / f"pred{ending}")
    assert found["id"].to_pylist() == ["1", "b", '{"c": 2}', None]


@given(st.sets(st.sampled_from(["id", "prediction", "prediction.label", "prediction_2", "x.y"])))
def test_predictions_take_no_columns_place(columns: set[str]) -> None:
    name = free_name(columns)
    assert not any(column.split(".")[0] == name for column in columns)
    assert name == "prediction" or any(column.startswith("prediction") for column in columns)


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
    def parts() -> Iterator[tuple[range, list[Line]]]:
        yield range(1), [{"label": "ham"}]
        assert list(tmp_path.iterdir()), "written as it goes"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(str(tmp_path / "out.jsonl"), Predicted({"sentence": ["a", "b"]}, parts()))
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
