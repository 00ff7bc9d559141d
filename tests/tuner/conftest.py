"""Fixtures that run the tests on each variant of GOFT and on each family of models.

A new variant is one line in VARIANTS; a new family is a function, listed in
`pytest_generate_tests`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
import transformers as tf
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from goft_cli import GoftConfig, GoftLayer

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("goft", {}),
    ("goft-scaled", {"scale": True, "angle": "direct"}),
    ("qgoft", {"method": "qgoft"}),
]

Attach = Callable[..., PeftModel]
Equal = Callable[[Tensor, Tensor], None]
Logits = Callable[..., Tensor]
Wrap = Callable[..., GoftLayer]

VOCABULARY = 40


@dataclass
class Family:
    """A tiny random model, an input for it, the modules to adapt, its head and its task type."""

    build: Callable[[], tf.PreTrainedModel]
    inputs: dict[str, Tensor]
    targets: list[str]
    head: str
    task_type: str


def _ids() -> dict[str, Tensor]:
    return {"input_ids": torch.arange(14).view(2, 7) % VOCABULARY}


ENCODER: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
TEXT: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": 16, "pad_token_id": 0}
DECODER: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}


def bert() -> Family:
    config = tf.BertConfig(**ENCODER, **TEXT)
    build = partial(tf.BertForSequenceClassification, config)
    return Family(build, _ids(), ["query", "value", "output.dense"], "classifier", "SEQ_CLS")


def deberta_v2() -> Family:
    config = tf.DebertaV2Config(**ENCODER, **TEXT, relative_attention=True)
    build = partial(tf.DebertaV2ForSequenceClassification, config)
    return Family(
        build, _ids(), ["query_proj", "value_proj", "output.dense"], "classifier", "SEQ_CLS"
    )


def llama() -> Family:
    shape = {k: v for k, v in ENCODER.items() if "dropout" not in k}
    config = tf.LlamaConfig(**shape, **TEXT, **DECODER)
    build = partial(tf.LlamaForCausalLM, config)
    return Family(build, _ids(), ["q_proj", "v_proj", "down_proj"], "lm_head", "CAUSAL_LM")


def gpt2() -> Family:
    shape = {"n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 16, "vocab_size": VOCABULARY}
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = tf.GPT2Config(**shape, **no_dropout, **DECODER)
    build = partial(tf.GPT2LMHeadModel, config)
    return Family(build, _ids(), ["c_attn", "c_fc", "mlp.c_proj"], "lm_head", "CAUSAL_LM")


def vit() -> Family:
    config = tf.ViTConfig(**ENCODER, image_size=8, patch_size=4, num_channels=1)
    pixels = torch.linspace(-1, 1, 2 * 64).view(2, 1, 8, 8)
    build = partial(tf.ViTForImageClassification, config)
    return Family(
        build, {"pixel_values": pixels}, ["q_proj", "v_proj", "fc1"], "classifier", "SEQ_CLS"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Ignore the warning about names that PEFT uses and transformers 5.2x has renamed."""
    message = "ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"
    item.add_marker(pytest.mark.filterwarnings(message))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Pair bert (nn.Linear) and gpt2 (Conv1D) with each variant, the other families with one."""
    names = [name for name, _ in VARIANTS]
    if {"family", "variant"} <= {*metafunc.fixturenames}:
        pairs = [(one, name) for one in (bert, gpt2) for name in names]
        pairs += list(zip((deberta_v2, llama, vit), names, strict=True))
        ids = [f"{one.__name__}-{name}" for one, name in pairs]
        metafunc.parametrize(("family", "variant"), pairs, ids=ids, indirect=True)
    elif "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", names, indirect=True)
    elif "family" in metafunc.fixturenames:
        families = (bert, deberta_v2, llama, gpt2, vit)
        metafunc.parametrize("family", families, ids=lambda one: one.__name__, indirect=True)


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of GoftConfig that choose the method."""
    return dict(dict(VARIANTS)[request.param])


@pytest.fixture
def family(request: pytest.FixtureRequest) -> Family:
    torch.manual_seed(0)
    return request.param()


@pytest.fixture
def encoder() -> Family:
    """Return one family, for tests that do not depend on the architecture."""
    torch.manual_seed(0)
    return bert()


@pytest.fixture(params=[nn.Linear, Conv1D], ids=["Linear", "Conv1D"])
def base_layer(request: pytest.FixtureRequest) -> nn.Module:
    """Return a random layer of 12 inputs and 5 outputs."""
    torch.manual_seed(1)
    if request.param is nn.Linear:
        return nn.Linear(12, 5)
    layer = Conv1D(5, 12)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


def attach_random(model: nn.Module, targets: list[str] | str, **options: Any) -> PeftModel:  # noqa: ANN401
    torch.manual_seed(2)
    config = GoftConfig(target_modules=targets, init_weights=False, **options)
    return get_peft_model(model, config).eval()  # pyright: ignore[reportArgumentType] - any Module


@pytest.fixture(scope="session")
def attach() -> Attach:
    """Return f(model, targets, **GoftConfig options): a randomly rotated model in eval mode."""
    return attach_random


@pytest.fixture(scope="session")
def wrap() -> Wrap:
    """Return f(layer, names, **GoftConfig options): a layer with random active adapters."""

    def build(base: nn.Module, names: tuple[str, ...] = ("default",), **options: Any) -> GoftLayer:  # noqa: ANN401
        torch.manual_seed(3)
        config = GoftConfig(init_weights=False, **options)
        layer = GoftLayer(base, names[0], config)
        for name in names[1:]:
            layer.update_layer(name, config)
        layer.set_adapter(list(names))
        return layer

    return build


@pytest.fixture
def adapted(family: Family, variant: dict[str, Any]) -> PeftModel:
    """Return an adapted float64 model, so that rounding does not hide a wrong formula."""
    return attach_random(family.build().double(), family.targets, **variant)


@pytest.fixture(scope="session")
def logits() -> Logits:
    """Return f(model, family): the logits for the family's inputs, without a graph."""

    def run(model: nn.Module, family: Family) -> Tensor:
        dtype = next(model.parameters()).dtype
        inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in family.inputs.items()}
        with torch.no_grad():
            return model(**inputs).logits

    return run


@pytest.fixture(scope="session")
def assert_equal_by_algebra() -> Equal:
    """Return a check that float64 tensors agree to sqrt(eps): a network amplifies rounding."""

    def check(found: Tensor, expected: Tensor) -> None:
        bound = math.sqrt(torch.finfo(torch.float64).eps)
        assert found.dtype == expected.dtype == torch.float64
        assert (found - expected).norm() <= bound * expected.norm()

    return check
