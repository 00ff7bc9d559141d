"""A sentence is shown once on the screen and logged each time in the file, without tokens."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from goft_cli.system.screen import logging_to


def test_a_sentence_is_once_on_the_screen_and_as_often_as_said_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "s" * 30)
    path, screen = tmp_path / "new" / "run.log", io.StringIO()
    with logging_to(path, Console(file=screen, width=200)):
        for _ in range(2):
            logging.getLogger("goft_cli.tasks.families").warning("cut at %d tokens", 32)
            logging.getLogger("goft_cli.tasks.families").info("token hf_%s", "s" * 30)
            logging.getLogger("transformers").warning("a \x1b[1mlibrary's\x1b[0m own")
    shown, written = screen.getvalue(), path.read_text()
    assert shown.count("cut at 32 tokens") == 1
    assert written.count("WARNING goft_cli.tasks.families: cut at 32 tokens") == 2
    assert ("a library's own" in shown, written.count("a library's own")) == (False, 2)
    assert "ssss" not in shown + written
