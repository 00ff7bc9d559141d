"""Training sharded with the files of `recipes/accelerate` gives the weights of one process.

Two processes run on CPUs; `tests/support/sharded_backends.py` says what is patched for that, and
what can be tested on GPUs only.
"""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from goft_cli.data.sources import read_demo
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.training.launch_checks import SHARDING
from goft_cli.training.sharding import check_deepspeed, check_same_backend, unpickling_nothing
from tests.conftest import ROOT
from tests.support import small_runs
from tests.support.gloo_processes import accelerate_launch

pytestmark = pytest.mark.timeout(1200)  # two launches of two processes that import all packages
needs_deepspeed = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="needs the extra `deepspeed`"
)
# A file that a checkpoint has only if the engine was used.
EVIDENCE = {
    "zero2": "global_step*/zero_pp_rank_1_mp_rank_00_optim_states.pt",
    "zero3": "global_step*/zero_pp_rank_1_mp_rank_00_model_states.pt",
    "fsdp2": "pytorch_model_fsdp.bin",
}
ENGINES = [
    pytest.param(name, marks=[needs_deepspeed] if "zero" in name else []) for name in EVIDENCE
]
UPDATES = 4
# Plain SGD: each update adds the rounding error of gradients that are summed in another order.
TOLERANCE = 64 * UPDATES * torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 40 rows; 32 of them are left to train on, which two processes share evenly."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "train.json").write_text(
        json.dumps(read_demo("demo:instructions", "train")[:40]), encoding="utf-8"
    )
    return folder


def words(data: Path, output: Path, adapter: str, batch: int) -> list[str]:
    return [
        "task=instruct/alpaca",
        "model=tiny-llama",
        f"adapter={adapter}",
        f"task.data_dir={data}",
        f"output_dir={output}",
        "task.max_length=200",
        "task.holdout=0.2",
        "task.global_batch=total_32",
        f"trainer.per_device_train_batch_size={batch}",
        "trainer.gradient_accumulation_steps=2",
        "trainer.num_train_epochs=4",
        "trainer.lr_scheduler_type=constant",
        "trainer.warmup_steps=0",
        "trainer.optim=sgd",
        "trainer.learning_rate=0.1",
        "trainer.use_cpu=true",
    ]


def launch(engine: str, words: list[str]) -> None:
    recipe = ROOT / "recipes" / "accelerate" / f"two_a100_{engine}.yaml"
    accelerate_launch(
        recipe, str(ROOT / "tests" / "support" / "sharded_backends.py"), "train", *words
    )


def numbers(run: RunFolder) -> dict[str, Any]:
    return json.loads(run.metrics.read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.sharded
@pytest.mark.feature("sharded")
@pytest.mark.parametrize("adapter", ["goft", "qgoft", "lora"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_sharded_run_is_that_of_one_process(
    engine: str, adapter: str, data: Path, tmp_path: Path
) -> None:
    shared = RunFolder(tmp_path / "shared")
    launch(engine, words(data, shared.path, adapter, batch=8))
    composed = small_runs.composed(words(data, tmp_path / "alone", adapter, batch=16))
    alone = RunFolder(pipeline.run(composed))
    assert list(shared.checkpoints.glob(f"checkpoint-*/{EVIDENCE[engine]}"))
    found, expected = numbers(shared), numbers(alone)
    assert found["trainable_parameters"] == expected["trainable_parameters"]
    assert found["best_checkpoint_step"] == expected["best_checkpoint_step"]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
    assert found["headline"]["value"] == pytest.approx(expected["headline"]["value"], rel=1e-5)
    assert found["agreement"]["reloaded"] == 0.0, "what was saved is what was trained"
    saved = weights(shared.adapter)
    assert saved.keys() == weights(alone.adapter).keys()
    for name, tensor in weights(alone.adapter).items():
        torch.testing.assert_close(saved[name], tensor, rtol=TOLERANCE, atol=TOLERANCE)
    last, before = (weights(shared.checkpoints / f"checkpoint-{n}") for n in (UPDATES, UPDATES - 1))
    assert max(float((last[name] - before[name]).abs().max()) for name in last) > 100 * TOLERANCE


@pytest.mark.sharded
@pytest.mark.parametrize("engine", ENGINES)
def test_a_sharded_run_goes_on_bit_by_bit(engine: str, data: Path, tmp_path: Path) -> None:
    run, again = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "again")
    adam = ["trainer.optim=adamw_torch", "trainer.learning_rate=0.03"]  # its state is restored
    launch(engine, [*words(data, run.path, "qgoft", batch=8), *adam])
    shutil.copytree(run.path, again.path)
    again.metrics.unlink()
    shutil.rmtree(again.adapter)
    shutil.rmtree(again.checkpoints / f"checkpoint-{UPDATES}")
    launch(engine, [*words(data, again.path, "qgoft", batch=8), *adam])
    assert "resuming from checkpoint-3" in again.log.read_text()
    assert numbers(again)["train_loss"] == numbers(run)["train_loss"]
    found = weights(again.adapter)
    assert all(torch.equal(found[name], kept) for name, kept in weights(run.adapter).items())


@pytest.mark.sharded
@needs_deepspeed
def test_deepspeed_unpickles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"anything": Fraction(1, 2)}, tmp_path / "states.pt")
    monkeypatch.setenv(SHARDING["DeepSpeed"], "true")
    with unpickling_nothing(), pytest.raises(UnpicklingError, match="Weights only load failed"):
        torch.load(tmp_path / "states.pt", weights_only=False)


@pytest.mark.parametrize(
    ("settings", "words", "sentence"),
    [
        ({"zero3_init_flag": True}, [], "zero3_init_flag: true shards weights while"),
        ({}, ["model.dtype=bfloat16"], "ZeRO-3 would convert .*; pass trainer.bf16=true as well"),
    ],
)
def test_what_zero3_would_change_unasked_is_refused(
    settings: dict[str, bool], words: list[str], sentence: str
) -> None:
    plain = {"zero_stage": 3, "zero3_init_flag": False}
    asked: Any = SimpleNamespace(deepspeed_plugin=SimpleNamespace(**plain | settings))
    with pytest.raises(GoftError, match=sentence):
        check_deepspeed(small_runs.composed(words), asked)
    asked.deepspeed_plugin = SimpleNamespace(zero_stage=2)
    check_deepspeed(small_runs.composed(words), asked)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (
            "latest",
            "written with DeepSpeed, and this start has unsharded weights; launch it as before",
        ),
        ("optimizer.bin", "written with FSDP, and this start has unsharded weights"),
    ],
)
def test_a_checkpoint_goes_on_with_the_engine_that_wrote_it(
    file: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).touch()
    with pytest.raises(GoftError, match=sentence):
        check_same_backend(tmp_path)
    monkeypatch.setenv(SHARDING[sentence.split()[2].rstrip(",")], "true")
    check_same_backend(tmp_path)
    monkeypatch.undo()
    (tmp_path / file).rename(tmp_path / "optimizer.pt")
    check_same_backend(tmp_path)
