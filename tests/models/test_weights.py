"""Weights load the same from every form of published files, in the configured precision."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from goft_cli.config import Dtype, ModelConfig
from goft_cli.models.backbone import load_backbone
from tests.support import small_runs
from tests.support.small_runs import Head
from tests.support.stored_models import FORMS, store_as


def of(folder: Path, dtype: Dtype = Dtype.float32) -> ModelConfig:
    heads = ["pooler", "classifier"]
    return ModelConfig(
        "small", str(folder), target_modules=["query"], head_modules=heads, dtype=dtype
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_every_form_gives_the_weights_in_float32(
    form: str, stored: torch.dtype, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = small_runs.write_model(tmp_path / "model")
    published = store_as(form, folder, stored)
    with caplog.at_level(logging.INFO):
        model = load_backbone(of(folder), Head()).model
    for name, found in model.state_dict().items():
        assert found.dtype == torch.float32
        assert torch.equal(found, published[name].to(stored).float())
    assert ("pytorch_model.bin" in caplog.text) is ("pickle" in form)


def test_another_precision_is_had_for_the_asking(tmp_path: Path) -> None:
    folder = small_runs.write_model(tmp_path / "model")
    store_as("pickle", folder, torch.float16)
    model = load_backbone(of(folder, Dtype.bfloat16), Head()).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_safetensors_come_before_a_pickle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = small_runs.write_model(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    with caplog.at_level(logging.INFO):
        load_backbone(of(folder), Head())
    assert "pytorch_model.bin" not in caplog.text
