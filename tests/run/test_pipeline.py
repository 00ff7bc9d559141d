"""A run on a small local model trains, verifies, finishes, resumes or is refused."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from goft_cli.run import outcome, pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Arrays
from goft_cli.tasks.classification import TextClassification
from goft_cli.training import evaluation, resuming
from goft_cli.training.checkpoints import ASIDE, STATE, find_damage, seal
from tests.support import small_runs


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("inputs")
    return small_runs.write_model(root / "model"), small_runs.write_data(root / "data")


@pytest.fixture(scope="module")
def finished(folders: tuple[Path, Path]) -> Path:
    """Return the folder of a finished GOFT run; tests change only copies of it."""
    return start(folders, folders[0].parent / "run").path


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> RunFolder:
    """Return a copy of the finished run at `tmp_path / "run"`, which the test may change."""
    run = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    text = run.config.read_text(encoding="utf-8")
    run.config.write_text(text.replace(str(finished), str(run.path)), encoding="utf-8")
    return run


def start(folders: tuple[Path, Path], output: Path, *more: str) -> RunFolder:
    return RunFolder(
        pipeline.run(small_runs.composed(small_runs.overrides(*folders, output, *more)))
    )


def test_only_adapter_and_head_train(finished: Path) -> None:
    saved = load_file(RunFolder(finished).adapter / "adapter_model.safetensors")
    kinds = {"goft_rotation" if "goft_rotation" in key else key.split(".")[-3] for key in saved}
    assert kinds <= {"goft_rotation", "pooler", "classifier", "model"}
    assert sum("goft_rotation" in key for key in saved) == 12
    assert all(value.abs().sum() > 0 for key, value in saved.items() if "goft_rotation" in key)


def test_the_same_run_again_is_finished(
    folders: tuple[Path, Path], copy: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    start(folders, run.path)
    assert "already finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}


def test_another_configuration_is_refused_unless_told(
    folders: tuple[Path, Path], tmp_path: Path, copy: RunFolder
) -> None:
    run = copy
    with pytest.raises(GoftError, match=r"seed.* 42 .* 7 .*overwrite=true"):
        start(folders, tmp_path / "run", "seed=7")
    assert json.loads(run.metrics.read_text())["seed"] == 42
    start(folders, tmp_path / "run", "seed=7", "overwrite=true")
    assert json.loads(run.metrics.read_text())["seed"] == 7


def killed_while_writing(run: RunFolder, step: int) -> None:
    """Leave the files that remain if SIGKILL comes before a checkpoint's last file is written."""
    aside = run.checkpoints / ASIDE
    aside.mkdir()
    (run.checkpoints / f"checkpoint-{step}").rename(aside / f"checkpoint-{step}")
    (aside / f"checkpoint-{step}" / STATE).unlink()


def state_of(run: RunFolder, step: int) -> dict[str, Any]:
    return json.loads((run.checkpoints / f"checkpoint-{step}" / STATE).read_text())


def test_an_interrupted_run_resumes_to_the_same_weights(
    folders: tuple[Path, Path], finished: Path, copy: RunFolder
) -> None:
    whole, run = RunFolder(finished), copy
    before = json.loads(run.metrics.read_text())
    run.metrics.unlink()
    shutil.rmtree(run.adapter)
    killed_while_writing(run, 12)
    start(folders, run.path)
    assert "resuming from checkpoint-6" in run.log.read_text()
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [
        "checkpoint-12",
        "checkpoint-6",
    ]
    after = json.loads(run.metrics.read_text())
    assert after["train_loss"] == before["train_loss"]
    first = state_of(run, 6)["stateful_callbacks"]["Totals"]["attributes"]["seconds"]
    assert after["train_seconds"] > first > 0
    newest = Path("checkpoint-12") / "adapter_model.safetensors"
    expected, resumed = load_file(whole.checkpoints / newest), load_file(run.checkpoints / newest)
    for name, tensor in expected.items():
        assert torch.equal(resumed[name], tensor), name


def test_a_disk_that_is_full_at_a_checkpoint_loses_nothing_that_was_there(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(checkpoint: Path) -> None:
        if checkpoint.name == "checkpoint-12":
            raise OSError(errno.ENOSPC, "No space left on device", str(checkpoint))
        seal(checkpoint)

    monkeypatch.setattr(resuming, "seal", full)
    with pytest.raises(OSError, match="No space left"):
        start(folders, tmp_path / "run")
    kept = list((tmp_path / "run" / "checkpoints").iterdir())
    assert [path.name for path in kept] == ["checkpoint-6"], "and the room is free again"
    assert find_damage(kept[0]) is None


def test_a_damaged_checkpoint_is_named_and_passed_over(
    folders: tuple[Path, Path], copy: RunFolder
) -> None:
    run = copy
    expected = json.loads(run.metrics.read_text())
    run.metrics.unlink()
    newest = run.checkpoints / "checkpoint-12" / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    start(folders, run.path)
    assert "checkpoint-12 is damaged (optimizer.pt is truncated)" in run.log.read_text()
    assert json.loads(run.metrics.read_text())["metrics"] == expected["metrics"]


def test_the_best_epoch_is_kept(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []

    def falling(self: TextClassification, outputs: object, references: object) -> dict[str, float]:
        calls.append(1.0 - len(calls) / 10)
        return {"matthews_correlation": calls[-1], "accuracy": 0.5}

    monkeypatch.setattr(TextClassification, "score", falling)
    run = start(folders, tmp_path / "run", "trainer.num_train_epochs=3")
    assert json.loads(run.metrics.read_text())["best_checkpoint_step"] == 6
    first = load_file(run.checkpoints / "checkpoint-6" / "adapter_model.safetensors")
    kept = load_file(run.adapter / "adapter_model.safetensors")
    assert all(torch.equal(first[name], kept[name]) for name in kept)
    best = state_of(run, 18)["best_model_checkpoint"]
    assert best == str(run.checkpoints / "checkpoint-6"), "not where it was written"


@pytest.mark.parametrize("which", ["reloaded", "merged"])
def test_a_model_that_is_not_the_trained_one_fails_the_run(
    which: str, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = evaluation.run_model, []

    def tampered(*arguments: object) -> dict[str, Arrays]:
        calls.append(1)
        outputs = real(*arguments)  # pyright: ignore[reportArgumentType] - passed through
        if len(calls) == {"reloaded": 1, "merged": 2}[which]:
            return {key: np.asarray(values) + 0.1 for key, values in outputs.items()}
        return outputs

    monkeypatch.setattr(outcome, "run_model", tampered)
    with pytest.raises(GoftError, match=f"{which} model"):
        start(folders, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_divergence_keeps_the_last_checkpoint(folders: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(folders[0], broken)
    weights = load_file(broken / "model.safetensors")
    weights["bert.pooler.dense.weight"][0, 0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GoftError, match=r"at step 1; .*learning_rate"):
        start((broken, folders[1]), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["adapter.target_modules=[qeury]"], r"adapter.target_modules=.*qeury.*query"),
        (["adapter.layers_to_transform=[9]"], "adapter"),
    ],
)
def test_targets_that_match_nothing(
    words: list[str], sentence: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(GoftError, match=sentence):
        start(folders, tmp_path / "run", *words)


def test_precision_that_the_machine_lacks(folders: tuple[Path, Path], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        words = ["trainer.bf16=true", "trainer.fp16=true"]
    else:
        words = ["trainer.bf16=true", "trainer.use_cpu=false"]
    with pytest.raises(GoftError, match=r"trainer: .*bf16"):
        start(folders, tmp_path / "run", *words)


@pytest.mark.parametrize("words", [["model.dtype=bfloat16"], ["trainer.bf16=true"]])
def test_half_precision_merges_within_its_own_tolerance(
    words: list[str], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    run = start(folders, tmp_path / "run", "adapter=qgoft", *words)
    agreement = json.loads(run.metrics.read_text())["agreement"]
    assert agreement["tolerance"] == evaluation.tolerance(torch.bfloat16, layers=12)
    assert 0 <= agreement["merged"] <= agreement["tolerance"] <= 0.25


def test_the_head_may_be_for_other_labels(tmp_path: Path) -> None:
    model = small_runs.write_model(tmp_path / "model")
    data = small_runs.write_data(tmp_path / "data")
    words = ["task.labels=[no,yes,maybe]", "trainer.num_train_epochs=1"]
    run = start((model, data), tmp_path / "run", *words)
    assert json.loads(run.metrics.read_text())["head_parameters"] == 16 * 16 + 16 + 3 * 16 + 3
