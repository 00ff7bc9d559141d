"""Cached encoded rows equal new ones, and any change of the inputs encodes the rows again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from goft_cli.config import TaskConfig
from goft_cli.system.locations import asset_dir
from goft_cli.tasks import instruction, tokens
from goft_cli.tasks.families import FAMILIES, build_task
from goft_cli.tasks.mmlu import MMLU
from goft_cli.verbs.reproduce.rehearsal import with_stand_in
from tests.support.kept_tokens import SENTENCES, content, encoded, uncached
from tests.support.kept_tokens import calls as calls
from tests.support.kept_tokens import folder as folder
from tests.support.made_up_tasks import TaskMaker, read_config
from tests.support.multiple_choice import config, write_folder
from tests.support.recipe_cells import TRAINED

pytestmark = pytest.mark.usefixtures("folder")
TEXTS = [
    task
    for task in TRAINED
    if FAMILIES[read_config(task).family].processor_class == "AutoTokenizer"
]


@pytest.mark.parametrize("name", TEXTS)
def test_every_family_reads_back_what_it_would_make(
    name: str, tmp_path: Path, calls: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = build_task(with_stand_in(read_config(name), tmp_path / "data"))
    model = "tiny-llama" if task.auto_class == "AutoModelForCausalLM" else "tiny-deberta-v3"
    tokenizer = AutoTokenizer.from_pretrained(asset_dir(model), model_max_length=512)
    task.fit_processor(tokenizer)
    split = task.config.train_split
    rows, before = task.load_splits([split]).splits[split], tokenizer.backend_tokenizer.to_str()
    expected = uncached(monkeypatch, lambda: task.encode(rows, tokenizer))
    made = task.encode(rows, tokenizer)
    calls.clear()
    again: Any = task.encode(rows, tokenizer)
    assert calls == []
    assert content(expected) == content(made) == content(again)
    assert again[0] == expected[0]
    assert tokenizer.backend_tokenizer.to_str() == before
    assert Path(again.cache_files[0]["filename"]).is_file(), "a spawned worker opens it again"


def test_a_benchmark_reads_its_prompts_back(
    tmp_path: Path, calls: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = MMLU(config("mmlu/legacy", data_dir=str(write_folder(tmp_path / "data"))))
    data, tokenizer = benchmark.load(), AutoTokenizer.from_pretrained(asset_dir("tiny-llama"))

    def prompts(shots: int) -> list[tuple[str, list[int], object, bool]]:
        found = benchmark._prompts(data, shots, tokenizer, 200)
        return [
            (subject, one.ids.tolist(), one.exemplars, one.shortened)
            for subject, given in found.items()
            for one in given
        ]

    for shots in (0, 2):
        expected = uncached(monkeypatch, lambda shots=shots: prompts(shots))
        assert prompts(shots) == expected
        calls.clear()
        assert prompts(shots) == expected
        assert calls == []
        assert any(shortened for *_, shortened in expected) == bool(shots)


CHANGES: dict[str, Callable[[PreTrainedTokenizerFast], object]] = {
    "a word": lambda one: one.add_tokens(["jih"]),
    "a special token": lambda one: one.add_special_tokens({"mask_token": "[MASK]"}),
    "the side": lambda one: setattr(one, "truncation_side", "left"),
    "the columns": lambda one: setattr(one, "model_input_names", ["input_ids"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tokenizer_is_asked_again(
    change: str, make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast, calls: list[object]
) -> None:
    encoded(make_task(), tokenizer)
    CHANGES[change](tokenizer)
    calls.clear()
    encoded(make_task(), tokenizer)
    assert calls


def test_changed_options_versions_or_sources_ask_again(
    make_task: TaskMaker,
    tokenizer: PreTrainedTokenizerFast,
    calls: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asks(**changes: object) -> bool:
        calls.clear()
        encoded(make_task(**changes), tokenizer)
        return bool(calls)

    assert asks()
    assert not asks()
    assert asks(max_length=7)
    assert asks(label_column="other")
    for name in tokens.LIBRARIES:
        other = f"0.{name}"
        monkeypatch.setattr(tokens, "version", lambda one, n=name, v=other: v if one == n else "1")
        assert asks()
    monkeypatch.setattr(tokens, "_sources", lambda: "other")
    assert asks()
    assert not asks()


def test_another_template_or_stride_asks_again(
    tmp_path: Path, calls: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(asset_dir("tiny-llama"))

    def asks(cfg: TaskConfig) -> bool:
        calls.clear()
        task = build_task(cfg)
        task.encode(task.load_splits([cfg.train_split]).splits[cfg.train_split], tokenizer)
        return bool(calls)

    for name in ("instruct/alpaca", "squad/v1"):
        cfg = with_stand_in(read_config(name), tmp_path / name)
        assert asks(cfg)
        assert not asks(cfg)
        assert asks(replace(cfg, max_length=200))
    assert asks(replace(cfg, doc_stride=3))  # pyright: ignore[reportCallIssue] - of the last one
    monkeypatch.setattr(instruction, "QUESTION", "Q: {query}\n")
    assert asks(with_stand_in(read_config("instruct/alpaca"), tmp_path / "again"))


WORDS = st.lists(st.text("ab", max_size=2), min_size=1, max_size=4)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(one=WORDS, other=WORDS, order=st.permutations(range(4)))
def test_equal_digests_are_of_equal_rows(
    one: list[str], other: list[str], order: list[int], tokenizer: PreTrainedTokenizerFast
) -> None:
    def digest(rows: Dataset) -> str:
        return tokens._digest(rows, tokenizer, {})

    first, second = (Dataset.from_dict({"x": words}) for words in (one, other))
    assert (digest(first) == digest(second)) == (one == other)
    chosen = [index for index in order if index < len(one)]
    moved = first.select(chosen)
    if moved["x"][:] != one:
        assert digest(moved) != digest(first)


def test_lengths_are_those_of_the_rows(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = encoded(make_task(), tokenizer, SENTENCES * 500)
    assert rows.data.table["input_ids"].num_chunks > 1
    for some in (rows, rows.select([7, 3, 3]), rows.select(range(998, 1003))):
        assert tokens.lengths(some).tolist() == [len(row["input_ids"]) for row in some.to_list()]
