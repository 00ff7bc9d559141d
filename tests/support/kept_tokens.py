"""Fixtures and helpers for tests of the cache of tokenized rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from goft_cli.system import kept
from goft_cli.tasks import tokens
from goft_cli.tasks.classification import TextClassification

SENTENCES = ["abc", "jihg", "", "a" * 20, "bd"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the cache to a folder of the test, and cache small data sets too; return the folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(kept.LIMIT, "1")
    monkeypatch.setattr(tokens, "FEW", 1)
    monkeypatch.setattr(kept, "_held", {})
    return tmp_path / "cache" / "goft-cli" / "tokens"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record each call of a tokenizer."""
    made: list[object] = []
    real = PreTrainedTokenizerBase.__call__

    def call(self: PreTrainedTokenizerBase, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        made.append(args)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(PreTrainedTokenizerBase, "__call__", call)
    return made


def content(rows: Any) -> tuple[object, pa.Table]:  # noqa: ANN401
    """Return all that a comparison needs: features, columns, types and values."""
    assert rows._indices is None
    return rows.features, rows.data.table.replace_schema_metadata(None).combine_chunks()


def uncached(monkeypatch: pytest.MonkeyPatch, encode: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return the result of `encode` with the cache switched off."""
    with monkeypatch.context() as patch:
        patch.setenv(kept.LIMIT, "0")
        return encode()


def encoded(task: TextClassification, tokenizer: Any, texts: list[str] = SENTENCES) -> Dataset:  # noqa: ANN401
    """Encode texts for a task of one text."""
    rows = Dataset.from_dict({"sentence": texts, "label": [0] * len(texts)})
    return task.encode(rows, tokenizer)
