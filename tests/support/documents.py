"""The shell commands of the documents, read from their code blocks."""

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
"""Languages of code blocks that are not shell commands."""


def blocks() -> Iterator[tuple[str, str]]:
    """Yield the language and the content of every code block."""
    for document in DOCUMENTS:
        yield from re.findall(r"^```(.*)\n((?s:.*?))^```$", document.read_text("utf-8"), re.M)


def read_lines() -> set[str]:
    """Return the shell commands, with continued lines joined and each word quoted for the shell."""
    shell = "".join(content for language, content in blocks() if language == "bash")
    words = [shlex.split(line, comments=True) for line in shell.replace("\\\n", " ").splitlines()]
    return {shlex.join(line) for line in words if line}


LINES = read_lines()


def lines_of(*starts: str) -> list[str]:
    """Return the lines that start with one of these words."""
    return sorted(line for line in LINES if line.startswith(starts))


OF_LM_EVAL = "benchmark=lm_eval"
OF_SOME_RUN = {
    line
    for line in lines_of("goft ")
    if line.startswith(("goft chat ", "goft rewind "))
    or any(word in line for word in ("input=pictures", "input=prompts.txt", "init_adapter="))
    or OF_LM_EVAL in line
}
"""Lines that need a certain run, or lm-eval, which `tests/e2e/test_documents_of_runs.py` makes."""


def text_of_all() -> str:
    """Return every document, one after the other."""
    return "\n".join(document.read_text("utf-8") for document in DOCUMENTS)


def write_own_task(folder: Path) -> None:
    """Write the YAML of a user's task that a document shows, at the path given there."""
    found = re.search(r"```yaml\n# \w+/(task/\w+\.yaml)\n(.*?)```", text_of_all(), re.S)
    assert found is not None
    target = folder / found[1]
    target.parent.mkdir(parents=True)
    target.write_text(found[2], encoding="utf-8")


def write_own_data(words: Sequence[str]) -> None:
    """Write the data files that a command names, from the sample data of its task."""
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
