"""Adapters that a model, a machine or PEFT itself would turn into something else are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from goft_cli.adapters import attach_adapter, count_parameters, merge
from goft_cli.backbone import Backbone
from goft_cli.errors import GoftError
from goft_cli.preflight import asset_dir
from tests.small import composed

AUTO = "AutoModelForCausalLM"


@pytest.fixture
def llama() -> PreTrainedModel:
    """No biases, no head of its own, and output embeddings tied to the input ones."""
    return AutoModelForCausalLM.from_pretrained(asset_dir("tiny-llama"))


def attach(model: PreTrainedModel, *words: str) -> PeftModel:
    cfg = composed(["model=tiny-llama", *words])
    return attach_adapter(Backbone(model, None, ""), cfg.adapter, [], AUTO, updates=100)


@pytest.mark.parametrize("adapter", ["bitfit", "linear"])
def test_nothing_to_train(adapter: str, llama: PreTrainedModel) -> None:
    with pytest.raises(GoftError, match=f"adapter={adapter}: a LlamaForCausalLM has nothing that"):
        attach(llama, f"adapter={adapter}")


def test_a_block_size_that_peft_would_change(llama: PreTrainedModel) -> None:
    with pytest.raises(GoftError, match=r"adapter=oft: Invalid `oft_block_size` \(7\)"):
        attach(llama, "adapter=oft", "adapter.oft_block_size=7")


def test_butterfly_factors_without_a_compiler(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peft.tuners.boft.layer.get_fbd_cuda", lambda: None)
    words = ["adapter=boft", "adapter.boft_n_butterfly_factor=2"]
    with pytest.raises(GoftError, match=r"butterfly_factor=2: .*fell back to 1; pass"):
        attach(llama, *words)


@pytest.mark.parametrize("r", [-2, 0, 3])
def test_reflections_come_in_pairs(r: int) -> None:
    with pytest.raises(GoftError, match=rf"adapter.r={r} is out of range: .*even number"):
        composed(["adapter=hra", f"adapter.r={r}"])


@pytest.mark.parametrize("key", ["oft_block_size", "boft_block_size"])
def test_blocks_of_one_turn_nothing(key: str) -> None:
    adapter = key.partition("_")[0]
    with pytest.raises(GoftError, match=rf"adapter.{key}=1 is out of range: .*at least 2"):
        composed([f"adapter={adapter}", f"adapter.{key}=1"])


def test_full_fine_tuning_unties_embeddings_for_good(
    llama: PreTrainedModel, tmp_path: Path
) -> None:
    whole = sum(parameter.numel() for parameter in llama.parameters())
    again = llama.get_input_embeddings().get_parameter("weight").numel()
    model = attach(llama, "adapter=full")
    assert count_parameters(model, []).adapter == whole + again
    head = model.get_submodule("base_model.model.lm_head.modules_to_save.default")
    with torch.no_grad():
        head.get_parameter("weight").mul_(2)
    ids = torch.arange(4)[None]
    expected = model.eval()(input_ids=ids).logits
    merge(model).save_pretrained(tmp_path)
    found = AutoModelForCausalLM.from_pretrained(tmp_path)(input_ids=ids).logits
    torch.testing.assert_close(found, expected)
