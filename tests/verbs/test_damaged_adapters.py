"""`goft merge`, `eval` and `predict` refuse a damaged adapter, and write no merged model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from goft_cli.config import EvalConfig, MergeConfig, PredictConfig
from goft_cli.models.adapter_files import SETTINGS, WEIGHTS
from goft_cli.run.trained import open_trained
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from tests.conftest import ROOT
from tests.support.refusals import Change, refusal

RUNS = ROOT / "tests" / "fixtures" / "runs"
VERBS: dict[str, Callable[[Path], object]] = {
    "merge": lambda run: merge(MergeConfig(adapter=str(run), samples=8)),
    "merge as LoRA": lambda run: merge(MergeConfig(adapter=str(run), samples=0, as_lora=2)),
    "eval": lambda run: evaluate(EvalConfig(adapter=str(run))),
    "predict": lambda run: predict(PredictConfig(adapter=str(run), text="a dog sleeps")),
}
ENDINGS = {"qgoft": "goft_rotation", "lora": "lora_B.weight"}


@pytest.fixture(params=ENDINGS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of a run of version 0.1.0."""
    return shutil.copytree(RUNS / request.param, tmp_path / request.param)


def learnt(folder: Path) -> list[str]:
    """Return the names of the method's own tensors: rotations, or B of LoRA."""
    names = load_file(folder / "adapter" / WEIGHTS)
    return sorted(name for name in names if name.endswith(ENDINGS[folder.name]))


def without_learning(folder: Path) -> None:
    tensors = load_file(folder / "adapter" / WEIGHTS)
    kept = {name: value for name, value in tensors.items() if name not in learnt(folder)}
    save_file(kept, folder / "adapter" / WEIGHTS)


def without_the_last(folder: Path) -> None:
    tensors = load_file(folder / "adapter" / WEIGHTS)
    del tensors[learnt(folder)[-1]]
    save_file(tensors, folder / "adapter" / WEIGHTS)


def with_an_infinity(folder: Path) -> None:
    tensors = load_file(folder / "adapter" / WEIGHTS)
    tensors[learnt(folder)[0]].view(-1)[0] = torch.inf
    save_file(tensors, folder / "adapter" / WEIGHTS)


def setting(key: str, value: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / "adapter" / SETTINGS
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


DAMAGES: dict[str, tuple[Change, Callable[[Path], list[str]]]] = {
    "nothing learnt": (without_learning, lambda run: [WEIGHTS, *learnt(run)[:3]]),
    "one short": (without_the_last, lambda run: [WEIGHTS, learnt(run)[-1]]),
    "infinite": (with_an_infinity, lambda run: [WEIGHTS, learnt(run)[0]]),
    "fewer targets": (
        setting("target_modules", ["query_proj", "q_proj"]),
        lambda run: [SETTINGS, "target_modules"],
    ),
    "an exclusion": (
        setting("exclude_modules", ["q_proj", "query_proj"]),
        lambda run: [SETTINGS, 'exclude_modules=["q_proj", "query_proj"]', "exclude_modules=null"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_verb_takes_a_damaged_adapter(damage: str, run: Path, tmp_path: Path) -> None:
    change, named = DAMAGES[damage]
    expected = named(run)
    change(run)
    # All verbs open the run with the same function, so one verb is enough for other damages.
    for verb in VERBS.values() if damage == "nothing learnt" else [VERBS["eval"]]:
        sentence = refusal(lambda verb=verb: verb(run), tmp_path)
        assert all(word in sentence for word in expected)
    assert not (run / "merged").exists()


def test_a_run_of_an_earlier_version_is_whole(run: Path) -> None:
    model = open_trained(str(run), base_model=None).model
    state = model.state_dict().values()
    for name, value in load_file(run / "adapter" / WEIGHTS).items():
        assert any(torch.equal(value, one) for one in state), name
