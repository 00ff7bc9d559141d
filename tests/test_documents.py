"""The `goft` commands of the documents run, with model and data swapped for tiny ones."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from goft_cli import report
from goft_cli.cli import VERBS, WITHOUT_CONFIG
from goft_cli.command_line.recomposition import compose_train
from goft_cli.commands.train import train
from goft_cli.reproduction.recipes import select
from goft_cli.reproduction.rehearsal import SHORT, stand_ins
from tests.conftest import ROOT, Goft

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "recipes").rglob("*.md")),
]
STAND_INS = {"instruct": "tiny-llama", "vtab": "tiny-vit"}
"""The shipped model that a task's family takes, where it is not the encoder."""
LOCAL = ("model", "model.path", "task.data_dir", "launcher.num_processes")
"""Keys of a command that a rehearsal answers for itself."""
SHORTER = {"squad": ["task.max_length=128", "task.doc_stride=32"]}
"""What the shipped encoder's 128 positions ask for."""
OWN_FOLDER = "--config-dir"


def lines() -> Iterator[str]:
    """Yield the lines of shell without their comments."""
    for document in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)```", document.read_text("utf-8"), re.DOTALL):
            yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())


COMMANDS = sorted(
    {
        shlex.join(shlex.split(line, comments=True)[1:])
        for line in lines()
        if line.startswith("goft ")
    }
)
TRAINED = [c for c in COMMANDS if c.startswith("train") and "--" not in c]
OTHERS = [c for c in COMMANDS if c not in TRAINED]


def first_of_each(word: str) -> str:
    """Take the first choice of a sweep's word."""
    key, given, value = word.partition("=")
    return word if value.startswith("[") else f"{key}{given}{value.partition(',')[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAINED)
def test_a_training_of_the_documents_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "plot_curves", lambda *_: None)  # half a second, tested elsewhere
    words = [first_of_each(word) for word in shlex.split(command)[1:] if word != "-m"]
    compose_train(words)
    task = next((word for word in words if word.startswith("task=")), "task=demo/acceptability")
    family = task.removeprefix("task=").partition("/")[0]
    kept = [word for word in words if word.partition("=")[0] not in LOCAL]
    swapped = [f"model={STAND_INS.get(family, 'tiny-deberta-v3')}", "output_dir=run", *SHORT]
    swapped += SHORTER.get(family, [])
    with stand_ins(compose_train([*kept, *swapped])) as cfg:
        train(cfg)
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.parametrize("command", OTHERS)
def test_another_command_of_the_documents_is_understood(
    command: str, goft: Goft, trained: Path, tmp_path: Path
) -> None:
    words = [word.replace("$RUN", str(trained)) for word in shlex.split(command)]
    verb = words[0]
    assert verb in VERBS
    if OWN_FOLDER in words:
        write_own_task(tmp_path / words[words.index(OWN_FOLDER) + 1])
    if "outputs" in command:
        shutil.copytree(trained, tmp_path / words[1].partition("=")[2] / "run")
    if words[:2] == ["reproduce", "list"]:
        pass
    elif verb in WITHOUT_CONFIG:  # each recipe has a rehearsal of its own
        words = [verb, select(words[1])[0].name, "--rehearse", "seed=1"]
    elif "task=mmlu/full" in words or verb not in {"eval", "predict", "merge", "report"}:
        words += [] if "--cfg" in words else ["--cfg", "job"]
    answer = goft(*words)
    assert answer.code == 0, answer.err


def write_own_task(folder: Path) -> None:
    """Put the README's own YAML where it says that it is."""
    readme = DOCUMENTS[0].read_text("utf-8")
    found = re.search(r"```yaml\n# \w+/(task/\w+\.yaml)\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    target = folder / found[1]
    target.parent.mkdir(parents=True)
    target.write_text(found[2], encoding="utf-8")
