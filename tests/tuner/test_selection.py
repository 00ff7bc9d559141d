"""Check which modules GOFT adapts, and the paper's numbers of trained parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as tf
from peft import PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from goft_cli import GoftConfig, GoftLayer
from goft_cli.tuner.config import Method

if TYPE_CHECKING:
    from conftest import Attach, Family, Logits


def adapted_names(model: nn.Module) -> set[str]:
    names = {name for name, module in model.named_modules() if isinstance(module, GoftLayer)}
    return {name.removeprefix("base_model.model.") for name in names}


def expected_names(model: nn.Module, *endings: str) -> set[str]:
    return {name for name, _ in model.named_modules() if name.endswith(endings)}


def test_list_of_name_endings(family: Family, attach: Attach) -> None:
    expected = expected_names(family.build(), *family.targets)
    assert adapted_names(attach(family.build(), family.targets)) == expected


def test_a_name_that_no_module_has_is_refused(family: Family, attach: Attach) -> None:
    """PEFT alone would adapt the other modules without a warning."""
    with pytest.raises(ValueError, match="no module is called 'nonesuch';"):
        attach(family.build(), [*family.targets, "nonesuch"])


def test_all_linear_takes_everything_but_the_head(family: Family, attach: Attach) -> None:
    model = attach(family.build(), "all-linear", task_type=family.task_type)
    linear = {n for n, m in family.build().named_modules() if isinstance(m, nn.Linear | Conv1D)}
    assert adapted_names(model) == linear - {family.head}


def test_all_linear_is_the_same_for_a_second_adapter(family: Family, attach: Attach) -> None:
    model = attach(family.build(), "all-linear", task_type=family.task_type)
    expected = adapted_names(model)
    second = GoftConfig(target_modules="all-linear", task_type=family.task_type)
    model.add_adapter("second", second)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, GoftLayer)}
    found = {name for name, layer in layers.items() if "second" in layer.goft_rotation}
    assert {name.removeprefix("base_model.model.") for name in found} == expected
    assert adapted_names(model) == expected


def test_falcon_is_adapted_and_merges(attach: Attach, logits: Logits) -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = tf.FalconConfig(vocab_size=40, bos_token_id=1, eos_token_id=2, **shape)
    torch.manual_seed(0)
    model = attach(tf.FalconForCausalLM(config), "all-linear", task_type="CAUSAL_LM").double()
    assert len(adapted_names(model)) == 8
    ids = {"input_ids": torch.arange(14).view(2, 7)}
    with torch.no_grad():
        expected = model(**ids).logits
        merged = model.merge_and_unload(safe_merge=True)
        torch.testing.assert_close(merged(**ids).logits, expected)


def test_regex_matches_whole_names(encoder: Family, attach: Attach) -> None:
    model = attach(encoder.build(), r".*layer\.1\.attention\.self\.(query|key)")
    prefix = "bert.encoder.layer.1.attention.self"
    assert adapted_names(model) == {f"{prefix}.query", f"{prefix}.key"}


@pytest.mark.parametrize("layers", [1, [1]])
def test_layers_to_transform(encoder: Family, attach: Attach, layers: int | list[int]) -> None:
    model = attach(encoder.build(), ["query"], layers_to_transform=layers, layers_pattern="layer")
    assert adapted_names(model) == {"bert.encoder.layer.1.attention.self.query"}


def test_merging_a_module_of_two_names_changes_only_the_adapted_one(attach: Attach) -> None:
    """PEFT adapts it under its first name only, and merging changed it under both."""
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(6, 6).double())
    base.append(base[0])
    model, x = attach(base, ["0"]), torch.randn(3, 6, dtype=torch.float64)
    expected, layers = model(x), model.get_submodule("base_model.model")
    weights = [layers.get_parameter(name) for name in ("0.base_layer.weight", "1.weight")]
    assert weights[0] is weights[1]
    model.merge_adapter()
    torch.testing.assert_close(model(x), expected)
    model.unmerge_adapter()
    assert torch.equal(model(x), expected)
    assert layers.get_parameter("0.base_layer.weight") is weights[1]
    torch.testing.assert_close(model.merge_and_unload()(x), expected)


def test_excluded_modules(encoder: Family, attach: Attach) -> None:
    model = attach(encoder.build(), "all-linear", exclude_modules=["pooler.dense"])
    assert "bert.pooler.dense" not in adapted_names(model)
    assert "bert.encoder.layer.0.output.dense" in adapted_names(model)


def test_known_architectures_have_default_targets(encoder: Family, attach: Attach) -> None:
    torch.manual_seed(0)
    model = get_peft_model(encoder.build(), GoftConfig())
    assert adapted_names(model) == expected_names(encoder.build(), "query", "value")


def test_names_that_match_nothing_are_refused(encoder: Family) -> None:
    with pytest.raises(ValueError, match=r"'qery'"):
        get_peft_model(encoder.build(), GoftConfig(target_modules=["qery"]))


def test_unsupported_targets_are_refused_by_their_name(encoder: Family) -> None:
    config = GoftConfig(target_modules=["word_embeddings"])
    with pytest.raises(ValueError, match=r"word_embeddings.*Embedding"):
        get_peft_model(encoder.build(), config)


def test_modules_to_save_train_and_travel(
    encoder: Family,
    variant: dict[str, Any],
    attach: Attach,
    logits: Logits,
    tmp_path: Path,
) -> None:
    base = encoder.build()
    state = {k: v.clone() for k, v in base.state_dict().items()}
    model = attach(base, encoder.targets, modules_to_save=["classifier"], **variant)
    head = model.get_parameter("base_model.model.classifier.modules_to_save.default.weight")
    assert head.requires_grad
    nn.init.normal_(head)
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    again = encoder.build()
    again.load_state_dict(state)
    loaded = PeftModel.from_pretrained(again, tmp_path).eval()
    assert torch.equal(logits(loaded, encoder), logits(model, encoder))


def deberta_base() -> tuple[tf.PreTrainedModel, list[str]]:
    config = tf.DebertaV2Config(
        vocab_size=128, hidden_size=768, num_hidden_layers=12, intermediate_size=3072
    )
    linears = ["query_proj", "key_proj", "value_proj", "attention.output.dense"]
    return tf.DebertaV2Model(config), [*linears, "intermediate.dense", "output.dense"]


def llama2_7b() -> tuple[tf.PreTrainedModel, list[str]]:
    # LlamaConfig's defaults are the shape of LLaMA2-7B.
    return tf.LlamaForCausalLM(tf.LlamaConfig()), ["q_proj", "k_proj", "v_proj", "o_proj"]


@pytest.mark.parametrize(
    ("build", "method", "expected"),
    [
        (deberta_base, "goft", 82_872),
        (deberta_base, "qgoft", 331_488),
        (llama2_7b, "goft", 524_160),
        (llama2_7b, "qgoft", 2_096_640),
    ],
)
def test_parameter_counts_of_the_paper(
    build: Callable[[], tuple[tf.PreTrainedModel, list[str]]], method: Method, expected: int
) -> None:
    with torch.device("meta"):
        model, targets = build()
        adapted = get_peft_model(model, GoftConfig(method=method, target_modules=targets))
    assert adapted.get_nb_trainable_parameters()[0] == expected
