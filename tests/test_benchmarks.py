"""The benchmark scripts: what they measure is what they say, and they spoil nothing meanwhile."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
ADAPTERS = ["lora-2", "lora-8", "lora-16", "adalora", "oft", "boft", "hra"]
ADAPTERS += ["goft", "goft-scaled", "qgoft"]
METHODS = ["frozen", "linear", *ADAPTERS]
CPU = torch.device("cpu")

# A wrapping layer with the arguments and the parameter names of peft-givens' second version.
WRAPPING_LAYER = """
import torch

class Linear(torch.nn.Module):
    def __init__(self, base_layer, adapter_name, strict_oft, no_scaling):
        super().__init__()
        self.base_layer = base_layer
        self.givens_hard = torch.nn.Parameter(torch.zeros(base_layer.in_features - 1))

    def forward(self, x):
        return self.base_layer(x * torch.cos(self.givens_hard.sum()))
"""


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if started by `python scripts/...`, from an empty folder."""
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.chdir(tmp_path)


def adapters(*words: str) -> dict[str, Any]:
    small = ["--rounds", "2", "--warmup", "1", "--width", "64", "--layers", "1", "--batch", "2"]
    assert module("bench_adapters").main([*small, "--length", "8", *words]) == 0
    return json.loads(Path("bench_adapters.json").read_text(encoding="utf-8"))


def trainees(name: str, shape: str) -> tuple[Any, nn.Module, Any]:
    """A frozen model, and one method in its copy of it."""
    shapes, methods = module("benchmarks.shapes"), module("benchmarks.methods")
    training = module("benchmarks.training")
    kind, size = shapes.SHAPES[shape], shapes.Size(1, 64, 2, 8, 16)
    torch.manual_seed(0)
    base = shapes.build(kind, size, torch.float32, CPU)
    prepared = methods.prepare(name, base, kind, steps=2, input_grads=False, others={})
    inputs = shapes.batch(kind, size, torch.float32, CPU)
    return prepared, base, training.Trainee(prepared, inputs)


def frozen_weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_spread_of_known_numbers() -> None:
    summary = module("benchmarks.summary")
    assert summary.spread([5, 1, 4, 2, 3]) == summary.Spread(3, 2, 4)
    assert summary.spread([7]) == summary.Spread(7, 7, 7)
    with pytest.raises(ValueError, match="no values to summarise"):
        summary.spread([])


def test_ratios_are_taken_within_a_round() -> None:
    summary = module("benchmarks.summary")
    # The second round is ten times slower for both: the ratio does not see it.
    assert summary.paired([2, 20, 4], [1, 10, 2]) == summary.Spread(2, 2, 2)
    assert summary.paired([3, 6], [2, 4], summary.excess).median == 0.5
    with pytest.raises(ValueError, match="zip"):
        summary.paired([1, 2], [1])


def test_every_method_is_tested_below() -> None:
    assert list(module("benchmarks.methods").METHODS) == METHODS


def test_rounds_hold_every_action_once_in_changing_order() -> None:
    rounds = module("benchmarks.rounds")
    called: list[str] = []
    actions = {name: (lambda name=name: called.append(name)) for name in "abcd"}
    plan = rounds.Plan(rounds=6, warmup=2, seed=1, device=CPU)
    seconds = rounds.interleave(actions, plan)
    orders = [tuple(called[i : i + 4]) for i in range(0, len(called), 4)]
    assert len(orders) == 8
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 1
    assert {name: len(times) for name, times in seconds.items()} == dict.fromkeys("abcd", 6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # peft on BOFT without CUDA and on OFT's blocks
def test_a_step_trains_the_method_and_nothing_that_is_shared(name: str) -> None:
    prepared, base, trainee = trainees(name, "vit-b16")
    shared, own = frozen_weights(base), [p.detach().clone() for p in prepared.trainable]
    theirs, mine = ({p.data_ptr() for p in model.parameters()} for model in (base, prepared.model))
    assert len(theirs - mine) == (0 if name == "frozen" else 2)  # the classifier, its bias
    prepared.model.train()
    for _ in range(2):
        trainee.step()
    assert math.isfinite(trainee.loss.item())
    assert all(torch.equal(a, b) for a, b in zip(base.parameters(), shared, strict=True))
    moved = [not torch.equal(a, b) for a, b in zip(prepared.trainable, own, strict=True)]
    assert any(moved) == (name != "frozen")
    assert (prepared.adapter_parameters > 0) == (name not in {"frozen", "linear"})


@pytest.mark.parametrize(
    ("name", "penalised"), [("adalora", True), ("qgoft", True), ("oft", False)]
)
def test_a_step_pays_for_the_penalty_of_its_method(name: str, penalised: bool) -> None:
    prepared, _, trainee = trainees(name, "linear")
    with torch.no_grad():
        for parameter in prepared.trainable:
            parameter.add_(torch.randn_like(parameter) / 10)
    prepared.model.train()
    alone = prepared.model(**trainee.inputs).loss.item()
    trainee.step()
    assert (trainee.loss.item() > alone) == penalised


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_merging_a_copy_keeps_the_function_and_the_shared_weights(name: str) -> None:
    inference = module("benchmarks.inference")
    prepared, base, trainee = trainees(name, "linear")
    with torch.no_grad():
        for parameter in prepared.trainable:
            parameter.add_(torch.randn_like(parameter) / 10)
    shared = frozen_weights(base)
    x = trainee.inputs["x"]
    prepared.model.eval()
    before = prepared.model(x).logits
    plain, _ = inference.merge(prepared.model, CPU)
    assert all(torch.equal(a, b) for a, b in zip(base.parameters(), shared, strict=True))
    # Two sums of 64 products in another order, the norm that HRA and the matrices bring along.
    error = (plain(x).logits - before).norm() / before.norm()
    assert error < 64 * torch.finfo(torch.float32).eps
    assert (before - base(x).logits).norm() > 100 * error * before.norm()


def test_all_methods_run_on_a_shape_and_the_file_has_their_rows() -> None:
    found = adapters(
        "--shape", "deberta-v3-base", "--methods", "frozen,lora-8,qgoft", "--no-memory"
    )
    assert list(found["training"]) == ["frozen", "lora-8", "qgoft"]
    assert list(found["forward"]) == ["base", "lora-8", "qgoft"]
    for entry in found["training"].values():
        assert len(entry["seconds"]) == 2
        assert all(0 < seconds < math.inf for seconds in entry["seconds"])
        assert math.isfinite(entry["loss"])
    # Five layers of 64 inputs and one of 256: a block of four numbers per pair.
    assert found["training"]["qgoft"]["adapter_parameters"] == 4 * (5 * 63 + 255)
    assert found["training"]["lora-8"]["ratio_to_lora_8"]["median"] == 1
    assert found["training"]["frozen"]["share_over_frozen"]["high"] == 0
    merged = found["forward"]["qgoft"]["merged"]
    assert len(merged["seconds"]) == len(merged["base_seconds"]) == 2
    assert found["arguments"]["shape"] == "deberta-v3-base"
    assert found["machine"]["versions"]["torch"] == torch.__version__


@pytest.mark.slow
def test_memory_of_a_process_counts_training_and_not_the_libraries() -> None:
    words = ["--shape", "linear", "--width", "512", "--tokens", "4096", "--memory-repeats", "1"]
    entry = adapters(*words, "--methods", "goft")["training"]["goft"]
    activations = 4096 * 512 * 4 / 2**20
    # The output and its gradient at least; libraries alone would be hundreds of MiB.
    assert 2 * activations < entry["memory_mib"] < 12 * activations
    assert entry["memory_mib_over_frozen"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_high_water_mark_starts_over() -> None:
    memory = module("benchmarks.memory")
    block = bytearray(2**28)
    high = memory.high_water_mark()
    del block
    if not memory.reset_high_water_mark():
        pytest.skip("this system does not let a process reset its peak")
    assert memory.high_water_mark() <= high - 2**27


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--methods", "lora-8,gotf"], "did you mean goft?"),
        (["--shape", "linear", "--methods", "linear"], "has no head to train"),
        (["--authors", "nowhere"], "found no givens/layer.py"),
        (["--device", "cuda"], "pass --device cpu"),
        (["--out", "file/below.json"], "cannot be written"),
    ],
)
def test_impossible_requests_are_refused_in_a_sentence(
    words: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("file").touch()
    assert module("bench_adapters").main(words) == 2
    assert sentence in capsys.readouterr().err


def test_a_layer_from_a_checkout_takes_the_place_of_the_targets() -> None:
    file = Path("checkout/tuners/givens/layer.py")
    file.parent.mkdir(parents=True)
    file.write_text(WRAPPING_LAYER, encoding="utf-8")
    words = ["--shape", "linear", "--methods", "lora-8", "--no-memory", "--authors", "checkout"]
    found = adapters(*words)
    assert found["training"]["authors-v2"]["adapter_parameters"] == 63
    assert "merged" not in found["forward"]["authors-v2"]


def test_a_checkout_that_does_not_load_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("checkout/tuners/givens/layer.py")
    file.parent.mkdir(parents=True)
    file.write_text("import a_package_of_another_age\n", encoding="utf-8")
    assert module("bench_adapters").main(["--authors", "checkout"]) == 2
    assert "does not work with the installed torch and peft" in capsys.readouterr().err


def test_rotation_is_timed_for_every_engine_and_drawn() -> None:
    small = ["--widths", "8", "32", "--tokens", "4", "--counts", "1", "4", "--width", "32"]
    words = [*small, "--rounds", "2", "--least-ms", "1", "--plot", "figure.png"]
    assert module("bench_rotation").main(words) == 0
    found = json.loads(Path("bench_rotation.json").read_text(encoding="utf-8"))
    for key, values in (("width", {8, 32}), ("tokens", {1, 4})):
        records = found["widths" if key == "width" else "tokens"]
        staged = [r for r in records if r["engine"] == "staged"]
        assert {(r[key], r["kind"], r["pass"]) for r in staged} == {
            (value, kind, what)
            for value in values
            for kind in ("strict", "quasi")
            for what in ("forward", "forward+backward")
        }
        assert all(0 < t < math.inf for r in records for t in r["seconds"])
    copies = [r for r in found["widths"] if r["engine"] == "copy"]
    assert [r["share_of_copy"]["median"] for r in copies] == [1, 1]
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_bandwidth_counts_each_tensor_once_per_pass() -> None:
    case = module("benchmarks.turning").Case(width=100, tokens=10)
    assert case.bytes_moved("forward", torch.bfloat16) == 2 * 100 * 10 * 2
    assert case.bytes_moved("forward+backward", torch.float32) == 5 * 100 * 10 * 4


def test_merging_is_timed_layer_by_layer() -> None:
    words = ["--merge", "--merge-layers", "3", "--merge-width", "64"]
    assert module("bench_rotation").main(words) == 0
    found = json.loads(Path("bench_rotation.json").read_text(encoding="utf-8"))["merge"]
    assert len(found["seconds"]) == 3
    assert found["total_seconds"] == pytest.approx(sum(found["seconds"]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engines", "stagged"], "did you mean staged?"),
        (["--widths", "8", "--tokens", "1000000000"], "raise it"),
    ],
)
def test_rotation_refuses_what_it_cannot_time(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert module("bench_rotation").main(words) == 2
    assert sentence in capsys.readouterr().err
