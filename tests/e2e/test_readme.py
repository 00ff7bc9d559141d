"""The README names tests, models, scripts and files that exist."""

from __future__ import annotations

import fnmatch
import re

from tests.conftest import ROOT
from tests.support.recipe_cells import CHOICES

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_names_every_model() -> None:
    patterns = {*re.findall(r"`([\w.*-]+)`", README)} - {"*"}
    for model in CHOICES["model"]:
        assert any(fnmatch.fnmatch(model, pattern) for pattern in patterns), model


def test_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"(?:tests|scripts|recipes|goft_cli)/[\w/.-]+\.\w+", README))
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_it_names_every_adapter_and_task_family() -> None:
    for adapter in CHOICES["adapter"]:
        assert f"`{adapter}`" in README
    named = set(re.findall(r"(?:task|benchmark)=\w+", README))
    for task in CHOICES["task"]:
        family = task.partition("/")[0]
        assert {f"task={family}", f"benchmark={family}"} & named, family
