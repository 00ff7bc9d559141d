"""`goft predict` with several runs on one base model predicts each row as its run alone does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import goft_cli
from goft_cli.config import Dtype, PredictConfig
from goft_cli.run import pipeline, several
from goft_cli.run import trained as run_trained
from goft_cli.run.folder import RunFolder
from goft_cli.run.record import RunRecord
from goft_cli.run.several import ReadRun, open_several, read_several
from goft_cli.system.errors import GoftError
from goft_cli.verbs.predict import predict
from tests.support import small_runs

TEXTS = ["the dog runs .", "a cat not sleeps .", "", "the bird sings well .", "not a dog ."] * 2
WHICH = ["a", "b", "b", "b", "a", "a", "b", "a", "b", "b"]


@pytest.fixture(scope="module")
def strict(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of GOFT with a scale, on model and data of `trained`, which is of qGOFT."""
    folder = tmp_path_factory.mktemp("strict") / "run"
    own = ["adapter=goft", "adapter.scale=true", "trainer.learning_rate=0.1", "seed=3"]
    places = trained.parent / "model", trained.parent / "data", folder
    return pipeline.run(small_runs.composed(small_runs.overrides(*places, *own)))


@pytest.fixture(scope="module")
def alone(
    trained: Path, strict: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """Return the predictions of each run alone for all of TEXTS."""
    folder = tmp_path_factory.mktemp("alone")
    source = write_rows(folder / "new.jsonl", WHICH)
    runs = {"a": trained, "b": strict}
    return {name: predicted(folder, source, adapter=str(run)) for name, run in runs.items()}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_rows(file: Path, names: list[str], texts: list[str] = TEXTS) -> Path:
    rows = [{"sentence": text, "which": name} for text, name in zip(texts, names, strict=True)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def predicted(folder: Path, source: Path, **words: Any) -> list[Any]:  # noqa: ANN401 - PredictConfig's
    output = folder / "out.jsonl"
    predict(PredictConfig(input=str(source), output=str(output), overwrite=True, **words))
    return [line["prediction"] for line in lines(output)]


@pytest.mark.feature("several", "goft-scaled", "qgoft")
def test_each_row_is_predicted_on_as_by_its_run_alone(
    trained: Path,
    strict: Path,
    alone: dict[str, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = write_rows(tmp_path / "new.jsonl", WHICH)
    runs = {"a": str(trained), "b": str(strict)}
    assert all(x != y for x, y in zip(*alone.values(), strict=True) if x)
    monkeypatch.setattr(run_trained, "PREDICTED_ROWS", 4)  # each part has rows of both runs
    found = predicted(tmp_path, source, adapters=runs, adapter_column="which", batch_size=2)
    for row, (name, prediction) in enumerate(zip(WHICH, found, strict=True)):
        expected = alone[name][row]
        if not TEXTS[row]:
            assert prediction is expected is None
            continue
        assert prediction["label"] == expected["label"]
        # the batches have other rows, so the same sums are rounded differently
        assert prediction["probabilities"] == pytest.approx(expected["probabilities"], rel=1e-5)


def test_several_runs_from_python(trained: Path, strict: Path, alone: dict[str, list[Any]]) -> None:
    runs = {"a": RunRecord(RunFolder(trained)), "b": strict}
    rows = [{"which": name, "sentence": TEXTS[row]} for row, name in enumerate("ba")]
    found = goft_cli.predict(runs, rows, adapter_column="which")
    assert [{key: line[key] for key in ("which", "sentence")} for line in found] == rows
    for row, name in enumerate("ba"):
        expected = alone[name][row]["probabilities"]
        assert found[row]["prediction"]["probabilities"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(GoftError, match="several runs without adapter_column"):
        goft_cli.predict(runs, rows)


def storages(model: torch.nn.Module) -> dict[int, Tensor]:
    return {tensor.data_ptr(): tensor for tensor in model.parameters()}


def test_one_more_run_costs_its_adapter_and_no_copy_of_the_base(
    trained: Path, strict: Path
) -> None:
    sizes = []
    for number in (2, 3):
        runs = dict(zip("abc"[:number], map(str, (trained, strict, strict)), strict=False))
        opened = open_several(runs, read_several(runs, None), base_model=None)
        models = {id(run.model) for run in opened.values()}
        assert len(models) == 1
        before = storages(opened["a"].model)
        sizes.append(sum(tensor.numel() for tensor in before.values()))
        switch = several.SeveralRuns(opened, ["b"])
        with switch.active("b") as run:
            assert storages(run.model).keys() == before.keys()
    own = load_file(strict / "adapter" / "adapter_model.safetensors")
    assert sizes[1] - sizes[0] == sum(tensor.numel() for tensor in own.values())


@pytest.mark.parametrize(
    ("names", "column", "message"),
    [
        (["a", "c", "a"], "which", r"new\.jsonl, line 2: which is 'c'; expected one of a, b;"),
        (["a", "__base__", "a"], "which", "line 2: .*which has no trained head"),
        (["a", "b", "a"], "adapter", "column adapter is missing; found 'sentence', 'which'"),
    ],
)
def test_a_column_that_names_no_run_is_refused_before_the_model_is_loaded(
    names: list[str],
    column: str,
    message: str,
    trained: Path,
    strict: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(several, "load_backbone", None)
    source = write_rows(tmp_path / "new.jsonl", names, TEXTS[:3])
    runs = {"a": str(trained), "b": str(strict)}
    with pytest.raises(GoftError, match=message):
        predicted(tmp_path, source, adapters=runs, adapter_column=column)


def other_task(**changes: Any) -> Callable[[ReadRun], ReadRun]:  # noqa: ANN401 - any key's
    def change(run: ReadRun) -> ReadRun:
        return replace(run, task=type(run.task)(replace(run.task.config, **changes)))

    return change


def other_manifest(run: ReadRun) -> ReadRun:
    return replace(run, manifest={**run.manifest, "model": {"fingerprint": "f" * 64}})


def other_method(kind: str) -> Callable[[ReadRun], ReadRun]:
    def change(run: ReadRun) -> ReadRun:
        adapter = replace(run.cfg.adapter, name=kind.lower(), peft_type=kind)
        return replace(run, cfg=replace(run.cfg, adapter=adapter))

    return change


def other_precision(run: ReadRun) -> ReadRun:
    model = replace(run.cfg.model, dtype=Dtype.bfloat16)
    return replace(run, cfg=replace(run.cfg, model=model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_method("HRA"), "found the method hra, expected GOFT, qGOFT or LoRA"),
        (other_method("LORA"), "found the method LORA, expected GOFT as in adapters.a"),
        (other_manifest, "found the base model ffffffffffff, expected"),
        (other_task(labels=["no", "yes"]), r"found the labels \['no', 'yes'\], expected \['unacc"),
        (other_task(text_columns=["text"]), r"found the columns \['text'\], expected \['sentence'"),
        (other_precision, "found the precision"),
    ],
)
def test_runs_that_no_model_can_share_are_refused(
    change: Callable[[ReadRun], ReadRun],
    message: str,
    trained: Path,
    strict: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = several.read_run

    def read(place: str, base_model: str | None) -> tuple[Any, ...]:
        parts = real(place, base_model)
        if place != str(strict):
            return parts
        changed = change(ReadRun(*parts))
        return changed.folder, changed.manifest, changed.cfg, changed.task

    monkeypatch.setattr(several, "read_run", read)
    with pytest.raises(GoftError, match=f"adapters.b=.*{message}") as refused:
        read_several({"a": str(trained), "b": str(strict)}, None)
    assert f"adapter={strict}" in refused.value.remedy


def test_words_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match="neither of adapter and adapters"):
        PredictConfig(input="x")
    with pytest.raises(GoftError, match="both of adapter and adapters"):
        PredictConfig(adapter="x", adapters={"a": "y"}, adapter_column="c", input="x")
    with pytest.raises(GoftError, match="text has no adapter_column"):
        PredictConfig(adapters={"a": "y"}, adapter_column="c", text="x")
    words = {"adapters": {"a": str(tmp_path)}, "adapter_column": "which"}
    with pytest.raises(GoftError, match=r"adapters\.a=.*holds no run of goft train"):
        predicted(tmp_path, tmp_path / "none.csv", **words)


@pytest.mark.slow
@pytest.mark.feature("generation")
@pytest.mark.feature("several")
@pytest.mark.parametrize("adapter", ["goft", "lora"])
def test_answers_of_each_row_are_those_of_its_run_or_of_the_base(
    adapter: str, tmp_path: Path
) -> None:
    from tests.tasks.test_instruction_run import start

    runs = {}
    for name, rate in {"a": 0.3, "b": 3}.items():
        place = tmp_path / name
        place.mkdir()
        words = (f"adapter={adapter}", f"trainer.learning_rate={rate}")
        runs[name] = str(start(place, *words).path)
    names, questions = ["a", "__base__", "b", "a", "b"], ["Name a bird.", "What is two?", "Why?"]
    rows = [{"instruction": questions[n % 3], "which": name} for n, name in enumerate(names)]
    source = tmp_path / "new.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for options in ({"max_new_tokens": 6}, {"max_new_tokens": 6, "temperature": 1.0, "seed": 2}):
        found = predicted(tmp_path, source, adapters=runs, adapter_column="which", **options)
        alone = {n: predicted(tmp_path, source, adapter=run, **options) for n, run in runs.items()}
        base = predicted(tmp_path, source, adapter=runs["a"], strength=0.0, **options)
        expected = [{**alone, "__base__": base}[name][row] for row, name in enumerate(names)]
        assert found == expected
    assert alone["a"] != alone["b"] != base != alone["a"]
