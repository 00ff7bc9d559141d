"""Image classification trains, resumes, merges and predicts, on VTAB's layout and on the demo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTConfig

from goft_cli.config import MergeConfig, PredictConfig
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.preflight import check_inputs
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json
from goft_cli.training.callbacks import fact_cosine
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from tests.support.small_images import write_images, write_vit
from tests.support.small_runs import composed

SPLITS = {"train800": 22, "val200": 11, "train800val200": 33, "test": 13}
WEIGHTS = "adapter_model.safetensors"
BATCH = 4  # leaves 2 of 22 rows over


def words(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "task=vtab/eurosat",
        "model=vit-b16",
        f"model.path={model}",
        f"task.data_dir={data}",
        f"output_dir={output}",
        f"trainer.per_device_train_batch_size={BATCH}",
        "trainer.num_train_epochs=10",
        "trainer.logging_steps=1",
        "trainer.use_cpu=true",
        *more,
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("inputs")
    return write_vit(root / "model"), write_images(root / "data", SPLITS)


@pytest.fixture(scope="module")
def run(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    output = tmp_path_factory.mktemp("run") / "run"
    cfg = composed(words(*folders, output, "adapter=qgoft", "trainer.learning_rate=0.02"))
    return RunFolder(pipeline.run(cfg))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_trains_on_train800_picks_on_val200_and_reports_test(run: RunFolder) -> None:
    metrics, data = read_json(run.metrics), read_json(run.manifest)["data"]
    assert data["rows"] == {"train800": 22, "val200": 11, "test": 13}
    assert set(data["sha256"]) == {"train800.txt", "val200.txt", "test.txt"}
    assert data["size_deviations"]["test"] == [13, 5400]
    assert list(metrics["metrics"]) == ["val200", "test"]
    assert metrics["headline"]["value"] == metrics["metrics"]["test"]["accuracy"]
    assert metrics["agreement"]["reloaded"] == 0.0
    assert metrics["trainable_parameters"] == 4 * 2 * (5 * 15 + 31)
    assert metrics["head_parameters"] == 10 * 16 + 10


def test_incomplete_batches_are_left_out_of_training_alone(run: RunFolder) -> None:
    newest = max(run.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    state = read_json(newest / "trainer_state.json")
    assert state["max_steps"] == 10 * (22 // BATCH)
    assert len(lines(run.path / "predictions.val200.jsonl")) == 11
    assert len(lines(run.path / "predictions.test.jsonl")) == 13


def test_the_schedule_and_the_looks_are_facts(run: RunFolder) -> None:
    newest = max(run.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    history = read_json(newest / "trainer_state.json")["log_history"]
    rates = [row["learning_rate"] for row in history if "learning_rate" in row]
    epochs = [(row["step"] - 1) // 5 for row in history if "learning_rate" in row]
    assert rates == pytest.approx(
        [fact_cosine(epoch, peak=0.02, warmup=1, epochs=10) for epoch in epochs]
    )
    looks = [row["step"] for row in history if "eval_accuracy" in row]
    assert looks == list(range(5, 51, 5))


def test_an_interrupted_run_resumes_to_the_same_weights(
    run: RunFolder, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    again = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, again.path)
    again.metrics.unlink()
    shutil.rmtree(again.adapter)
    shutil.rmtree(again.checkpoints / "checkpoint-50")
    more = ["adapter=qgoft", "trainer.learning_rate=0.02"]
    pipeline.run(composed(words(*folders, again.path, *more)))
    assert "resuming from checkpoint-" in again.log.read_text()
    expected, found = (load_file(each.adapter / WEIGHTS) for each in (run, again))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_best_on_test_trains_on_all_and_looks_at_test(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    data = shutil.copytree(folders[1], tmp_path / "data")
    (data / "draw.json").write_text("{}")
    more = ["task.selection=best_on_test", "trainer.num_train_epochs=1"]
    more += ["task.benchmark_sizes.train800val200=33", "task.benchmark_sizes.test=13"]
    run = RunFolder(pipeline.run(composed(words(folders[0], data, tmp_path / "run", *more))))
    found = read_json(run.manifest)["data"]
    assert found["rows"] == {"train800val200": 33, "test": 13}
    assert (found["size_deviations"], found["is_the_benchmark"]) == ({}, False)
    assert list(read_json(run.metrics)["metrics"]) == ["test"]
    assert "the test split picks the checkpoint" in run.log.read_text()


def test_the_merged_folder_is_enough_for_plain_transformers(
    run: RunFolder, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    merge(MergeConfig(adapter=str(run.path), output_dir=str(tmp_path / "merged")))
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "merged")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "merged")
    rows = lines(run.path / "predictions.test.jsonl")
    images = [Image.open(folders[1] / row["image"]).convert("RGB") for row in rows]
    with torch.no_grad():
        logits = model(**processor(images, return_tensors="pt")).logits
    found = logits.softmax(-1).max(-1)
    expected = [row["prediction"] for row in rows]
    assert found.indices.tolist() == [each["label"] for each in expected]
    assert found.values.tolist() == pytest.approx([each["score"] for each in expected], abs=1e-5)


def test_predict_takes_an_image(run: RunFolder, folders: tuple[Path, Path], tmp_path: Path) -> None:
    expected = lines(run.path / "predictions.test.jsonl")[4]
    image, output = folders[1] / expected["image"], tmp_path / "out.jsonl"
    predict(PredictConfig(adapter=str(run.path), input=str(image), output=str(output)))
    (found,) = lines(output)
    assert found["image"] == str(image)
    assert found["prediction"]["label"] == expected["prediction"]["label"]
    assert found["prediction"]["score"] == pytest.approx(expected["prediction"]["score"], abs=1e-5)


def test_too_few_rows_for_one_batch(folders: tuple[Path, Path], tmp_path: Path) -> None:
    more = ["trainer.per_device_train_batch_size=64"]
    with pytest.raises(GoftError, match=r"22 .* 64.*drop_last"):
        pipeline.run(composed(words(*folders, tmp_path / "run", *more)))


def test_vtab_without_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    model = write_vit(tmp_path / "model")
    cfg = composed(["task=vtab/dtd", f"model.path={model}", f"output_dir={tmp_path / 'run'}"])
    with pytest.raises(GoftError, match=r"vtab/dtd.*task\.data_dir=.*train800\.txt"):
        check_inputs(cfg)


@pytest.mark.slow
def test_the_demo_learns_something_at_once(tmp_path: Path) -> None:
    cfg = composed(
        [
            "task=demo/digits",
            "model=tiny-vit",
            f"output_dir={tmp_path / 'run'}",
            "trainer.num_train_epochs=1",
            "trainer.use_cpu=true",
        ]
    )
    metrics = read_json(RunFolder(pipeline.run(cfg)).metrics)
    assert metrics["headline"]["value"] > 0.3  # a guess is right once in ten times


@pytest.mark.slow
@pytest.mark.feature("images")
@pytest.mark.parametrize("adapter", ["goft", "qgoft"])
def test_one_step_at_the_width_of_vit_b16(adapter: str, tmp_path: Path) -> None:
    model = write_vit(tmp_path / "model", ViTConfig(num_hidden_layers=2))  # otherwise ViT-B/16
    data = write_images(tmp_path / "data", {"train800": 2, "val200": 1, "test": 1}, classes=2)
    more = [
        "task=vtab/patch_camelyon",
        f"adapter={adapter}",
        "trainer.max_steps=1",
        "trainer.per_device_train_batch_size=2",
    ]
    metrics = read_json(
        RunFolder(pipeline.run(composed(words(model, data, tmp_path / "run", *more)))).metrics
    )
    per_block = 5 * 767 + 3071
    assert metrics["trainable_parameters"] == 2 * per_block * (4 if adapter == "qgoft" else 1)
    assert metrics["agreement"]["merged"] <= metrics["agreement"]["tolerance"]
