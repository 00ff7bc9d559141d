"""Keys of a verb can be typed as flags: `--as-lora 16` is read as `as_lora=16`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.compose.flags import (
    as_overrides,
    overrides_first,
    own_flags,
    read_flags,
    tolerate_lazy_help,
)
from goft_cli.system.errors import GoftError


@pytest.mark.parametrize(
    ("verb", "typed", "read"),
    [
        ("merge", "--as-lora 16 adapter=x", "as_lora=16 adapter=x"),
        ("merge", "--as-lora=16", "as_lora=16"),
        ("eval", "--merged --batch-size 8", "merged=true batch_size=8"),
        ("eval", "--merged=false", "merged=false"),
        ("train", "--cfg job -m --config-dir mine", "--cfg job -m --config-dir mine"),
        ("merge", "as_lora=16 --as-lroa 3", "as_lora=16 --as-lroa 3"),
        ("eval", "adapter=run/seed1-a=2,b=3", 'adapter="run/seed1-a=2,b=3"'),
        ("eval", "--adapter run/seed1-a=2", 'adapter="run/seed1-a=2"'),
        ("verify", "a/b", "runs=['a/b']"),
        ("verify", "a/x=1 --max-samples 3 b-c=2", "runs=['a/x=1','b-c=2'] max_samples=3"),
        ("rewind", "a/x=1 at=[0,.5]", "adapter='a/x=1' at=[0,.5]"),
        ("verify", "--cfg job a adapter=b", "runs=['a'] --cfg job adapter=b"),
        (
            "verify",
            "max_samples=3 +x=1 ~y hydra/launcher=basic",
            "max_samples=3 +x=1 ~y hydra/launcher=basic",
        ),
        ("eval", "a/b strength=.5", "adapter='a/b' strength=.5"),
        ("report", "a b", "runs=['a','b']"),
        ("train", "a/b", "a/b"),
        ("eval", "adapter=x model.path=y task.data_dir=z", "adapter=x base_model=y data_dir=z"),
        ("eval", "task=a task.data_dir=z model.path=y", "task=a task.data_dir=z base_model=y"),
        ("eval", "model=a task=b model.path=y", "model=a task=b model.path=y"),
        ("merge", "+model.path=a=b", 'base_model="a=b"'),
        ("predict", "model.path=y task.data_dir=z", "base_model=y task.data_dir=z"),
        ("train", "model.path=y task.data_dir=z", "model.path=y task.data_dir=z"),
        ("eval", "adapter='a=2' task={a=2}", "adapter='a=2' task={a=2}"),
    ],
)
def test_a_flag_named_after_a_key_is_that_key(verb: str, typed: str, read: str) -> None:
    assert as_overrides(verb, typed.split()) == read.split()


def test_runs_by_name_arrive_as_they_were_typed() -> None:
    runs = {"a": "out/seed1-x=[1],y=2", "__base__": "seed2", "b-1": "./seed3-model.path=m,y=2"}
    typed = ", ".join(f"{name}: {path}" for name, path in runs.items())
    (word,) = as_overrides("predict", [f"adapters={{{typed}}}"])
    (override,) = OverridesParser.create().parse_overrides([word])
    assert override.value() == runs


@given(st.lists(st.text("ab=,' /[]{}.-:()", min_size=1), min_size=1, max_size=3))
def test_paths_arrive_as_they_were_typed(names: list[str]) -> None:
    paths = [f"./{name}" for name in names]
    (word,) = as_overrides("verify", paths)
    (override,) = OverridesParser.create().parse_overrides([word])
    assert (override.key_or_group, override.value()) == ("runs", paths)


def test_a_path_and_its_key_are_not_both_taken() -> None:
    with pytest.raises(GoftError, match=r"x and runs=\[y\]"):
        as_overrides("verify", ["x", "runs=[y]"])


@pytest.mark.parametrize("typed", ["--as-lora", "--as-lora --debug"])
def test_a_key_that_is_no_switch_needs_a_value(typed: str) -> None:
    with pytest.raises(GoftError, match="--as-lora VALUE"):
        as_overrides("merge", typed.split())


WORDS = [["seed=1"], ["adapter=goft"], ["job"], ["--cfg", "job"], ["-p", "adapter"], ["--resolve"]]


@given(st.permutations(WORDS))
def test_flags_may_stand_anywhere(groups: Sequence[Sequence[str]]) -> None:
    words = [word for group in groups for word in group]
    as_hydra_reads = get_args_parser().parse_args(overrides_first(words))
    assert as_hydra_reads == read_flags(words)
    overrides = [first for first, *_ in groups if not first.startswith("-")]
    assert as_hydra_reads.overrides == overrides


def test_own_flags_have_dashes() -> None:
    assert "--as-lora" in own_flags("merge")


def test_every_help_text_of_hydras_can_be_searched_as_python_3_14_does() -> None:
    class Formatter(argparse.HelpFormatter):
        pass

    tolerate_lazy_help(Formatter)
    formatter = Formatter("goft")
    texts = [formatter._get_help_string(action) for action in get_args_parser()._actions]
    assert all("%" not in text for text in texts if text is not None)
    assert "Overrides the config_name specified in hydra.main()" in texts
