"""Each family of models takes texts of up to its usable positions, and not one token more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLNetConfig,
)

from goft_cli.models.backbone import load_backbone
from goft_cli.tasks.families import build_task
from goft_cli.tasks.tokens import usable_positions
from tests.support import small_runs

POSITIONS = 20
SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": POSITIONS,
}
FROM_PADDING: dict[str, dict[str, Any]] = {
    "roberta": {},
    "roberta-prelayernorm": {},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "camembert": {},
    "data2vec-text": {},
    "xmod": {"default_language": "en_XX"},
    "ibert": {},
    "longformer": {"attention_window": [4]},
    "markuplm": {"max_depth": 2},
    "lilt": {"hidden_size": 24},
    "luke": {"entity_vocab_size": 5},
    "esm": {"mask_token_id": 4, "position_embedding_type": "absolute"},
    "mpnet": {},  # its padding is 1, whatever the configuration says
}
"""Families that number the tokens from `padding_idx + 1` on, and the options that they need."""
FROM_ZERO = ["bert", "electra", "deberta", "deberta-v2", "albert"]
WORD = 7


def tiny(family: str, **more: Any) -> PreTrainedModel:  # noqa: ANN401
    config = AutoConfig.for_model(family, **{**SIZES, **more})
    return AutoModelForSequenceClassification.from_config(config).eval()


def takes(model: PreTrainedModel, length: int) -> bool:
    """Return whether the model has positions for `length` tokens."""
    ids = torch.full((2, length), WORD)
    try:
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    except (IndexError, RuntimeError):
        return False
    assert logits.isfinite().all()
    return True


@pytest.mark.parametrize("family", FROM_PADDING)
def test_positions_that_start_after_the_padding(family: str) -> None:
    for padding in (0, 3):
        model = tiny(family, pad_token_id=padding, **FROM_PADDING[family])
        length = POSITIONS - 1 - (1 if family == "mpnet" else padding)
        assert usable_positions(model) == length
        assert takes(model, length)
        assert not takes(model, length + 1)


@pytest.mark.parametrize("family", FROM_ZERO)
def test_positions_that_start_at_zero(family: str) -> None:
    model = tiny(family, pad_token_id=3)
    assert usable_positions(model) == POSITIONS
    assert takes(model, POSITIONS)
    assert not takes(model, POSITIONS + 1)


@pytest.mark.parametrize(
    "config",
    [
        DebertaV2Config(**SIZES, position_biased_input=False, relative_attention=True),
        XLNetConfig(vocab_size=50, d_model=16, n_layer=1, n_head=2, d_inner=16),
    ],
    ids=lambda config: config.model_type,
)
def test_distances_have_no_end(config: PreTrainedConfig) -> None:
    model = AutoModelForSequenceClassification.from_config(config).eval()
    assert usable_positions(model) is None
    assert takes(model, 3 * POSITIONS)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model's folder whose tokenizer, like many, states no maximum length."""
    folder = small_runs.write_model(tmp_path_factory.mktemp("roberta"))
    RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=0)).save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"model_max_length": 32', '"unused": 32'))
    return folder


@pytest.mark.parametrize("wanted", [POSITIONS - 1, POSITIONS, 512])
def test_a_long_text_is_cut_where_the_positions_end(
    wanted: int, roberta: Path, tmp_path: Path
) -> None:
    words = small_runs.overrides(roberta, tmp_path, tmp_path, f"task.max_length={wanted}")
    cfg = small_runs.composed([*words, "model.architecture=roberta"])
    task = build_task(cfg.task)
    backbone = load_backbone(cfg.model, task)
    encoded = task.encode(task.read_text("the dog runs . " * 300), backbone.processor)
    batch = task.collate(backbone.processor)([encoded[0]])
    assert batch["input_ids"].shape == (1, POSITIONS - 1)
    assert backbone.model.eval()(**batch).logits.isfinite().all()
