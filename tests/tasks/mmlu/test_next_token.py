"""With the common prefix computed once, the logits are those of whole prompts one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, set_seed

from goft_cli.tasks.mmlu.next_token import by_length, common_length, next_token_logits
from goft_cli.training.evaluation import tolerance

VOCABULARY = 40
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": SHAPE | {"num_key_value_heads": 2},
    "mistral": SHAPE | {"num_key_value_heads": 2, "sliding_window": 5},  # shorter than the prompts
    "qwen2": SHAPE | {"num_key_value_heads": 4},
    "gpt2": {
        "vocab_size": VOCABULARY,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
}
TOKENS = [3, 1, 7, 39]


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """Return a model of each architecture with random weights."""
    set_seed(0)
    config = AutoConfig.for_model(request.param, **CONFIGS[request.param])
    return AutoModelForCausalLM.from_config(config).eval()


def prompts(common: int, lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    """Return random prompts whose first `common` tokens are the same."""
    generator = np.random.default_rng(seed)
    head = generator.integers(1, VOCABULARY, common)
    ends = [generator.integers(1, VOCABULARY, length) for length in lengths]
    return [np.concatenate([head, end]).astype(np.int32) for end in ends]


def logits(model: PreTrainedModel, asked: list[np.ndarray], *, cache_prefix: bool) -> torch.Tensor:
    return next_token_logits(
        model, asked, TOKENS, batch_size=3, cache_prefix=cache_prefix, advance=lambda _: None
    )


@torch.no_grad()
def one_by_one(model: PreTrainedModel, asked: list[np.ndarray]) -> torch.Tensor:
    rows = [
        model(torch.as_tensor(ids, dtype=torch.long)[None]).logits[0, -1, TOKENS] for ids in asked
    ]
    return torch.stack(rows)


def allowed(model: PreTrainedModel, reference: torch.Tensor) -> float:
    layers = sum(isinstance(module, nn.Linear) for module in model.modules())
    return tolerance(torch.float32, layers) * max(1.0, float(reference.square().mean().sqrt()))


@pytest.mark.parametrize("common", [0, 1, 9])
@pytest.mark.parametrize("cache_prefix", [False, True])
def test_every_way_gives_the_logits_of_the_whole_prompt(
    model: PreTrainedModel, common: int, cache_prefix: bool
) -> None:
    asked = prompts(common, [4, 1, 12, 7, 7, 2, 12])
    expected = one_by_one(model, asked)
    found = logits(model, asked, cache_prefix=cache_prefix)
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed(model, expected))
    assert found.argmax(-1).tolist() == expected.argmax(-1).tolist()


@pytest.mark.parametrize("model", ["llama"], indirect=True)
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 20), st.lists(st.integers(1, 20), min_size=1, max_size=7), st.integers(0, 99))
def test_the_two_ways_agree_on_any_prompts(
    model: PreTrainedModel, common: int, lengths: list[int], seed: int
) -> None:
    asked = prompts(common, lengths, seed)
    expected = logits(model, asked, cache_prefix=False)
    found = logits(model, asked, cache_prefix=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed(model, expected))


@pytest.mark.parametrize("model", ["llama"], indirect=True)
def test_the_beginning_runs_once_and_only_last_logits_are_made(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, ...]] = []
    seen: list[int] = []
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert head is not None
    hooks = [
        head.register_forward_hook(lambda *call: made.append(tuple(call[2].shape))),
        embeddings.register_forward_hook(lambda *call: seen.append(call[1][0].numel())),
    ]
    asked = prompts(20, [3] * 6)
    logits(model, asked, cache_prefix=True)
    for hook in hooks:
        hook.remove()
    assert made == [(1, 1, VOCABULARY), (3, 1, VOCABULARY), (3, 1, VOCABULARY)]
    assert seen == [20, 9, 9]


def test_the_common_beginning_leaves_every_prompt_a_token() -> None:
    same = np.arange(1, 6)
    assert common_length([same, same]) == 4
    assert common_length([same, same[:3]]) == 2
    assert common_length([same, np.array([1, 2, 9, 9])]) == 2
    assert common_length([same[:1], same]) == 0
    assert common_length([np.array([7, 2]), same]) == 0


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 9))
def test_batches_hold_every_prompt_once_the_longest_first(lengths: list[int], size: int) -> None:
    batches = list(by_length([np.zeros(length) for length in lengths], size))
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[row] for row in order] == sorted(lengths, reverse=True)
    assert len(batches) == math.ceil(len(lengths) / size)
    assert max(map(len, batches)) <= size
