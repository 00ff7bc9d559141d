"""The shipped tiny models load offline, are small, and are pretrained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils import Bunch
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedImageModeling,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

import goft_cli
from scripts.demo_rows.acceptability import corpus
from scripts.demo_rows.facts import texts
from scripts.tiny_models import encoder

ASSETS = Path(goft_cli.__file__).parent / "assets"
HEADS = {
    "tiny-deberta-v3": (AutoModelForSequenceClassification, "DebertaV2ForSequenceClassification"),
    "tiny-llama": (AutoModelForCausalLM, "LlamaForCausalLM"),
    "tiny-vit": (AutoModelForImageClassification, "ViTForImageClassification"),
}
FRESH_SEED = 12345  # not the seed of the pretraining


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("name", HEADS)
def test_loads_with_its_task_head(name: str) -> None:
    auto, architecture = HEADS[name]
    model = auto.from_pretrained(ASSETS / name)
    assert type(model).__name__ == architecture
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", HEADS)
def test_files_are_small_readable_and_free_of_pickles(name: str) -> None:
    files = [path for path in (ASSETS / name).iterdir() if path.is_file()]
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pkl", ".h5", ".msgpack"}]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert [path.name for path in weights] == ["model.safetensors"]
    assert 0.5e6 <= weights[0].stat().st_size <= 1.6e6
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files)
    card = (ASSETS / name / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card
    assert f"--only {name}" in card


def test_encoder_is_configured_as_debertav3() -> None:
    config = AutoModelForSequenceClassification.from_pretrained(ASSETS / "tiny-deberta-v3").config
    assert config.relative_attention
    assert config.share_att_key
    assert not config.position_biased_input
    assert set(config.pos_att_type) == {"p2c", "c2p"}
    assert (config.norm_rel_ebd, config.type_vocab_size) == ("layer_norm", 0)


@pytest.mark.parametrize(
    "line", ["The dogs sleep.", "Zyzzyva-42 & ÉCOLE, (qwerty)!", "", "naïve façade; 3.14"]
)
def test_encoder_tokenizer_spells_any_english(line: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "tiny-deberta-v3")
    encoded = tokenizer(line, "A dog.")
    ids = encoded["input_ids"]
    assert set(encoded) == {"input_ids", "attention_mask"}
    assert ids[0] == tokenizer.cls_token_id
    assert ids.count(tokenizer.sep_token_id) == 2
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.model_max_length == 128


def test_encoder_tokenizer_knows_the_whole_grammar() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "tiny-deberta-v3")
    tokens = {token for line in corpus(300, FRESH_SEED) for token in tokenizer.tokenize(line)}
    assert not [token for token in tokens if token.startswith("##")]


@pytest.mark.parametrize("line", ["The dogs sleep.", "日本語 🙂 naïve\n\tx", " two  spaces "])
def test_decoder_tokenizer_is_lossless(line: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "tiny-llama")
    ids = tokenizer(line)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == line


def _random_twin(model: PreTrainedModel) -> PreTrainedModel:
    torch.manual_seed(0)
    return type(model)(model.config).eval()


def _masked_loss(model: PreTrainedModel, ids: torch.Tensor, mask_id: int) -> float:
    """Return the cross-entropy at every fifth position, where the tokens are masked."""
    places = torch.zeros_like(ids, dtype=torch.bool)
    places[:, 2::5] = True
    places &= ids > mask_id
    with torch.no_grad():
        return model(
            input_ids=ids.masked_fill(places, mask_id),
            attention_mask=(ids != 0).long(),
            labels=ids.masked_fill(~places, -100),
        ).loss.item()


def test_encoder_was_pretrained() -> None:
    folder = ASSETS / "tiny-deberta-v3"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder)
    lines = list(corpus(200, FRESH_SEED))
    ids = tokenizer(lines, padding=True, return_tensors="pt")["input_ids"]
    trained = _masked_loss(model, ids, tokenizer.mask_token_id)
    random = _masked_loss(_random_twin(model), ids, tokenizer.mask_token_id)
    assert trained < 0.45 * random


def test_decoder_was_pretrained() -> None:
    folder = ASSETS / "tiny-llama"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    lines = [*corpus(100, FRESH_SEED), *texts(100, FRESH_SEED)]
    batch = tokenizer(lines, padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    with torch.no_grad():
        trained = model(**batch, labels=labels).loss.item()
        random = _random_twin(model)(**batch, labels=labels).loss.item()
    assert trained < 0.3 * random


@pytest.fixture
def _torch_settings() -> Iterator[None]:
    """Restore torch's threads and kernels, which the script sets for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_torch_settings")
def test_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    weights = []
    for folder in ("first", "second"):
        outcome = encoder.make(tmp_path / folder, seed=0, steps=3)
        assert outcome.held_out < outcome.untrained
        weights.append((tmp_path / folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def _digits(count: int) -> torch.Tensor:
    """Return the last digits, which the pretraining has not seen, as (count, 3, 32, 32)."""
    processor = AutoImageProcessor.from_pretrained(ASSETS / "tiny-vit")
    grey = (cast(Bunch, load_digits()).images[-count:] * (255 / 16)).astype(np.uint8)
    images = [np.repeat(image[..., None], 3, axis=2) for image in grey]
    return processor(images=images, return_tensors="pt")["pixel_values"]


def test_vision_model_was_pretrained() -> None:
    pixels = _digits(64)
    assert pixels.shape == (64, 3, 32, 32)
    assert pixels.min() >= -1
    assert pixels.max() <= 1
    model = AutoModelForMaskedImageModeling.from_pretrained(ASSETS / "tiny-vit")
    hidden = (torch.arange(64) % 2 == 0).expand(64, 64)
    with torch.no_grad():
        trained = model(pixel_values=pixels, bool_masked_pos=hidden).loss.item()
        random = _random_twin(model)(pixel_values=pixels, bool_masked_pos=hidden).loss.item()
    assert trained < 0.5 * random
