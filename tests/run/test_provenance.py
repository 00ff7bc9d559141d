"""Commands on a run compare the files that it recorded with those on disk, and refuse changes."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from goft_cli.config import EvalConfig, MergeConfig, PredictConfig, TrainConfig
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.provenance import check_sources, is_reusable
from goft_cli.system.errors import GoftError, Stopped
from goft_cli.system.files import read_json, write_json
from goft_cli.training.trainer import PenaltyTrainer
from goft_cli.verbs.compare.runs import PlannedRun, is_done
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from goft_cli.verbs.train import train
from tests.support import small_runs
from tests.support.refusals import Change, refusal, remove, substitute, write
from tests.support.small_runs import Ground, copied

WEIGHTS = "model/model.safetensors"


@pytest.fixture
def ground(trained: Path, tmp_path: Path) -> Ground:
    return copied(trained, tmp_path / "ground")


def one_weight(name: str) -> Change:
    """Return a change that alters one number in a file of weights."""

    def change(root: Path) -> None:
        tensors = load_file(root / name)
        first = sorted(tensors)[0]
        with torch.no_grad():
            tensors[first].view(-1)[-1] += 1e-3
        save_file(tensors, root / name, metadata={"format": "pt"})

    return change


BASE: dict[str, tuple[Change, str]] = {
    "weights": (one_weight(WEIGHTS), "model.safetensors"),
    "configuration": (
        substitute("model/config.json", '"layer_norm_eps": 1e-12', '"layer_norm_eps": 1e-6'),
        "config.json",
    ),
    "tokenizer": (substitute("model/tokenizer.json", '"dog"', '"dogs"'), "tokenizer.json"),
    "a file less": (remove("model/tokenizer_config.json"), "tokenizer_config.json"),
    "a file more": (write("model/added_tokens.json", "{}"), "added_tokens.json"),
}


@pytest.mark.parametrize("case", BASE)
def test_no_verb_opens_a_run_on_another_base_model(
    case: str, ground: Ground, tmp_path: Path
) -> None:
    change, name = BASE[case]
    change(ground.root)
    adapter, target = str(ground.run.path), str(tmp_path / "new")
    jobs: list[Callable[[], object]] = [
        lambda: evaluate(EvalConfig(adapter=adapter)),
        lambda: merge(MergeConfig(adapter=adapter, output_dir=target)),
        lambda: predict(PredictConfig(adapter=adapter, text="the dog runs .", output=target)),
    ]
    for job in jobs:
        sentence = refusal(job, tmp_path)
        assert f"model/{name}" in sentence
        assert "base_model=" in sentence


DATA: dict[str, tuple[Change, str]] = {
    "train": (substitute("data/train.tsv", "cat", "dog"), "train.tsv"),
    "validation": (substitute("data/dev.tsv", r"\.\t0\n$", ".\t1\n"), "dev.tsv"),
    "weights": BASE["weights"],
    "a file more": BASE["a file more"],
}
STARTS: dict[str, Callable[[TrainConfig], object]] = {
    "the command": train,
    "the pipeline": pipeline.run,
    "a sweep": is_reusable,
    "a comparison": lambda cfg: is_done(PlannedRun(("seed=42",), cfg)),
}


@pytest.mark.parametrize(("case", "start"), [*zip(DATA, STARTS, strict=True)])
def test_a_finished_run_hands_no_score_back_on_changed_ground(
    case: str, start: str, ground: Ground
) -> None:
    change, name = DATA[case]
    change(ground.root)
    sentence = refusal(lambda: STARTS[start](ground.cfg()), ground.root)
    assert name in sentence
    assert "overwrite=true" in sentence


def test_another_place_with_the_same_words_is_other_data(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check a relative data folder: in another working folder it holds other data."""
    text = ground.run.config.read_text()
    ground.run.config.write_text(text.replace(str(ground.root / "data"), "data"))
    words = ("task.data_dir=data",)
    monkeypatch.chdir(ground.root)
    assert is_reusable(ground.cfg(*words))
    elsewhere = tmp_path / "elsewhere"
    small_runs.write_data(elsewhere / "data", rows=8)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(GoftError, match=r"train\.tsv"):
        is_reusable(ground.cfg(*words))


def test_unchanged_ground_and_files_that_are_gone_change_no_number(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_sources(ground.cfg()) == []
    (ground.root / "data" / "dev.tsv").unlink()
    train(ground.cfg())
    said = capsys.readouterr().out
    assert "already finished" in said
    assert "dev.tsv" in said


@pytest.mark.slow
def test_overwrite_starts_anew_on_the_changed_data(ground: Ground) -> None:
    before = read_json(ground.run.manifest)["data"]["sha256"]
    DATA["train"][0](ground.root)
    train(ground.cfg("overwrite=true"))
    after = read_json(ground.run.manifest)["data"]["sha256"]
    assert after["train.tsv"] != before["train.tsv"]
    assert check_sources(ground.cfg()) == []


def test_a_run_with_nothing_to_lose_takes_what_is_there(ground: Ground) -> None:
    ground.run.metrics.unlink()
    shutil.rmtree(ground.run.adapter)
    shutil.rmtree(ground.run.checkpoints)
    DATA["train"][0](ground.root)
    assert check_sources(ground.cfg()) == []


def test_evaluating_reads_the_same_rows_or_is_refused(ground: Ground, tmp_path: Path) -> None:
    DATA["train"][0](ground.root)
    evaluate(EvalConfig(adapter=str(ground.run.path)))  # it reads no training row
    assert read_json(ground.run.path / "eval.json")["data_as_recorded"] is True
    DATA["validation"][0](ground.root)
    for job in (
        lambda: evaluate(EvalConfig(adapter=str(ground.run.path))),
        lambda: merge(MergeConfig(adapter=str(ground.run.path), output_dir=str(tmp_path / "m"))),
    ):
        sentence = refusal(job, tmp_path)
        assert "dev.tsv" in sentence
        assert "data_dir=" in sentence


@pytest.mark.parametrize("same", [True, False])
def test_data_that_is_named_may_be_other_data_and_the_file_says_so(
    same: bool, ground: Ground, tmp_path: Path
) -> None:
    shutil.move(ground.root / "data", tmp_path / "other")
    if not same:
        substitute("other/dev.tsv", r"\.\t0\n$", ".\t1\n")(tmp_path)
    data, output = str(tmp_path / "other"), tmp_path / "eval.json"
    evaluate(EvalConfig(adapter=str(ground.run.path), data_dir=data, output=str(output)))
    assert read_json(output)["data_as_recorded"] is same


def test_a_base_model_that_is_named_may_be_saved_anew(ground: Ground, tmp_path: Path) -> None:
    """Check that a base model in another folder is accepted if its fingerprint is the same."""
    other = tmp_path / "other"
    shutil.copytree(ground.root / "model", other)
    save_file(load_file(other / "model.safetensors"), other / "model.safetensors", {"format": "pt"})
    substitute("config.json", r"\{", "{ ")(other)
    one_weight(WEIGHTS)(ground.root)
    predict(
        PredictConfig(adapter=str(ground.run.path), base_model=str(other), text="the dog runs .")
    )


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_that_loads_but_is_another_is_refused(
    name: str, ground: Ground, tmp_path: Path
) -> None:
    if name.endswith("json"):
        substitute(f"run/adapter/{name}", r"\{", "{ ")(ground.root)
    else:
        one_weight(f"run/adapter/{name}")(ground.root)
    sentence = refusal(lambda: evaluate(EvalConfig(adapter=str(ground.run.path))), tmp_path)
    assert f"adapter/{name}" in sentence


@pytest.mark.parametrize("content", [3, [], {"sha256": 3}, {"sha256": {"train.tsv": 3}}])
def test_a_manifest_of_anything_is_answered(content: object, ground: Ground) -> None:
    manifest = read_json(ground.run.manifest)
    write_json(ground.run.manifest, manifest | {"data": content, "benchmark": content})
    if content == {"sha256": {"train.tsv": 3}}:
        assert "train.tsv" in refusal(lambda: check_sources(ground.cfg()), ground.root)
    else:
        assert check_sources(ground.cfg()) == []


@pytest.fixture
def interrupted(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Return a run that was stopped after its first update, with a checkpoint."""
    real = pipeline.build_trainer

    def built(*arguments: Any, **options: Any) -> PenaltyTrainer:  # noqa: ANN401 - passed through
        trainer = real(*arguments, **options)
        trainer.stop_at_signal.note(signal.SIGTERM, None)
        return trainer

    shutil.rmtree(ground.run.path)
    monkeypatch.setattr(pipeline, "build_trainer", built)
    with pytest.raises(Stopped):
        pipeline.run(ground.cfg())
    monkeypatch.undo()
    return ground


def as_csv(root: Path) -> None:
    """Write the training rows, and one more, to a CSV file, and delete the TSV file."""
    path = root / "data" / "train.tsv"
    path.with_suffix(".csv").write_text(path.read_text().replace("\t", ",") + "a cat sings .,1\n")
    path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("start", [train, pipeline.run])
@pytest.mark.parametrize(
    ("change", "name"), [*DATA.values(), (as_csv, "train."), (BASE["a file less"])]
)
def test_no_run_is_resumed_on_changed_ground(
    change: Change, name: str, start: Callable[[TrainConfig], object], interrupted: Ground
) -> None:
    change(interrupted.root)
    manifest = interrupted.run.manifest.read_bytes()
    with pytest.raises(GoftError) as refused:
        start(interrupted.cfg())
    assert name in str(refused.value)
    assert interrupted.run.manifest.read_bytes() == manifest
    assert not interrupted.run.finished


@pytest.mark.slow
def test_on_the_same_ground_it_is_resumed_and_the_digests_stay(interrupted: Ground) -> None:
    before = read_json(interrupted.run.manifest)
    after = read_json(RunFolder(pipeline.run(interrupted.cfg())).manifest)
    for part in ("model", "data"):
        assert after[part] == before[part]
    assert set(after["adapter"]["sha256"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert "adapter" not in before
    assert json.loads(interrupted.run.metrics.read_text())["headline"]
