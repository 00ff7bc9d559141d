"""Labels such as `no` and `1.0` stay text, in a task's file and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from goft_cli.compose.composition import (
    keep_words,
    lists_of_texts,
    loader,
    plain_loader,
    worded,
)
from goft_cli.config import TextClassificationConfig
from goft_cli.run.configuration import as_plain, read_config
from tests.conftest import ROOT, Goft
from tests.support import small_runs

WRITTEN = [
    ["no", "yes"],
    ["off", "on"],
    ["y", "n"],
    ["True", "false"],
    ["1.0", "2"],
    ["007", "1_000"],
    ["1e3", "0x10"],
    ["null", "~"],
    ["12:30", "2020-01-01"],
    [".5", "1.50"],
    ["nan", ".inf"],
]
TASK = """\
defaults:
  - /schema/task/text_classification@_here_
name: mine
dataset: {{id: nobody/nothing}}
text_columns: [sentence]
labels: [{labels}]
metrics: [accuracy]
headline: accuracy
recipe:
  source: mine
  model: minilm-l6
  shared: {{num_train_epochs: 1, per_device_train_batch_size: 8, warmup_steps: 0}}
  by_adapter: {{goft: {{learning_rate: 1.0e-2}}}}
"""


@pytest.mark.parametrize("labels", WRITTEN, ids=" ".join)
def test_a_task_file_keeps_its_words(labels: list[str], goft: Goft, tmp_path: Path) -> None:
    (tmp_path / "own" / "task").mkdir(parents=True)
    text = TASK.format(labels=", ".join(labels))
    (tmp_path / "own" / "task" / "mine.yaml").write_text(text, encoding="utf-8")
    words = ["task=mine", "model=minilm-l6", "--config-dir", "own", "--cfg", "job"]
    answer = goft("train", *words, "-p", "task.labels")
    assert answer.code == 0, answer.err
    assert yaml.safe_load(answer.out) == labels


@pytest.mark.parametrize("labels", WRITTEN[::3], ids=" ".join)
def test_the_command_line_keeps_its_words(labels: list[str], goft: Goft) -> None:
    words = [f"task.labels=[{', '.join(labels)}]", "task=glue/cola", "model=minilm-l6"]
    answer = goft("train", *words, "--cfg", "job", "-p", "task.labels")
    assert answer.code == 0, answer.err
    assert yaml.safe_load(answer.out) == labels


def test_labels_that_fall_together_are_refused_before_the_data_is_read(
    goft: Goft, tmp_path: Path
) -> None:
    words = ["task=glue/cola", "model=minilm-l6", "task.data_dir=nowhere"]
    answer = goft("train", *words, "task.labels=[true,1.0]")
    assert answer.code == 2
    assert all(name in answer.err for name in ("task.labels", "'true'", "'1.0'"))
    assert not any(path.is_file() for path in tmp_path.rglob("config.yaml"))


@given(st.sampled_from([*WRITTEN, ["a", "b"]]), st.sampled_from(sorted(lists_of_texts())))
def test_only_lists_of_texts_are_quoted(items: list[str], key: str) -> None:
    listed = f"[{','.join(items)}]"
    assert worded(f"trainer.seed={listed}") == f"trainer.seed={listed}"
    quoted = worded(f"+task.{key}={listed}")
    assert quoted.replace("'", "") == f"+task.{key}={listed}"
    assert worded(quoted) == quoted


def test_other_keys_have_the_types_of_yaml(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text("fp16: no\nlabels: [no, [yes]]\nmore: {labels: [on], x: [on, 1.0]}\n")
    keep_words()
    assert OmegaConf.to_container(OmegaConf.load(path)) == {
        "fp16": False,
        "labels": ["no", [True]],
        "more": {"labels": ["on"], "x": [True, 1.0]},
    }


SCALARS = st.one_of(
    st.sampled_from([word for words in WRITTEN for word in words]),
    st.sampled_from(["1e-3", "1.0e-3", "+1.e5", "0o17", "0b1", "1:30", "190:20:30", "2020-01-01"]),
    st.sampled_from(["=", "<<", "'1'", '"no"', "", "${a}", "!!float 1", "2001-12-14t21:59:43.10Z"]),
    st.floats().map(repr),
    st.integers().map(str),
)


def read_by(kind: Any, text: str) -> str:  # noqa: ANN401 - a class of PyYAML, which has no types
    try:
        return repr(yaml.load(text, Loader=kind))
    except (yaml.MarkedYAMLError, ValueError) as error:  # such as `=` or month 13
        return f"{type(error)} {getattr(error, 'problem', error)}"


@given(st.lists(SCALARS, min_size=1))
def test_the_parser_in_c_gives_what_omegaconf_reads(scalars: list[str]) -> None:
    text = "".join(f"key{at}: {scalar}\n" for at, scalar in enumerate(scalars))
    assert read_by(loader(), text) == read_by(plain_loader(), text)


@pytest.mark.parametrize("path", [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("recipes/**/*.yaml")])
def test_our_own_files_are_read_as_by_omegaconf(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert read_by(loader(), text) == read_by(plain_loader(), text)


def test_a_key_that_is_there_twice_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    keep_words()
    with pytest.raises(yaml.MarkedYAMLError, match=r"duplicate key a[^$]*twice.yaml\", line 3"):
        OmegaConf.load(path)


@pytest.mark.parametrize("labels", WRITTEN, ids=" ".join)
def test_a_run_folder_keeps_its_words(labels: list[str], tmp_path: Path) -> None:
    listed = ",".join(f"'{label}'" for label in labels)
    cfg = small_runs.composed(["task=glue/cola", "model=minilm-l6", f"task.labels=[{listed}]"])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_plain(cfg), sort_keys=False))
    found = read_config(path).task
    assert isinstance(found, TextClassificationConfig)
    assert found.labels == labels
