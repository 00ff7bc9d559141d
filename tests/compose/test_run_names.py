"""A run's folder is named after the words of its command; the name is short and unique."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.compose.composition import (
    MAX_PLACE_NAME,
    MAX_RUN_NAME,
    folder_name,
    place_name,
    run_name,
    with_places,
)
from goft_cli.compose.suggest import CommandLine

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=150)
seeds = st.integers(0, 2**32 - 1)


@given(seeds, words)
def test_a_run_name_is_one_short_folder(seed: int, overrides: str) -> None:
    name = run_name(seed, overrides)
    assert name == run_name(seed, overrides)
    assert name.startswith(f"seed{seed}")
    assert len(name.encode()) <= MAX_RUN_NAME
    assert not set(name) & set("/\\ \n\t:*?\"<>|'")


@given(seeds, st.text("abc=.", min_size=MAX_RUN_NAME, max_size=200), st.integers(0, 100))
def test_long_names_differ_where_the_words_do(seed: int, overrides: str, at: int) -> None:
    other = overrides[:at] + "x" + overrides[at + 1 :]
    assert run_name(seed, overrides) != run_name(seed, other)


def test_a_short_name_can_be_read() -> None:
    assert run_name(42, "") == "seed42"
    assert run_name(1, "trainer.learning_rate=0.1") == "seed1-trainer.learning_rate=0.1"
    assert run_name(1, "model.path=/ä b/c") == "seed1-model.path=_b_c"


places = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(places, places)
def test_each_place_has_a_short_name_of_its_own(one: str, other: str) -> None:
    name = place_name(one)
    assert len(name) <= MAX_PLACE_NAME + 7
    assert folder_name(name) == name, "a folder can be called so"
    assert (name == place_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "r=1"),
        (["seed=1", "r=1", "model.path"], "r=1"),
        (["task.data_dir=cola"], "task.data_dir=cola,r=1"),
        (["+task.data_dir=a", "task.data_dir=b"], "task.data_dir=b,r=1"),
        (["task.data_dir=b", "model.path=a"], "model.path=a,task.data_dir=b,r=1"),
        (["benchmark.data_dir=a=b"], "benchmark.data_dir=a=b,r=1"),
        (["init_adapter=first"], "init_adapter=first,r=1"),
        (["model.path="], "model.path=,r=1"),
    ],
)
def test_places_are_named_before_the_other_words(words: list[str], expected: str) -> None:
    assert with_places("r=1", words) == expected


def test_a_folder_is_named_by_its_last_part() -> None:
    assert place_name("/data/cola").startswith("cola-")
    assert place_name("/data/cola/").startswith("cola-")
    assert place_name("'my data'").startswith("my_data-")
    assert place_name("org/name").startswith("name-")
    assert place_name("../cola") != place_name("/data/cola")


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_each_data_set_and_base_model_has_a_folder_of_its_own(verb: str) -> None:
    def folder(*words: str) -> str:
        return CommandLine(verb, ()).compose(words).output_dir

    alone = folder("task=glue/cola")
    found = [
        folder("task=glue/cola", f"{key}={value}")
        for key in ("task.data_dir", "model.path", "init_adapter")
        for value in ("/a/data", "/b/data")
    ]
    assert len({alone, *found}) == 7
    if verb != "compare":
        assert alone == "outputs/glue/cola/tiny-deberta-v3/goft/seed42", "as before"
