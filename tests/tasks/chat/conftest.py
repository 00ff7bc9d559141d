"""A fixture that makes a chat task which reads a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goft_cli.config import ChatConfig, DatasetConfig
from goft_cli.tasks.chat import Chat


@pytest.fixture
def make_chat(tmp_path: Path) -> Callable[..., Chat]:
    """Build a task that reads `tmp_path`; keywords replace its fields."""

    def make(**changes: object) -> Chat:
        fields: dict[str, Any] = {
            "name": "made-up",
            "dataset": DatasetConfig(id="nobody/nothing"),
            "data_dir": str(tmp_path),
            "eval_splits": [],
            "headline_split": "train_sample",
            "max_length": 256,
            **changes,
        }
        return Chat(ChatConfig(**fields))

    return make
