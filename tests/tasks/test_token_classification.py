"""Token classification finds conlleval's entities, counts words cut off, and reads files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from goft_cli.compose.recomposition import compose_train
from goft_cli.config import DatasetConfig, TokenClassificationConfig
from goft_cli.config.decoding import Decoding
from goft_cli.data.table import from_dataset
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.trained import open_trained
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import asset_dir
from goft_cli.tasks.base import Split
from goft_cli.tasks.classes import entities, figures
from goft_cli.tasks.token_classification import PadWords, TokenClassification, checked_rows
from goft_cli.tasks.tokens import MISSED, first_tokens

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TAGS = ["O", *("-".join(pair) for pair in itertools.product("BIES", ["PER", "LOC"]))]
Maker = Callable[..., TokenClassification]


def chunk_ends(before: str, tag: str, kind_before: str, kind: str) -> bool:
    """Return the result of conlleval's `endOfChunk`, translated line by line."""
    ends = before in {"E", "S"}
    ends |= before == "B" and tag in {"B", "S", "O"}
    ends |= before == "I" and tag in {"B", "S", "O"}
    return ends or (before not in {"O", "."} and kind_before != kind)


def chunk_starts(before: str, tag: str, kind_before: str, kind: str) -> bool:
    """Return the result of conlleval's `startOfChunk`, translated line by line."""
    starts = tag in {"B", "S"}
    starts |= before in {"E", "S", "O"} and tag in {"E", "I"}
    return starts or (tag not in {"O", "."} and kind_before != kind)


def by_conlleval(tags: list[str]) -> list[tuple[str, int, int]]:
    """Return the entities as the state machine of conlleval finds them."""
    found, start = [], None
    before, kind_before = "O", ""
    for index, whole in enumerate([*tags, "O"]):
        tag, _, kind = whole.partition("-")
        if start is not None and chunk_ends(before, tag, kind_before, kind):
            found.append((kind_before, start, index))
            start = None
        if chunk_starts(before, tag, kind_before, kind):
            start = index
        before, kind_before = tag, kind
    return found


@settings(max_examples=400)
@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_entities_are_those_of_conlleval(tags: list[str]) -> None:
    assert entities(tags) == by_conlleval(tags)


def test_some_entities_by_hand() -> None:
    assert entities(["I-PER", "I-PER", "O", "B-PER", "B-PER", "I-LOC"]) == [
        ("PER", 0, 2),
        ("PER", 3, 4),
        ("PER", 4, 5),
        ("LOC", 5, 6),
    ]
    assert entities(["B-A", "I-A", "L-A", "U-A", "U-A"]) == [("A", 0, 3), ("A", 3, 4), ("A", 4, 5)]
    assert figures(0, 0, 0) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Build a task of entities that reads `tmp_path`; keywords replace its fields."""

    def task(**changes: object) -> TokenClassification:
        fields: dict[str, Any] = {
            "name": "made-up",
            "dataset": DatasetConfig(id="nobody/nothing"),
            "data_dir": str(tmp_path),
            "labels": LABELS,
            "metrics": ["f1", "accuracy"],
            "headline": "f1",
            "headline_split": "validation",
            "max_length": 16,
        }
        fields.update(changes)
        return TokenClassification(TokenClassificationConfig(**fields))

    return task


WORDS = st.text(st.sampled_from("abcdefghijABC.,'-é中"), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(WORDS, min_size=1, max_size=8))
@pytest.mark.parametrize("asset", ["tiny-deberta-v3", "tiny-llama"])
def test_the_first_token_of_a_word_begins_it(asset: str, words: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(asset_dir(asset))
    text = " ".join(words)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    places = first_tokens(words, offsets)
    begins = itertools.accumulate((len(word) + 1 for word in words[:-1]), initial=0)
    assert places == sorted(places)
    for place, word, begin in zip(places, words, begins, strict=True):
        first, last = offsets[place]
        assert text[first:last].strip()
        assert begin < last <= begin + len(word)
        assert max(0, begin - 1) <= first <= begin, "it may hold the blank before, and begins there"


def test_targets_are_at_first_tokens_and_padding_is_on_the_right(
    make: Maker, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = Dataset.from_dict({"tokens": [["ab", "c"], ["d"]], "tags": [["B-PER", "O"], ["I-LOC"]]})
    tokenizer.padding_side = "left"
    task = make()
    encoded = task.encode(rows, tokenizer)
    assert list(encoded["places"]) == [[1, 3], [1]] or list(encoded["places"]) == [[1, 4], [1]]
    batch = PadWords(tokenizer)([encoded[0], encoded[1]])
    assert batch["labels"][0, 1] == 1
    assert batch["labels"][1].tolist() == [-100, 4] + [-100] * (batch["labels"].shape[1] - 2)
    assert batch["attention_mask"][1, :3].tolist() == [1, 1, 1]
    assert (batch["labels"] != -100).sum() == 3


def outputs_of(task: TokenClassification, split: Split, tags: list[list[str]]) -> Any:  # noqa: ANN401
    """Return what `reduce` keeps of logits that give each word its tag in `tags`."""
    inputs: Any = split.inputs
    width = max(map(len, inputs["input_ids"]))
    logits = torch.zeros(len(tags), width, len(task.config.labels))
    for row, (places, names) in enumerate(zip(inputs["places"], tags, strict=True)):
        for place, name in zip(places, names, strict=True):
            if place != MISSED:
                logits[row, place, task.ids[name]] = 4.0
    masks = [torch.ones(len(ids)) for ids in inputs["input_ids"]]
    mask = torch.nn.utils.rnn.pad_sequence(masks, True)
    kept = task.reduce(logits, {"attention_mask": mask})
    return tuple(part.numpy() for part in kept)


TRUE = [["B-PER", "I-PER", "O"], ["O", "B-LOC", "B-LOC"]]


def split_of(task: TokenClassification, tokenizer: PreTrainedTokenizerFast) -> Split:
    rows = Dataset.from_dict({"tokens": [["a", "b", "c"], ["d", "e", "f"]], "tags": TRUE})
    return Split(rows, task.encode(rows, tokenizer))


def test_scores_are_of_whole_entities(make: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
    task = make(metrics=["precision", "recall", "f1", "accuracy", "macro_f1"])
    split = split_of(task, tokenizer)
    found = [["B-PER", "O", "O"], ["O", "B-LOC", "B-LOC"]]
    outputs = outputs_of(task, split, found)
    scores = task.score(outputs, split)
    assert scores["precision"] == scores["recall"] == scores["f1"] == pytest.approx(2 / 3)
    assert scores["accuracy"] == pytest.approx(5 / 6)
    assert task.score(outputs_of(task, split, TRUE), split)["f1"] == 1.0
    counted = task.by_class(outputs, split)["classes"]
    assert counted["LOC"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2}
    assert counted["PER"]["f1"] == 0.0
    answer, constant = task.constant(split.rows, split)
    assert answer == "O"
    assert task.score(constant, split)["accuracy"] == pytest.approx(2 / 6)
    first = task.decode(outputs, split)[0]
    assert first["tags"] == found[0]
    assert first["entities"] == [{"type": "PER", "start": 0, "end": 1, "text": "a"}]


def test_words_that_are_not_seen_count_as_missed(
    make: Maker, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    task = make(max_length=4)  # [CLS], [SEP] and two words
    split = split_of(task, tokenizer)
    assert "2 words are beyond task.max_length=4" in caplog.text or "words" in caplog.text
    inputs: Any = split.inputs
    missed = sum(place == MISSED for places in inputs["places"] for place in places)
    assert missed
    outputs = outputs_of(task, split, TRUE)
    scores = task.score(outputs, split)
    assert scores["accuracy"] == pytest.approx((6 - missed) / 6)
    assert scores["f1"] < 1.0
    prediction = task.decode(outputs, split)[1]
    assert (prediction["tags"][-1], prediction["scores"][-1]) == (None, None)


def test_a_missed_word_is_no_class_of_its_own(
    make: Maker, tokenizer: PreTrainedTokenizerFast
) -> None:
    plain = {"labels": ["X", "Y"], "metrics": ["accuracy", "macro_f1"], "headline": "accuracy"}
    task = make(max_length=4, **plain)
    rows = Dataset.from_dict({"tokens": [["a", "b", "c", "d", "e"]], "tags": [["X"] * 5]})
    split = Split(rows, task.encode(rows, tokenizer))
    inputs: Any = split.inputs
    seen = sum(place != MISSED for place in inputs["places"][0])
    scores = task.score(outputs_of(task, split, [["X"] * 5]), split)
    assert 0 < seen < 5
    assert scores == pytest.approx({"accuracy": seen / 5, "macro_f1": 2 * seen / (seen + 5)})
    taken = task.by_class(outputs_of(task, split, [["X"] * 5]), split)["confusion"]["X"]
    assert taken == {"X": seen, "no answer": 5 - seen}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.conll", "-DOCSTART- X O\n\na NN B-PER\nb NN i-per\n\nc NN O\n"),
        ("train.csv", "tokens,tags\na b,B-PER I-PER\nc,O\n"),
        ("train.csv", "tokens,tags\na b,\"['B-PER', 'I-PER']\"\n['c'],\"['O']\"\n"),
        (
            "train.jsonl",
            '{"tokens": ["a", "b"], "tags": [1, 2]}\n{"tokens": ["c"], "tags": ["O"]}\n',
        ),
    ],
)
def test_each_form_of_a_file_is_read(make: Maker, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    rows = make().load_splits(["train"]).splits["train"]
    assert list(rows["tokens"]) == [["a", "b"], ["c"]]
    assert list(rows["tags"]) == [["B-PER", "I-PER"], ["O"]]


def test_numbers_that_the_data_names_are_read(make: Maker) -> None:
    tags = ClassLabel(names=["B-LOC", "O", "I-LOC", "I-PER", "B-PER"])
    features = Features({"tokens": List(Value("string")), "tags": List(tags)})
    rows = Dataset.from_dict({"tokens": [["a", "b"]], "tags": [[4, 3]]}, features=features)
    found = checked_rows(from_dataset(rows, "made-up"), make().config, tagged=True)
    assert list(found["tags"]) == [["B-PER", "I-PER"]]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("train.conll", "a O\nb\n", "line 2: found 1 columns, expected 2"),
        ("train.conll", "a O\n\nb X\n", r"line 3: the tag of word 1, 'b', is 'X', expected"),
        ("train.conll", "\n\n", "is empty"),
        ("train.conll", "-DOCSTART- O\n", "is empty"),
        ("train.conll", "a\nb\n", "column tags is missing"),
        ("train.csv", "tokens,tags\na b,O\n", "line 2: tags is 1 of them, expected .* 2 words"),
        ("train.csv", "tokens,tags\na,['O']\na b,['O' 'O']\n", r"line 3: tags is .*; .*JSON"),
        ("train.csv", 'tokens,tags\n"",O\n', "line 2: tokens is '', expected a list of words"),
        ("train.jsonl", '{"tokens": ["a", ""], "tags": ["O", "O"]}\n', "line 1: tokens is"),
        ("train.jsonl", '{"tokens": ["a"], "tags": null}\n', "line 1: tags is None"),
        ("train.jsonl", '{"tokens": ["a"], "tags": [7]}\n', "word 1, 'a', is 7"),
        ("train.jsonl", '{"tokens": ["a"], "tags": [["O"]]}\n', r"word 1, 'a', is \['O'\]"),
    ],
)
def test_a_bad_row_is_named(make: Maker, tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(GoftError, match=told):
        make().load_splits(["train"])


def test_a_text_is_cut_at_its_blanks(make: Maker) -> None:
    assert make().read_text("a  b.").to_dict() == {"tokens": [["a", "b."]]}
    assert make().read_text("  ").to_dict() == {"tokens": [[]]}


def test_f1_of_other_tags_is_refused_with_words_that_work(make: Maker) -> None:
    with pytest.raises(GoftError, match=r"f1 is not a metric .* a tag for each word.*macro_f1"):
        make(labels=["NOUN", "VERB"])


def test_a_file_of_ones_own_is_trained_on_opened_and_predicted(tmp_path: Path) -> None:
    lines = ["Anna B-PER\nsings O\n", "the O\nRed B-LOC\nSea I-LOC\n"] * 10
    (tmp_path / "words.conll").write_text("\n".join(lines), encoding="utf-8")
    words = ["task=own/tokens", f"task.data_dir={tmp_path / 'words.conll'}", "trainer.max_steps=2"]
    words += ["model=tiny-deberta-v3", "adapter=qgoft", f"output_dir={tmp_path / 'run'}"]
    words += ["trainer.use_cpu=true", "task.class_weights=balanced"]
    run = RunFolder(pipeline.run(compose_train(words)))
    metrics = json.loads(run.metrics.read_text())
    assert [*metrics["metrics"]["validation"]] == ["f1", "precision", "recall", "accuracy"]
    assert {*json.loads(run.classes.read_text())["classes"]} & {"PER", "LOC"}
    opened = open_trained(str(run.path), base_model=None)
    rows = opened.task.read_text("Anna sings")
    assert rows["tokens"][0] == ["Anna", "sings"]
    ((_, found),) = opened.predict(rows, batch_size=2, decoding=Decoding())
    assert found[0] is not None
    assert len(found[0]["tags"]) == 2
    assert np.isfinite(found[0]["scores"]).all()
