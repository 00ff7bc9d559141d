"""The documents name every model, adapter and task family; the files they name exist."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.adapter_table import tables
from tests.support.documents import DOCUMENTS, text_of_all
from tests.support.recipe_cells import CHOICES

TEXT = text_of_all()


def test_it_names_every_model() -> None:
    patterns = {*re.findall(r"`([\w.*-]+)`", TEXT)} - {"*"}
    for model in CHOICES["model"]:
        assert any(fnmatch.fnmatch(model, pattern) for pattern in patterns), model


def test_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"(?:tests|scripts|recipes|goft_cli)/[\w/.-]+\.\w+", TEXT))
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_it_names_every_adapter_and_task_family() -> None:
    for adapter in CHOICES["adapter"]:
        assert f"`{adapter}`" in TEXT
    named = set(re.findall(r"(?:task|benchmark)=\w+", TEXT))
    for task in CHOICES["task"]:
        family = task.partition("/")[0]
        assert {f"task={family}", f"benchmark={family}"} & named, family


def test_its_tables_of_adapters_are_what_the_tests_try() -> None:
    page = (ROOT / "docs" / "models-and-adapters.md").read_text(encoding="utf-8")
    assert tables() in page, "python -m tests.support.adapter_table docs/models-and-adapters.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text("utf-8")):
        path, _, heading = target.partition("#")
        named = document if not path else document.parent / path
        assert named.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", named.read_text("utf-8"), re.M)
            anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert heading in anchors, target
