"""Header lines and rows are told apart, and short rows are refused or counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goft_cli.config import TaskConfig, TextClassificationConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.classification import TextClassification

ConfigReader = Callable[[str], TaskConfig]
GlueTask = Callable[..., TextClassification]

COLA = ["gj04\t1\t\tThe dog runs.", "gj04\t0\t*\tDog the runs."]
MRPC = ["1\t7\t8\tA b.\tC d.", "0\t9\t10\tE f.\tG h."]
MRPC_HEADER = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
MRPC_COLUMNS = ["label", "id1", "id2", "sentence1", "sentence2"]
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
FIELDS = st.text(st.characters(categories=["L", "Nd", "P"]), min_size=1, max_size=12)


@pytest.fixture
def glue(task_config: ConfigReader, tmp_path: Path) -> GlueTask:
    """Return a function that builds a GLUE task on `tmp_path`; keywords replace its fields."""

    def build(name: str, **changes: object) -> TextClassification:
        config = task_config(f"glue/{name}")
        assert isinstance(config, TextClassificationConfig)
        return TextClassification(replace(config, data_dir=str(tmp_path), **changes))  # pyright: ignore[reportArgumentType] - a mixed dict

    return build


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def sentences(task: TextClassification, path: Path) -> list[str]:
    return list(task.read(path)[task.config.text_columns[0]])


@pytest.mark.parametrize(
    "header",
    [
        "source\tlabel\tmark\tsentence",
        "Source\tLabel\tMark\tSentence",
        "id\tnote\tlabel\tsentence",
    ],
)
def test_predict_takes_no_header_for_a_row(header: str, glue: GlueTask, tmp_path: Path) -> None:
    headed = write(tmp_path / "new.tsv", header, *COLA)
    expected = ["The dog runs.", "Dog the runs."]
    if "sentence" in header:
        assert sentences(glue("cola"), headed) == expected
    else:
        with pytest.raises(GoftError, match="column sentence is missing"):
            sentences(glue("cola"), headed)


def test_a_header_of_one_column(glue: GlueTask, tmp_path: Path) -> None:
    headed = write(tmp_path / "new.tsv", "sentence", "The dog runs.")
    assert sentences(glue("cola"), headed) == ["The dog runs."]


@pytest.mark.parametrize(
    "header", ["id\tlabel\tx\ttext", "a\tb\tc\tSENTENCE", "source\tgold\tflag\ttext"]
)
def test_a_header_without_the_texts_is_refused(header: str, glue: GlueTask, tmp_path: Path) -> None:
    headed = write(tmp_path / "new.tsv", header, *COLA)
    with pytest.raises(GoftError, match=r"new\.tsv.*sentence") as caught:
        glue("cola").read(headed)
    assert "task." not in str(caught.value), "predict has no such keys"


def test_a_header_of_unknown_names_is_seen_by_its_label(glue: GlueTask, tmp_path: Path) -> None:
    headed = write(tmp_path / "new.tsv", "who\tok\tflag\ttext", *COLA)
    with pytest.raises(GoftError, match=r"new\.tsv, line 1: label is 'ok'.*sentence"):
        glue("cola").read(headed)
    hidden = write(tmp_path / "test.tsv", "gj04\t?\t\tThe dog runs.", "gj04\t?\t\tDog.")
    assert sentences(glue("cola"), hidden) == ["The dog runs.", "Dog."]


def test_mrpc_with_and_without_its_header(glue: GlueTask, tmp_path: Path) -> None:
    bare, headed = write(tmp_path / "bare.tsv", *MRPC), tmp_path / "headed.tsv"
    write(headed, MRPC_HEADER, *MRPC)
    expected = ["A b.", "E f."]
    assert sentences(glue("mrpc"), headed) == expected
    told = glue("mrpc", raw_columns=MRPC_COLUMNS)
    assert sentences(told, headed) == sentences(told, bare) == expected
    with pytest.raises(GoftError, match="sentence1, sentence2 is missing") as caught:
        glue("mrpc").read(bare)
    assert "header" in str(caught.value)


def test_the_remedy_for_a_missing_header_works(glue: GlueTask, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        write(tmp_path / name, *MRPC)
    with pytest.raises(GoftError, match=r"train\.tsv") as caught:
        glue("mrpc").load()
    assert "task.raw_columns=[" in str(caught.value)
    rows = glue("mrpc", raw_columns=MRPC_COLUMNS).load().splits["train"]
    assert list(rows["label"]) == [1, 0]
    for name in ("train.tsv", "dev.tsv"):
        write(tmp_path / name, "1\tThe dog runs.")
    with pytest.raises(GoftError, match=r"train\.tsv.*task\.raw_columns=\["):
        glue("cola").load()
    assert list(glue("cola", raw_columns=["label", "sentence"]).load().splits["train"]["label"])


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.tuples(FIELDS, st.integers(0, 1), FIELDS), min_size=1, max_size=4))
def test_no_row_is_lost_or_made(
    rows: Sequence[tuple[str, int, str]], glue: GlueTask, tmp_path: Path
) -> None:
    lines = [f"{source}\t{label}\t\t{text}" for source, label, text in rows]
    expected = [text for _, _, text in rows]
    task = glue("cola")
    assert sentences(task, write(tmp_path / "bare.tsv", *lines)) == expected
    header = "\t".join(task.config.raw_columns)
    assert sentences(task, write(tmp_path / "headed.tsv", header, *lines)) == expected


def test_qqps_short_rows_are_left_out_and_counted(
    glue: GlueTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = ["1\t2\t3\tA?\tB?\t1", "7\t8\t9\tC?\tD?\t0"]
    write(tmp_path / "train.tsv", QQP_HEADER, whole[0], "4\t5\t6", "4\t5\t6", whole[1])
    write(tmp_path / "dev.tsv", QQP_HEADER, *whole)
    with caplog.at_level(logging.WARNING):
        data = glue("qqp").load()
    assert list(data.splits["train"]["question1"]) == ["A?", "C?"]
    assert list(data.splits["train"]["label"]) == [1, 0]
    assert data.provenance["left_out"] == {"train": 2}
    assert any("train" in message and "2" in message for message in caplog.messages)
    assert not any("validation" in message for message in caplog.messages)


@pytest.mark.parametrize("row", ["4\t5\t6", "1\t2\t3\tA?\tB?\t1\tmore"])
def test_rows_of_another_width_are_refused_elsewhere(
    row: str, glue: GlueTask, tmp_path: Path
) -> None:
    path = write(tmp_path / "train.tsv", QQP_HEADER, "1\t2\t3\tA?\tB?\t1", row)
    count = len(row.split("\t"))
    with pytest.raises(GoftError, match=rf"train\.tsv, line 3: found {count} fields"):
        glue("qqp").read(path)  # each row of an input needs its prediction
    with pytest.raises(GoftError, match=rf"train\.tsv, line 3: found {count} fields"):
        glue("qqp", skip_short_rows=False).load_splits(["train"])
    if count > 6:
        with pytest.raises(GoftError, match="line 3"):
            glue("qqp").load_splits(["train"])
