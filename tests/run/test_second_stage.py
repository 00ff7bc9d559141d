"""`init_adapter` starts a run from the adapter of a finished run, and records which one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from goft_cli.config import VerifyConfig
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.preflight import check_inputs
from goft_cli.run.provenance import check_sources
from goft_cli.system.digests import file_sha256
from goft_cli.system.errors import GoftError
from goft_cli.system.tables import Verdict
from goft_cli.verbs.verify.recheck import recheck
from tests.support import small_runs

STILL = ["trainer.learning_rate=1e-30", "trainer.max_steps=1"]
"""Words for a training whose updates are too small to change float32 weights."""
HEAD = ("classifier", "pooler")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, two datasets and a finished first stage."""
    root = tmp_path_factory.mktemp("stages")
    small_runs.write_model(root / "model")
    small_runs.write_data(root / "data")
    small_runs.write_data(root / "more", rows=24)
    pipeline.run(small_runs.composed(words(root, "first", "data", "trainer.learning_rate=0.05")))
    return root


def words(root: Path, output: str, data: str, *more: str) -> list[str]:
    shared = ["adapter=lora", "adapter.r=2", "adapter.lora_alpha=4"]
    return small_runs.overrides(root / "model", root / data, root / output, *shared, *more)


def second(root: Path, output: str, *more: str) -> list[str]:
    return words(root, output, "more", f"init_adapter={root / 'first'}", *STILL, *more)


def tensors(run: Path) -> Mapping[str, Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def test_it_goes_on_where_the_first_one_ended(root: Path) -> None:
    run = RunFolder(pipeline.run(small_runs.composed(second(root, "same"))))
    before, after = tensors(root / "first"), tensors(run.path)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    source = root / "first" / "adapter"
    recorded = json.loads(run.manifest.read_text())["init_adapter"]
    assert recorded["source"] == str(source)
    assert recorded["sha256"] == {path: file_sha256(source / path) for path in recorded["sha256"]}
    assert "adapter_model.safetensors" in recorded["sha256"]
    assert f"continues from {root / 'first'}" in " ".join(run.log.read_text().split())
    assert "new head" not in run.log.read_text()


def test_other_labels_have_a_new_head_and_it_is_said(root: Path) -> None:
    labels = ["task.labels=[wrong,right]", "task.label_column=label"]
    run = RunFolder(pipeline.run(small_runs.composed(second(root, "labels", *labels))))
    before, after = tensors(root / "first"), tensors(run.path)
    for name in before:
        in_head = any(part in name for part in HEAD)
        assert torch.equal(after[name], before[name]) is not in_head, name
    log = " ".join(run.log.read_text().split())
    assert "new head, labels differ: unacceptable, acceptable there, wrong, right here" in log


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("adapter=goft", "trained with adapter=lora, found goft here; pass adapter=lora"),
        ("adapter.r=4", r"adapter\.r=2, found 4 here; pass adapter\.r=2"),
        ("adapter.target_modules=[query]", r"target_modules=\[.*\], found \[query\] here"),
        ("adapter.use_dora=true", r"adapter\.use_dora=false, found true here"),
        ("init_adapter=nowhere", r"init_adapter=nowhere: there is no such folder"),
        ("run_name=x", "is the run itself; pass another run_name"),
    ],
)
def test_another_adapter_is_refused_at_once(word: str, sentence: str, root: Path) -> None:
    chosen = [one for one in second(root, "x") if word.partition("=")[0] != one.partition("=")[0]]
    if word == "adapter=goft":
        chosen = [one for one in chosen if not one.startswith("adapter.")]
    if word == "run_name=x":
        chosen = [one for one in chosen if "output_dir" not in one]
        word = f"output_dir={root / 'first'}"
    with pytest.raises(GoftError, match=sentence):
        check_inputs(small_runs.composed([*chosen, word]))


def test_what_only_changes_the_training_may_differ(root: Path) -> None:
    check_inputs(small_runs.composed(second(root, "x", "adapter.lora_dropout=0.1")))


def test_another_base_model_is_refused_with_both_named(root: Path) -> None:
    other = small_runs.write_model(root / "other", seed=1)
    chosen = [one for one in second(root, "base") if not one.startswith("model.path")]
    with pytest.raises(GoftError, match=f"weights of {root}/model .*found those of {other}"):
        pipeline.run(small_runs.composed([*chosen, f"model.path={other}"]))
    assert not (root / "base").exists()


def test_a_source_that_changed_is_refused_later(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "all")
    moved = tmp_path / "all"
    cfg = small_runs.composed(second(moved, "run"))
    run = RunFolder(pipeline.run(cfg))
    assert check_sources(cfg) == []
    weights = moved / "first" / "adapter" / "adapter_model.safetensors"
    changed = {name: one + 1 for name, one in load_file(weights).items()}
    save_file(changed, weights)
    with pytest.raises(GoftError, match=rf"{weights} has changed"):
        check_sources(cfg)
    findings = {one.subject: one for one in recheck(run, VerifyConfig(adapter=str(run.path)))}
    assert findings["adapter it started from"].verdict is Verdict.fail
    with pytest.raises(GoftError, match=f"{weights} has changed .*copy the run folder again"):
        check_inputs(cfg)
    shutil.rmtree(moved / "first")
    assert [Path(one.name).name for one in check_sources(cfg)] == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
