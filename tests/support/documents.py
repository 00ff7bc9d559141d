"""What the documents tell a reader to type: the lines of their blocks of shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "recipes").rglob("*.md"))]
OTHER_LANGUAGES = {"python", "yaml", "text", "bibtex"}
"""Of blocks that nobody types into a shell."""


def blocks() -> Iterator[tuple[str, str]]:
    """Yield language and content of every block of code."""
    for document in DOCUMENTS:
        yield from re.findall(r"^```(.*)\n((?s:.*?))^```$", document.read_text("utf-8"), re.M)


def read_lines() -> set[str]:
    """Return the lines of shell, continued ones joined, each word quoted as it must be."""
    shell = "".join(content for language, content in blocks() if language == "bash")
    words = [shlex.split(line, comments=True) for line in shell.replace("\\\n", " ").splitlines()]
    return {shlex.join(line) for line in words if line}


LINES = read_lines()


def lines_of(*starts: str) -> list[str]:
    """Return the lines that start with one of these words."""
    return sorted(line for line in LINES if line.startswith(starts))


def write_own_task(folder: Path) -> None:
    """Put the README's own YAML where it says that it is."""
    found = re.search(r"```yaml\n# \w+/(task/\w+\.yaml)\n(.*?)```", README.read_text("utf-8"), re.S)
    assert found is not None
    target = folder / found[1]
    target.parent.mkdir(parents=True)
    target.write_text(found[2], encoding="utf-8")
