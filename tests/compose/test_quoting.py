"""Hydra parses values with any characters to exactly the text that was typed."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from goft_cli.compose.flags import as_overrides
from goft_cli.compose.words import spelled
from goft_cli.system.errors import GoftError

PARSER = OverridesParser.create()
ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PIECES = st.sampled_from(["${", "}", "\\", "'", '"', ",", "=", "[", " ", "y", "ü", "${oc.env:PWD}"])
TEXTS = st.text(ANY, max_size=12) | st.lists(PIECES, max_size=8).map("".join)


def read(verb: str, *words: str) -> object:
    """Return `{"value": X}`, where X is the value of one word after parsing and interpolation."""
    (word,) = as_overrides(verb, words)
    override = PARSER.parse_override(word)
    return OmegaConf.to_container(OmegaConf.create({"value": override.value()}), resolve=True)


def is_quoted(text: str) -> bool:
    return text[:1] in {"'", '"'} and text[-1:] == text[:1]


@settings(deadline=None, max_examples=40)
@given(text=TEXTS.filter(lambda text: text not in {"", "null"} and not is_quoted(text)))
def test_a_text_to_predict_on_is_read_as_it_stands(text: str) -> None:
    assert read("predict", f"text={text}") == {"value": text}


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_text_in_quotes_loses_those(quote: str) -> None:
    assert read("predict", f"text={quote}a, ${{y}} = b{quote}") == {"value": "a, ${y} = b"}


def test_the_flag_takes_any_text_too() -> None:
    assert read("predict", "--text", "où est ${y}, l'été?") == {"value": "où est ${y}, l'été?"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("run_name=été", "été"),
        ("run_name=à demain", "à demain"),
        ("model.path=./größe/c:d", "./größe/c:d"),
        ("output_dir=größe\\", "größe\\"),
        ("task.labels=[gut, größe,no]", ["gut", "größe", "no"]),
        ("task.column_aliases={sentence: größe, label: b}", {"sentence": "größe", "label": "b"}),
        ("adapter=outputs/größe/seed1-a=2", "outputs/größe/seed1-a=2"),
        ("run_name='größe, b'", "größe, b"),
    ],
)
def test_letters_beyond_ascii_need_no_quotes(word: str, value: object) -> None:
    assert read("train", word) == {"value": value}


def test_a_sweep_over_such_words_is_one() -> None:
    (word,) = as_overrides("train", ["run_name=été,hiver"])
    override = PARSER.parse_override(word)
    assert override.is_sweep_override()
    assert list(override.sweep_string_iterator()) == ["'été'", "hiver"]


VALUES = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.from_regex(r"\A[a-z_]{1,8}\Z").filter(
                lambda key: key not in {"null", "true", "false", "nan", "inf"}
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(value=VALUES)
def test_a_value_of_python_is_read_as_it_stands(value: object) -> None:
    assert read("train", f"run_name={spelled(value)}") == {"value": value}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("goft", "goft"),
        ("own/classification", "own/classification"),
        (Path("data/my file.csv"), "data/my file.csv"),
        (["a", "no", 3], "[a,no,3]"),
        (np.float32(0.5), "0.5"),
        (np.int64(3), "3"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_a_value_is_spelled_as_a_person_types_it(value: object, plain: str) -> None:
    """Check the spelling: it is in the folder's name, which must be the same as the command's."""
    assert spelled(value) == plain


@pytest.mark.parametrize(
    "text", [r"C:\Users\me\my data.csv", r"\\host\share\x", "C:\\", "D:/a b,c"]
)
def test_a_path_of_another_system_is_a_text_like_any(text: str) -> None:
    for value in (text, PureWindowsPath(text)):
        assert read("train", f"task.data_dir={spelled(value)}") == {"value": str(value)}


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, [object()]])
def test_what_no_word_can_say_is_refused(value: object) -> None:
    with pytest.raises(GoftError, match=r"found a \w+; expected a text"):
        spelled(value)
