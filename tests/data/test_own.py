"""Data of the user's own: text and label columns are found, and rows are held out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from goft_cli.compose import own
from goft_cli.config.task import OwnDataConfig
from goft_cli.data.cells import label_set, words_in
from goft_cli.data.columns import find_label, find_text, label_names, one_label_each
from goft_cli.data.files import read_file, read_shards
from goft_cli.data.formats import Layout
from goft_cli.data.own import find_files, held_out, kept_together, remarks, without_gaps
from goft_cli.data.own_images import moved
from goft_cli.data.table import Table, checked_rows
from goft_cli.run.trained import placed
from goft_cli.system.errors import GoftError
from tests.support.made_up_tasks import TaskMaker
from tests.support.made_up_tasks import make_task as make_task
from tests.support.small_runs import composed

LABELS = st.lists(st.sampled_from("abc"), min_size=2, max_size=60)


def table(**columns: list[object]) -> Table:
    return Table("reviews.csv", columns, list(range(2, 2 + len(next(iter(columns.values()))))))


@given(LABELS, st.floats(0.01, 0.99), st.integers(0, 9))
def test_each_class_gives_its_share_to_within_a_row(
    labels: list[str], share: float, seed: int
) -> None:
    rows = held_out(table(label=[*labels]), OwnDataConfig(split=share, seed=seed), "label")
    assert rows == sorted(set(rows))
    assert 0 < len(rows) < len(labels)
    chosen, sizes = Counter(labels[row] for row in rows), Counter(labels)
    assert abs(len(rows) - share * len(labels)) <= 1
    for name, size in sizes.items():
        assert abs(chosen[name] - share * size) <= 1 + 1e-9


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60).filter(lambda g: len({*g}) > 1)
)
def test_a_group_is_never_torn(groups: list[str]) -> None:
    rows = held_out(table(who=[*groups]), OwnDataConfig(split=0.3, group="who"), None)
    inside = {groups[row] for row in rows}
    outside = {groups[row] for row in {*range(len(groups))} - {*rows}}
    assert inside
    assert outside
    assert not inside & outside


def test_the_choice_follows_from_the_seed_alone() -> None:
    rows = table(label=["a", "b"] * 50)
    first, again, other = (held_out(rows, OwnDataConfig(seed=seed), "label") for seed in (1, 1, 2))
    assert first == again != other


def test_selected_rows_keep_their_places() -> None:
    lined, named = table(a=[1, 2, 3]).select([2]), Table("x", {"a": [1, 2, 3]}).select([2, 0])
    assert lined.place(0) == "reviews.csv, line 4"
    assert [named.place(0), named.place(1)] == ["x, row 3", "x, row 1"]


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"id": ["1", "2"], "Review": ["good", "bad"], "Stars": ["5", "1"]}, ["Review"], "Stars"),
        ({"premise": ["a b"], "hypothesis": ["c"], "y": ["x"]}, ["premise", "hypothesis"], "y"),
        ({"was": ["long words", "other words"] * 2, "kind": ["x", "y"] * 2}, ["was"], "kind"),
    ],
)
def test_columns_are_found(columns: dict[str, list[object]], text: list[str], label: str) -> None:
    found = table(**columns)
    assert find_label(found, find_text(found, None)) == label
    assert find_text(found, label) == text


@pytest.mark.parametrize(
    "columns",
    [{"text": ["a", "b"]}, {"text": ["a b"] * 4, "one": [1, 2, 1, 2], "two": [3, 4, 3, 4]}],
)
def test_what_is_not_clear_is_asked(columns: dict[str, list[object]]) -> None:
    with pytest.raises(GoftError, match="label=COLUMN"):
        find_label(table(**columns), ["text"])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["10", "9", "9", "10"], ["9", "10"]),
        ([5.0, 1.0, 5.0, 1.0], ["1", "5"]),
        (["5.0", "1", "5", "1.0"], ["1", "5"]),
        (["pos", "neg", " pos", None], ["neg", "pos"]),
        ([True, False, True, False], ["false", "true"]),
        (["e\u0301", "\u00e9", "neg"], ["neg", "\u00e9"]),
    ],
)
def test_classes_are_ordered_by_what_they_are(values: list[object], names: list[str]) -> None:
    assert label_names(table(label=values), "label") == names
    assert label_names(table(label=values[::-1]), "label") == names


@pytest.mark.parametrize("values", [["a"] * 4, [None] * 4, [str(n) for n in range(40)]])
def test_what_are_no_classes_is_refused(values: list[object]) -> None:
    with pytest.raises(GoftError, match="column label holds"):
        label_names(table(label=values), "label")


def test_rows_with_gaps_are_left_out_and_counted() -> None:
    whole = without_gaps(
        table(text=["a", " ", "b", float("nan")], label=["x", "x", "", "y"]), ["text", "label"]
    )
    assert [*whole.columns["text"]] == ["a"]
    assert whole.left_out == 3


def test_what_splits_share_and_lack_is_said(make_task: TaskMaker) -> None:
    config = make_task().config
    config.labels = ["a", "b", "c"]
    rows = {
        split: checked_rows(table(sentence=[*texts], label=["a", "b"]), config, labelled=True)
        for split, texts in {"train": "xy", "validation": "yz"}.items()
    }
    said = [*remarks(rows, ["sentence"], "label")]
    assert len(said) == 3
    assert "1 of 2 rows of validation" in said[0]


def test_files_of_a_folder(tmp_path: Path) -> None:
    own = OwnDataConfig()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(GoftError, match="expected train"):
        find_files(tmp_path, own)
    (tmp_path / "all.csv").touch()
    assert find_files(tmp_path, own) == {"train": [tmp_path / "all.csv"]}
    for name in ("train.csv", "dev.csv", "test.csv"):
        (tmp_path / name).touch()
    assert {*find_files(tmp_path, own)} == {"train", "validation", "test"}
    with pytest.raises(GoftError, match="it does not exist"):
        find_files(tmp_path / "nonesuch.csv", own)


@pytest.mark.parametrize(
    ("rows", "of_texts", "of_chats"),
    [(10, 20, 3), (3_000, 8, 3), (9_000, 3, 3), (20_000, 2, 2), (100_000, 1, 1)],
)
def test_the_passes_follow_from_the_rows(
    rows: int, of_texts: int, of_chats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "row_count", lambda task: rows)
    task = OmegaConf.create({})
    assert (own.epochs(task), own.few_epochs(task)) == (of_texts, of_chats)


def test_a_context_keeps_its_questions_together_unless_it_is_the_only_one() -> None:
    several, single = table(context=["a", "a", "b"]), table(context=["a", "a", "a"])
    assert kept_together(several, "context") == "context"
    assert kept_together(single, "context") is None
    assert kept_together(several, None) is None


def test_a_value_that_is_no_label_is_named_by_its_own_row() -> None:
    with pytest.raises(GoftError, match=r"reviews\.csv, line 4: label is \[\]"):
        label_names(table(label=["", "a", [], "b"]), "label")


WORDS = st.lists(st.text(min_size=1))


@given(WORDS, st.sampled_from([repr, json.dumps]))
def test_a_list_in_a_cell_is_read_as_pandas_or_json_writes_it(
    words: list[str], write: Callable[[list[str]], str]
) -> None:
    assert label_set(write(words)) == words_in(write(words)) == words


@pytest.mark.parametrize(
    ("text", "labels", "words"),
    [
        ("[CLS] a [SEP]", ["[CLS] a [SEP]"], ["[CLS]", "a", "[SEP]"]),
        ("[NSFW];[OC]", ["[NSFW]", "[OC]"], ["[NSFW];[OC]"]),
        ("[ a , b ]", ["[ a , b ]"], ["[", "a", ",", "b", "]"]),
    ],
)
def test_brackets_alone_make_no_list(text: str, labels: list[str], words: list[str]) -> None:
    assert label_set(text) == labels
    assert words_in(text) == words


@pytest.mark.parametrize(
    "cell", ["['a' 'b']", "['a'\n 'b']", "[a, b]", "[0 1]", "[np.str_('a'), np.str_('b')]"]
)
@pytest.mark.parametrize("read", [label_set, words_in])
def test_a_list_that_cannot_be_read_is_named_by_its_row(
    read: Callable[[object], list[object] | None], cell: str
) -> None:
    assert read(cell) is None
    with pytest.raises(GoftError, match=r"reviews\.csv, line 3: tags is .*JSON"):
        one_label_each(table(tags=["x", cell]), "tags", read)


@pytest.mark.parametrize("place", ["", "train.csv"])
@pytest.mark.parametrize("recorded", ["held.csv", "gone/held.csv", "/gone/held.csv"])
def test_a_validation_file_moves_with_its_data(
    place: str, recorded: str, make_task: TaskMaker, tmp_path: Path
) -> None:
    task, own = make_task().config, OwnDataConfig(validation=recorded)
    (tmp_path / "train.csv").touch()
    assert moved(task, own, tmp_path / place) == own
    (tmp_path / "held.csv").touch()
    there = moved(task, own, tmp_path / place)
    assert find_files(tmp_path / place, there)["validation"] == [tmp_path / "held.csv"]


def test_other_data_is_scored_on_its_own_validation_rows(
    make_task: TaskMaker, tmp_path: Path
) -> None:
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text("text,label\na,x\n")
    task = replace(make_task().config, own=OwnDataConfig(validation=__file__))
    found = placed(replace(composed([]), task=task), {}, None, str(tmp_path)).task
    assert found.own is not None
    assert find_files(found.place, found.own)["validation"] == [tmp_path / "dev.csv"]


@pytest.mark.parametrize("exists", [True, False])
def test_other_rows_are_scored_whether_or_not_the_old_ones_are_there(
    exists: bool, make_task: TaskMaker, tmp_path: Path
) -> None:
    old, other = tmp_path / "old.csv", tmp_path / "new.csv"
    for path in (old, other) if exists else (other,):
        path.write_text("text,label\na,x\n")
    task = replace(make_task().config, own=OwnDataConfig(), data_dir=str(old))
    found = placed(replace(composed([]), task=task), {}, None, str(other)).task
    assert found.own is not None
    assert find_files(found.place, found.own)["validation"] == [other]


def test_a_first_row_of_data_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("good film,pos\nbad film,neg\nno film,neg\nmy film,pos\n")
    rows = read_file(tmp_path / "a.csv", Layout())
    with pytest.raises(GoftError, match="the first row seems to be data"):
        find_label(rows, find_text(rows, None))


def test_labels_keep_their_leading_zeros() -> None:
    codes = ["010", "007", "007", "010"]
    assert label_names(table(code=[*codes]), "code") == ["007", "010"]
    assert label_names(table(code=["1.0", "2.0"]), "code") == ["1", "2"]


@pytest.mark.parametrize("cell", [[0, 0, 1], [1.0, 1.0], "[0, 1, 0]"])
def test_a_number_for_each_label_is_no_set_of_labels(cell: object) -> None:
    with pytest.raises(GoftError, match="expected a list of names"):
        one_label_each(table(tags=[cell]), "tags", label_set)
    assert label_set("0;0") == ["0", "0"]


def test_a_dataset_of_one_split_is_found_in_its_folder(tmp_path: Path) -> None:
    Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "saved")
    assert find_files(tmp_path / "saved", OwnDataConfig()) == {"train": [tmp_path / "saved"]}
    assert len(read_shards([tmp_path / "saved"], Layout())[0]) == 2
    DatasetDict({"odd": Dataset.from_dict({"text": ["a"]})}).save_to_disk(tmp_path / "named")
    with pytest.raises(GoftError, match=r"found dataset_dict\.json, odd, expected train"):
        find_files(tmp_path / "named", OwnDataConfig())
