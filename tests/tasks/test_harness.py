"""`harness=lm_eval` gives lm_eval the model and keeps its numbers; here with a stand-in package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from goft_cli.config import EvalConfig, Harness
from goft_cli.system.errors import GoftError
from goft_cli.tasks import benchmark
from goft_cli.verbs.eval import evaluate
from tests.support import lm_eval_stand_in, small_runs
from tests.support.multiple_choice import config

RESULTS = {
    "mmlu": {"alias": "mmlu", "acc,none": 0.5, "acc_stderr,none": 0.1},
    "mmlu_anatomy": {"alias": "anatomy", "acc,none": 0.25, "acc_stderr,none": "N/A"},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace lm_eval by a stand-in package, and return the list of its calls."""
    return lm_eval_stand_in.install(monkeypatch, RESULTS, {"mmlu": RESULTS["mmlu"]})


def test_the_harness_gets_the_model_and_its_numbers_are_kept(
    calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    output = tmp_path / "eval.json"
    model = small_runs.composed(["model=tiny-llama"]).model
    evaluate(
        EvalConfig(
            model=model,
            task=config("mmlu/full"),
            harness=Harness.lm_eval,
            shots=[0, 5],
            batch_size=3,
            output=str(output),
        )
    )
    assert [(call["tasks"], call["num_fewshot"]) for call in calls] == [
        (["mmlu"], 0),
        (["mmlu"], 5),
    ]
    wrapped = calls[0]["model"]
    assert type(wrapped.pretrained).__name__ == "LlamaForCausalLM"
    assert wrapped.tokenizer.bos_token == "<s>"
    assert wrapped.batch_size == 3
    found = json.loads(output.read_text())
    assert found["harness"] == "lm_eval"
    assert found["metrics"] == {"mmlu/full": {"mmlu_acc_0_shot": 0.5, "mmlu_acc_5_shot": 0.5}}
    assert found["breakdown"]["mmlu/full"]["5_shot"] == {"mmlu_acc": 0.5, "mmlu_anatomy_acc": 0.25}
    assert found["data"]["is_the_benchmark"] is False
    assert list(tmp_path.iterdir()) == [output]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    with pytest.raises(GoftError, match=r"goft-cli\[lm-eval\]"):
        benchmark.build_harness(config("mmlu/full"))


def test_it_knows_the_full_protocol_alone() -> None:
    with pytest.raises(GoftError, match=r"mmlu/legacy.*harness=own"):
        benchmark.build_harness(config("mmlu/legacy"))
