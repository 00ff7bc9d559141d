"""A saved adapter of any method loads completely, or is refused if its files were changed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from goft_cli.config import TrainConfig
from goft_cli.config.adapter import CIRCUMSTANCES
from goft_cli.models.adapter_files import SETTINGS, WEIGHTS
from goft_cli.models.adapter_loading import load_adapter, load_trained
from goft_cli.models.adapters import attach_adapter
from goft_cli.models.backbone import Backbone
from goft_cli.system.errors import GoftError
from tests.support import small_runs
from tests.support.recipe_cells import CHOICES
from tests.support.small_runs import composed

AUTO = "AutoModelForSequenceClassification"
VARIANTS = {name: [f"adapter={name}"] for name in CHOICES["adapter"]} | {
    "all linear": ["adapter=lora", "adapter.target_modules=all-linear"],
    "one block": ["adapter=goft", "adapter.layers_to_transform=[1]"],
    "pattern": ["adapter=oft", r"adapter.target_modules='.*\.(query|key)'"],
}
IGNORED = {*CIRCUMSTANCES, "loftq_config"}
"""PEFT drops the configuration of LoftQ unless LoRA starts from it."""
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """Return a small BERT; every test takes a copy."""
    folder = small_runs.write_model(tmp_path_factory.mktemp("base"))
    return AutoModelForSequenceClassification.from_pretrained(folder)


Saved = Callable[[str], tuple[TrainConfig, Path]]


@pytest.fixture(scope="module")
def saved(base: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return a function that saves an adapter of a variant, with random weights, as a run does."""

    @cache
    def write(variant: str) -> tuple[TrainConfig, Path]:
        cfg = composed(["task=glue/cola", "model=minilm-l6", *VARIANTS[variant]])
        folder, head = tmp_path_factory.mktemp("adapter"), cfg.model.head_modules or []
        model = attach_adapter(backbone(base), cfg.adapter, head, AUTO, updates=100)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01 * torch.randn_like(parameter) * parameter.requires_grad
        model.save_pretrained(str(folder))
        return cfg, folder

    return write


def backbone(base: PreTrainedModel) -> Backbone:
    return Backbone(copy.deepcopy(base), None, "")


def load(base: PreTrainedModel, cfg: TrainConfig, folder: Path) -> PeftModel:
    return load_trained(backbone(base), folder, cfg, AUTO)


def copied(folder: Path, tmp_path: Path) -> tuple[Path, Tensors]:
    again = shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
    return again, load_file(again / WEIGHTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_adapter_is_loaded_whole(variant: str, saved: Saved, base: PreTrainedModel) -> None:
    cfg, folder = saved(variant)
    states = [load(base, cfg, folder).state_dict()]
    states.append(load_adapter(backbone(base), folder).state_dict())
    for state in states:
        for key, value in load_file(folder / WEIGHTS).items():
            assert any(torch.equal(value, one) for one in state.values()), key


def lacking(tensors: Tensors, key: str) -> Tensors:
    return {name: value for name, value in tensors.items() if name != key}


def with_more(tensors: Tensors, key: str) -> Tensors:
    return {**tensors, f"{key}.again": tensors[key].clone()}


def with_base_weights(tensors: Tensors, key: str) -> Tensors:
    name = "base_model.model.bert.embeddings.word_embeddings.base_layer.weight"
    return {**tensors, name: torch.zeros(2, 2)}


def shortened(tensors: Tensors, key: str) -> Tensors:
    return {**tensors, key: tensors[key][:-1].contiguous()}


def turned_round(tensors: Tensors, key: str) -> Tensors:
    return {**tensors, key: tensors[key][None].contiguous()}


def whole_numbers(tensors: Tensors, key: str) -> Tensors:
    return {**tensors, key: tensors[key].long()}


def not_a_number(tensors: Tensors, key: str) -> Tensors:
    spoilt = tensors[key].clone()
    spoilt.view(-1)[-1] = torch.nan
    return {**tensors, key: spoilt}


def infinite(tensors: Tensors, key: str) -> Tensors:
    spoilt = tensors[key].clone()
    spoilt.view(-1)[0] = -torch.inf
    return {**tensors, key: spoilt}


DAMAGES = (
    lacking,
    with_more,
    with_base_weights,
    shortened,
    turned_round,
    whole_numbers,
    not_a_number,
    infinite,
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_damaged_tensor_is_refused_by_name(
    variant: str, saved: Saved, base: PreTrainedModel, tmp_path: Path
) -> None:
    cfg, good = saved(variant)
    folder, tensors = copied(good, tmp_path)
    at = [*VARIANTS].index(variant) % len(DAMAGES)  # GOFT gets all damages, each other variant two
    chosen = DAMAGES if variant == "goft" else (DAMAGES[at], DAMAGES[at - 1])
    for damage in chosen:
        place = DAMAGES.index(damage)
        key = sorted(tensors)[place * len(tensors) // len(DAMAGES)]
        changed = damage(tensors, key)
        save_file(changed, folder / WEIGHTS)
        (named,) = (changed.keys() ^ tensors.keys()) or {key}
        with pytest.raises(GoftError, match=WEIGHTS) as refusal:
            load(base, cfg, folder)
        assert named in str(refusal.value), damage.__name__
        assert str(folder) in str(refusal.value)


def test_three_names_and_a_count(saved: Saved, base: PreTrainedModel, tmp_path: Path) -> None:
    cfg, good = saved("goft")
    folder, tensors = copied(good, tmp_path)
    turns = sorted(key for key in tensors if "goft" in key)
    save_file({key: value for key, value in tensors.items() if key not in turns}, folder / WEIGHTS)
    with pytest.raises(GoftError, match=f"{len(turns)} of {len(tensors)}") as refusal:
        load(base, cfg, folder)
    assert [key in str(refusal.value) for key in turns[:4]] == [True, True, True, False]


def another(value: object) -> Any:  # noqa: ANN401 - a JSON value
    """Return a value of the same kind that means something else."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 2
    if isinstance(value, str):
        return {"tanh": "direct", "goft": "qgoft", "qgoft": "goft", "none": "all"}.get(value, "xyz")
    return [] if value else [1]


@pytest.mark.parametrize("variant", [*CHOICES["adapter"], "one block"])
def test_an_edited_setting_is_refused(
    variant: str, saved: Saved, base: PreTrainedModel, tmp_path: Path
) -> None:
    """Check that the error names a key of the run's configuration; PEFT may refuse other keys."""
    cfg, good = saved(variant)
    folder, _ = copied(good, tmp_path)
    settings = json.loads((good / SETTINGS).read_text())
    stated = {*cfg.adapter.peft_options(10**6), "modules_to_save", "exclude_modules", "peft_type"}
    tried = settings.keys() - IGNORED if variant in {"goft", "lora"} else stated & settings.keys()
    for key in tried - cfg.adapter.unsettled:
        (folder / SETTINGS).write_text(json.dumps({**settings, key: another(settings[key])}))
        with pytest.raises(GoftError, match=SETTINGS) as refusal:
            load(base, cfg, folder)
        assert key in str(refusal.value) or key not in stated


@pytest.mark.parametrize(
    ("variant", "key", "value"),
    [
        ("goft", "exclude_modules", ["query"]),
        ("goft", "scale", True),
        ("goft", "target_modules", ["query"]),
        ("qgoft", "penalty_weight", 0.5),
        ("lora", "lora_alpha", 16.0),
        ("lora", "layer_replication", [[0, 1], [0, 2]]),
        ("lora", "peft_type", "OFT"),
        ("lora", "invented", "here"),
    ],
)
def test_both_values_are_named(
    variant: str, key: str, value: object, saved: Saved, base: PreTrainedModel, tmp_path: Path
) -> None:
    cfg, good = saved(variant)
    folder, _ = copied(good, tmp_path)
    settings = json.loads((good / SETTINGS).read_text())
    (folder / SETTINGS).write_text(json.dumps({**settings, key: value}))
    with pytest.raises(GoftError, match=SETTINGS) as refusal:
        load(base, cfg, folder)
    for one in (value, settings.get(key)):
        assert f"{key}={json.dumps(one)}" in str(refusal.value)


def test_a_default_of_another_version_of_peft_is_no_edit(
    saved: Saved, base: PreTrainedModel, tmp_path: Path
) -> None:
    cfg, good = saved("lora")
    folder, _ = copied(good, tmp_path)
    settings = json.loads((good / SETTINGS).read_text()) | {"peft_version": "0.20.0"}
    (folder / SETTINGS).write_text(json.dumps({**settings, "qalora_group_size": 8}))
    load(base, cfg, folder)
    for key, value in {"r": 4, "exclude_modules": ["query"]}.items():
        (folder / SETTINGS).write_text(json.dumps({**settings, key: value}))
        with pytest.raises(GoftError, match=key):
            load(base, cfg, folder)


def test_names_of_the_same_layers_are_the_same_setting(
    saved: Saved, base: PreTrainedModel, tmp_path: Path
) -> None:
    cfg, good = saved("pattern")
    folder, _ = copied(good, tmp_path)
    settings = json.loads((good / SETTINGS).read_text())
    settings["target_modules"] = ["self.key", "self.query"]
    (folder / SETTINGS).write_text(json.dumps(settings))
    load(base, cfg, folder)


# PEFT warns because it looks for the names of weights among the names of modules.
@pytest.mark.filterwarnings("ignore:The following rank_pattern:RuntimeWarning")
def test_ranks_that_adalora_dropped_are_not_missing(base: PreTrainedModel, tmp_path: Path) -> None:
    config = AdaLoraConfig(
        task_type="SEQ_CLS", init_r=3, target_r=2, total_step=10, target_modules=["query"]
    )
    model = get_peft_model(copy.deepcopy(base), config)
    names = [name for name, _ in model.get_base_model().named_parameters() if "lora_E" in name]
    config.rank_pattern = {name: [True, False, True] for name in names}
    model.save_pretrained(str(tmp_path))
    shapes = {tuple(v.shape) for k, v in load_file(tmp_path / WEIGHTS).items() if "lora_E" in k}
    assert shapes == {(2, 1)}
    load_adapter(backbone(base), tmp_path)
