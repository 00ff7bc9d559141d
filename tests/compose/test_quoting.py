"""What a person types comes back from Hydra as it was typed."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from goft_cli.compose.flags import as_overrides

PARSER = OverridesParser.create()
ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PIECES = st.sampled_from(["${", "}", "\\", "'", '"', ",", "=", "[", " ", "y", "ü", "${oc.env:PWD}"])
TEXTS = st.text(ANY, max_size=12) | st.lists(PIECES, max_size=8).map("".join)


def read(verb: str, *words: str) -> object:
    """Return the value of one word, as the command sees it."""
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
