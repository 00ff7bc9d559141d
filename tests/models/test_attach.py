"""Adapters that cannot be attached as configured are refused; tied embeddings are untied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    PreTrainedModel,
)

from goft_cli.models import targets
from goft_cli.models.adapters import attach_adapter, count_parameters, merge
from goft_cli.models.backbone import Backbone
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import asset_dir
from goft_cli.training.evaluation import output_difference, tolerance
from tests.support.small_runs import composed

AUTO = "AutoModelForCausalLM"


@pytest.fixture
def llama() -> PreTrainedModel:
    """Return a decoder without biases, whose output embeddings are tied to the input embeddings."""
    return AutoModelForCausalLM.from_pretrained(asset_dir("tiny-llama"))


def attach(model: PreTrainedModel, *words: str, head: Sequence[str] = ()) -> PeftModel:
    cfg = composed(["model=tiny-llama", *words])
    return attach_adapter(Backbone(model, None, ""), cfg.adapter, [*head], AUTO, updates=100)


@pytest.mark.parametrize("adapter", ["bitfit", "linear"])
def test_nothing_to_train(adapter: str, llama: PreTrainedModel) -> None:
    with pytest.raises(GoftError, match=f"adapter={adapter}: .*LlamaForCausalLM"):
        attach(llama, f"adapter={adapter}")


def test_a_block_size_that_peft_would_change(llama: PreTrainedModel) -> None:
    with pytest.raises(GoftError, match=r"adapter=oft: Invalid `oft_block_size` \(7\)"):
        attach(llama, "adapter=oft", "adapter.oft_block_size=7")


def test_butterfly_factors_without_a_compiler(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peft.tuners.boft.layer.get_fbd_cuda", lambda: None)
    words = ["adapter=boft", "adapter.boft_n_butterfly_factor=2"]
    with pytest.raises(GoftError, match=r"butterfly_factor=2: .* 1"):
        attach(llama, *words)


@pytest.mark.parametrize("r", [-2, 0, 3])
def test_reflections_come_in_pairs(r: int) -> None:
    with pytest.raises(GoftError, match=rf"adapter.r={r} .*even"):
        composed(["adapter=hra", f"adapter.r={r}"])


@pytest.mark.parametrize("key", ["oft_block_size", "boft_block_size"])
def test_blocks_of_one_turn_nothing(key: str) -> None:
    adapter = key.partition("_")[0]
    with pytest.raises(GoftError, match=rf"adapter.{key}=1 .* 2"):
        composed([f"adapter={adapter}", f"adapter.{key}=1"])


def test_full_fine_tuning_unties_embeddings_for_good(
    llama: PreTrainedModel, tmp_path: Path
) -> None:
    whole = sum(parameter.numel() for parameter in llama.parameters())
    again = llama.get_submodule("model.embed_tokens").get_parameter("weight").numel()
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


OUTPUT = "adapter.target_modules=[lm_head]"
TIED = {
    "GOFT": ["adapter=goft", OUTPUT],
    "LoRA": ["adapter=lora", "adapter.target_modules=[lm_head,q_proj]"],
    "AdaLoRA": ["adapter=adalora", OUTPUT],
    "BOFT": ["adapter=boft", OUTPUT],
    "a pattern": ["adapter=lora", r"adapter.target_modules='.*\.q_proj|lm_head'"],
    "the input": ["adapter=lora", "adapter.target_modules=[embed_tokens]"],
    "both": ["adapter=lora", "adapter.target_modules=[embed_tokens,lm_head]"],
}


@pytest.mark.parametrize("case", [*TIED, "whole"])
def test_an_adapted_output_layer_is_untied_from_the_embeddings(
    case: str, llama: PreTrainedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = ["lm_head"] if case == "whole" else []
    model = attach(llama, *TIED.get(case, ["adapter=goft"]), head=head)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter) * parameter.requires_grad
    ids = torch.arange(12)[None]

    def logits(of: PreTrainedModel | PeftModel) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"logits": of.eval()(input_ids=ids).logits.numpy()}

    plain = logits(AutoModelForCausalLM.from_pretrained(asset_dir("tiny-llama")))
    adapted = logits(model)
    assert output_difference(plain, adapted).largest > 0.01
    with caplog.at_level("INFO"):
        merge(model).save_pretrained(tmp_path)
    assert "tie_word_embeddings" in caplog.text
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config.tie_word_embeddings is False
    assert output_difference(adapted, logits(again)).largest <= tolerance(torch.float32, 3)


def test_parts_of_an_image_model_are_its_own_whatever_input_they_name() -> None:
    sizes = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
    config = AutoConfig.for_model("convnext", **sizes)
    model = AutoModelForImageClassification.from_config(config)
    ends = {name.rpartition(".")[2] for name in targets.all_linear(model, ["classifier"])}
    assert ends == {"pwconv1", "pwconv2"}


def test_every_linear_layer_leaves_the_output_layer_out(llama: PreTrainedModel) -> None:
    merged = merge(attach(llama, "adapter=lora", "adapter.target_modules=all-linear"))
    assert merged.config.tie_word_embeddings is True


@pytest.mark.parametrize(
    ("adapter", "words", "named"),
    [
        ("goft", ["adapter.target_modules=[q_proj,qkv_proj]"], ["qkv_proj", "self_attn.q_proj"]),
        ("lora", ["adapter.target_modules=[query,key]"], ["query", "key", "mlp.down_proj"]),
        ("hra", ["adapter.target_modules=nonesuch"], ["nonesuch", "self_attn.o_proj"]),
        ("goft", [r"adapter.target_modules='.*\.(query|key)'"], [r".*\.(query|key)", "lm_head"]),
        ("goft", ["adapter.target_modules=q_proj"], ["pass adapter.target_modules=[q_proj]"]),
        ("lora", ["adapter.target_modules=[]"], ["adapter.target_modules=[]", "self_attn.o_proj"]),
        (
            "hra",
            ["adapter.layers_to_transform=[0,2]"],
            ["adapter.layers_to_transform=[0, 2]", "0, 1"],
        ),
        ("goft", ["adapter.layers_to_transform=[7]"], ["adapter.layers_to_transform=[7]", "0, 1"]),
        ("lora", ["adapter.layers_to_transform=[1000000]"], ["1000000", "0, 1"]),
        (
            "hra",
            ["adapter.target_modules='(q_proj'"],
            ["adapter.target_modules=(q_proj", "position 0"],
        ),
    ],
)
def test_what_selects_no_layer_is_refused(
    adapter: str, words: list[str], named: list[str], llama: PreTrainedModel
) -> None:
    with pytest.raises(GoftError, match="adapter") as refusal:
        attach(llama, f"adapter={adapter}", *words)
    assert all(name in str(refusal.value) for name in named), refusal.value


def test_a_pattern_without_end_is_given_up(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "PATIENCE", 0.5)
    endless = "(([a-z_.0-9]+)+)+!"  # its matching time doubles with each letter
    with pytest.raises(GoftError, match="seconds") as refusal:
        attach(llama, "adapter=goft", f"adapter.target_modules='{endless}'")
    assert f"adapter.target_modules={endless}" in str(refusal.value)


def test_many_blocks_are_named_by_the_first(llama: PreTrainedModel) -> None:
    blocks = ",".join(map(str, range(1000)))
    with pytest.raises(GoftError, match=r"adapter.layers_to_transform") as refusal:
        attach(llama, "adapter=goft", f"adapter.layers_to_transform=[{blocks}]")
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("adapter", ["goft", "hra"])
def test_a_layer_that_the_method_cannot_adapt_is_refused(
    adapter: str, llama: PreTrainedModel
) -> None:
    with pytest.raises(GoftError, match=f"adapter={adapter}: .*Embedding"):
        attach(llama, f"adapter={adapter}", "adapter.target_modules=[q_proj,embed_tokens]")


def test_a_head_that_trains_whole_is_no_layer_to_adapt(llama: PreTrainedModel) -> None:
    words = ["adapter=goft", "adapter.target_modules=[q_proj,lm_head]"]
    with pytest.raises(GoftError, match="is called lm_head") as refusal:
        attach(llama, *words, head=["lm_head"])
    assert "layers are mlp.down_proj" in str(refusal.value)
