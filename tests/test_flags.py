"""Keys as flags: the same words, two dashes before them."""

from __future__ import annotations

import pytest

from goft_cli.errors import GoftError
from goft_cli.flags import as_overrides, own_flags


@pytest.mark.parametrize(
    ("verb", "typed", "read"),
    [
        ("merge", "--as-lora 16 adapter=x", "as_lora=16 adapter=x"),
        ("merge", "--as-lora=16", "as_lora=16"),
        ("eval", "--merged --batch-size 8", "merged=true batch_size=8"),
        ("eval", "--merged=false", "merged=false"),
        ("train", "--cfg job -m --config-dir mine", "--cfg job -m --config-dir mine"),
        ("merge", "as_lora=16 --as-lroa 3", "as_lora=16 --as-lroa 3"),
    ],
)
def test_a_flag_named_after_a_key_is_that_key(verb: str, typed: str, read: str) -> None:
    assert as_overrides(verb, typed.split()) == read.split()


@pytest.mark.parametrize("typed", ["--as-lora", "--as-lora --debug"])
def test_a_key_that_is_no_switch_needs_a_value(typed: str) -> None:
    with pytest.raises(GoftError, match="--as-lora has no value; write --as-lora VALUE"):
        as_overrides("merge", typed.split())


def test_own_flags_have_dashes() -> None:
    assert "--as-lora" in own_flags("merge")
