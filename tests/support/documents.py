"""What the documents tell a reader to type: the lines of their blocks of shell."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas

from tests.conftest import ROOT
from tests.support.recipe_cells import own_data

README = ROOT / "README.md"
FOLDERS = [ROOT / "recipes", ROOT / "docs"]
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    *sorted(path for folder in FOLDERS for path in folder.rglob("*.md")),
]
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


OF_SOME_RUN = {
    line
    for line in lines_of("goft chat ", "goft rewind ", "goft predict ", "goft train ")
    if line.startswith(("goft chat ", "goft rewind "))
    or any(word in line for word in ("input=pictures", "input=prompts.txt", "init_adapter="))
}
"""Lines that need a run of a certain kind, which `tests/e2e/test_documents_of_runs.py` makes."""


def text_of_all() -> str:
    """Return every document, one after the other."""
    return "\n".join(document.read_text("utf-8") for document in DOCUMENTS)


def write_own_task(folder: Path) -> None:
    """Put the YAML of an own task, which a document shows, where it says that it is."""
    found = re.search(r"```yaml\n# \w+/(task/\w+\.yaml)\n(.*?)```", text_of_all(), re.S)
    assert found is not None
    target = folder / found[1]
    target.parent.mkdir(parents=True)
    target.write_text(found[2], encoding="utf-8")


def write_own_data(words: Sequence[str]) -> None:
    """Put the files that a command names where it names them, with the sample of its task."""
    named = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    task = named.get("task", "")
    places = [Path(named[key]) for key in ("data", "validation") if key in named]
    for probe in re.findall(r"probe: (\S+\.csv)", named.get("retain", "")):
        shutil.copyfile(own_data("own/classification"), probe)
    for place in places if task.startswith("own/") else []:
        sample = own_data(task)
        if sample.is_dir():
            shutil.copytree(sample, place, dirs_exist_ok=True)
        elif sample.suffix == place.suffix:
            shutil.copyfile(sample, place)
        else:
            pandas.read_csv(sample).to_csv(place, sep="\t", index=False)
