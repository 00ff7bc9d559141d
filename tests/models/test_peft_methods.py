"""`adapter=peft`: a PEFT method trains, saves, loads and merges, or is refused before training."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from peft import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import AutoModelForSequenceClassification, PreTrainedModel, set_seed

from goft_cli.compose.library_keys import methods
from goft_cli.models.adapter_loading import load_trained
from goft_cli.models.adapters import attach_adapter, count_parameters, merge
from goft_cli.models.backbone import Backbone
from goft_cli.system.errors import GoftError
from tests.support import small_runs

AUTO = "AutoModelForSequenceClassification"
FITTING = {
    "C3A": "{block_size: 16}",
    "FOURIERFT": "{n_frequency: 20}",
    "MISS": "{r: 4}",
    "OFT": "{oft_block_size: 4}",
    "PSOFT": "{r: 4}",
    "ROAD": "{variant: road_2, group_size: 4}",
    "SHIRA": "{r: 2}",
    "VBLORA": "{vector_length: 16, num_vectors: 8}",
    "WAVEFT": "{n_frequency: 20}",
}
"""Options for the narrow layers of the test model."""
WITHOUT_LAYERS = {
    *("CARTRIDGE", "CPT", "MULTITASK_PROMPT_TUNING", "PREFIX_TUNING", "PROMPT_TUNING"),
    *("P_TUNING", "XLORA", "ADAPTION_PROMPT", "TRAINABLE_TOKENS"),
}
WITHOUT_MERGING = {"LILY", "POLY", "SHADOW"}
ELSEWHERE = {"ADALORA"}
"""Its schedule needs the number of updates: `adapter=adalora`."""
IDS = torch.tensor([[2, 5, 7, 8, 3]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    folder = small_runs.write_model(tmp_path_factory.mktemp("base"))
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()


def words(method: str) -> list[str]:
    options = [f"adapter.config={FITTING[method]}"] if method in FITTING else []
    model = ["task=glue/cola", "model=minilm-l6"]
    return [*model, "adapter=peft", f"adapter.type={method}", *options]


def backbone(base: PreTrainedModel) -> Backbone:
    return Backbone(copy.deepcopy(base), None, "")


def test_the_sources_say_what_the_classes_have() -> None:
    classes = {kind.value: kind_class for kind, kind_class in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    del classes["GOFT"]
    assert {name: {*known} for name, known in methods().items()} == {
        name: {entry.name for entry in fields(kind)} for name, kind in classes.items()
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")  # by torch, for FRoD
@pytest.mark.parametrize("method", sorted(methods().keys() - WITHOUT_LAYERS - ELSEWHERE))
def test_a_method_trains_saves_loads_and_merges(
    method: str, base: PreTrainedModel, tmp_path: Path
) -> None:
    cfg = small_runs.composed(words(method))
    head = cfg.model.head_modules or []
    if method in WITHOUT_MERGING:
        with pytest.raises(GoftError, match=f"adapter.type={method}: PEFT cannot merge it"):
            attach_adapter(backbone(base), cfg.adapter, head, AUTO, updates=10)
        return
    set_seed(1)
    model = attach_adapter(backbone(base), cfg.adapter, head, AUTO, updates=10)
    trained = [p for name, p in model.named_parameters() if p.requires_grad]
    assert count_parameters(model, head).adapter > 0
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    for _ in range(3):
        model.train()(input_ids=IDS, labels=torch.tensor([1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(str(tmp_path))
    set_seed(2)  # random values that were not saved would differ now
    with torch.no_grad():
        expected = model.eval()(input_ids=IDS).logits
        again = load_trained(backbone(base), tmp_path, cfg, AUTO)
        assert torch.equal(again(input_ids=IDS).logits, expected)
        found = merge(again)(input_ids=IDS).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", sorted(WITHOUT_LAYERS))
def test_a_method_without_layers_is_refused_while_it_is_composed(method: str) -> None:
    with pytest.raises(GoftError, match=f"adapter.type={method}: PEFT does not attach this method"):
        small_runs.composed(words(method))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["adapter.type=RODA"], "did you mean adapter.type=ROAD"),
        (["adapter.type=road", "adapter.config.group=2"], "did you mean adapter.config.group_size"),
        (["adapter.type=ROAD", "adapter.config.group_size=a"], "expected int, found str"),
        (["adapter.type=ROAD", "adapter.layers_to_transform=[0]"], "name the layers with"),
        (["adapter.config.modules_to_save=[x]"], "pass model.head_modules"),
    ],
)
def test_a_wrong_word_is_refused_with_the_right_one(given: list[str], sentence: str) -> None:
    with pytest.raises(GoftError, match=sentence):
        small_runs.composed(["adapter=peft", *given])


def test_the_options_that_a_ready_adapter_states_can_be_changed() -> None:
    adapter = small_runs.composed(["adapter=road", "adapter.config.variant=road_4"]).adapter
    assert adapter.peft_options(1)["group_size"] == 2
    assert adapter.peft_options(1)["variant"] == "road_4"
