"""The tables of `docs/models-and-adapters.md`, made from the marks and parameters of the tests.

python -m tests.support.adapter_table docs/models-and-adapters.md     # rewrites the tables

A test marked `feature(NAME)` tests the feature with each adapter in its own parameter `adapter` or
`method`. A test without such a parameter names its adapters, as in `feature(NAME, "goft")`. The
keyword `refused` names the adapters for which the test expects a refusal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.support.architectures import (
    CAUSAL_LM,
    IMAGE_CLASSIFICATION,
    QUESTION_ANSWERING,
    SEQUENCE_CLASSIFICATION,
    architecture,
)
from tests.support.recipe_cells import CHOICES, MODELS, inherited, model_cell
from tests.support.small_families import FAMILIES

FEATURES = {
    "text": "`goft train` on texts with labels: the adapter trains, is saved, loaded and merged",
    "QA": "the same on questions whose answers are spans of a text",
    "generation": "the same on a language model",
    "images": "the same on images",
    "strength": "`strength=0.5` is between the base model and the adapter, 0 is the base model",
    "as LoRA": "`goft merge as_lora=RANK` at full rank gives the adapter's outputs",
    "undo": "`goft merge undo=true` gives the base model back from the merged one",
    "several": "`goft predict adapters=...` gives each row its own run's prediction",
    "4 bit": "`model.quantization=4bit` leaves the packed weights as they are",
    "checkpointing": "`trainer.gradient_checkpointing=true` leads to the same weights",
    "DDP": "two processes lead to the weights of one",
    "sharded": "FSDP2, ZeRO-2 and ZeRO-3 on two processes lead to the weights of one",
    "compiled": "`trainer.torch_compile=true` trains, loads and merges",
}
"""The features that a mark may name, and what a test of each one shows."""
HEADS = {
    SEQUENCE_CLASSIFICATION: "text classification",
    QUESTION_ANSWERING: "question answering",
    CAUSAL_LM: "generation",
    IMAGE_CLASSIFICATION: "image classification",
}
BEGIN, END = "<!-- written by tests.support.adapter_table -->", "<!-- end of the tables -->"


@dataclass
class Tried:
    """The tested adapters, the refused adapters and the test files of one feature."""

    adapters: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


def parameters(marks: list[Any]) -> Iterator[str]:
    """Yield the adapters with which a test is parametrized."""
    for mark in marks:
        if mark.name == "parametrize" and mark.args[0] in {"adapter", "method"}:
            for value in mark.args[1]:
                yield value if isinstance(value, str) else value.values[0]


def tried() -> dict[str, Tried]:
    """Return the tested adapters and the test files of each feature."""
    found = {name: Tried() for name in FEATURES}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "mark.feature(" not in path.read_text(encoding="utf-8"):
            continue
        file = path.relative_to(ROOT)
        module = import_module(".".join(file.with_suffix("").parts))
        for test in vars(module).values():
            marks = [*getattr(test, "pytestmark", [])] if callable(test) else []
            for mark in (one for one in marks if one.name == "feature"):
                name, *adapters = mark.args
                refused = {*mark.kwargs.get("refused", ())}
                feature = found[name]
                feature.adapters |= {*adapters, *parameters(marks)} & {*CHOICES["adapter"]}
                feature.adapters -= refused
                feature.refused |= refused
                feature.files.add(str(file))
    return found


def as_markdown(lines: list[list[str]]) -> str:
    """Return rows as a Markdown table; the first row is the header."""
    rule = ["---"] * len(lines[0])
    return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], rule, *lines[1:]])


def adapters_by_features() -> str:
    """Return a table with a row for each adapter, and a table that explains its columns."""
    found = tried()
    lines = [["`adapter=`", *FEATURES]]
    for adapter in CHOICES["adapter"]:
        cells = [
            "yes" if adapter in one.adapters else "no" if adapter in one.refused else ""
            for one in found.values()
        ]
        lines.append([f"`{adapter}`", *cells])
    shown = [["column", "what is shown", "test"]]
    for name, text in FEATURES.items():
        shown.append([name, text, ", ".join(f"`{file}`" for file in sorted(found[name].files))])
    return f"{as_markdown(lines)}\n{as_markdown(shown)}"


def families_by_heads() -> str:
    """Return a table with a row for each model family that has YAMLs: the adapters on each head."""
    from tests.models.test_models import FIRST, FOLLOWED

    kinds = {family.kind: name for name, family in FAMILIES.items()} | {"distilbert": "DistilBERT"}
    rows: dict[str, dict[str, set[str]]] = {}
    names: dict[str, list[str]] = {}
    for model in MODELS:
        names.setdefault(inherited(f"/model/{model}").architecture, []).append(f"`{model}`")
    for model, adapter in FOLLOWED:
        head = architecture(model_cell(model).model).heads[0]
        kind = inherited(f"/model/{model}").architecture
        rows.setdefault(kind, {}).setdefault(HEADS[head], set()).add(adapter)
    for model in FIRST:
        for head in architecture(model_cell(model).model).heads[1:]:
            rows[inherited(f"/model/{model}").architecture].setdefault(HEADS[head], {"goft"})
    lines = [["family", "`model=`", *HEADS.values()]]
    for kind, cells in sorted(rows.items(), key=lambda row: kinds[row[0]]):
        held = [", ".join(sorted(cells.get(head, ()))) or "-" for head in HEADS.values()]
        lines.append([kinds[kind], ", ".join(names[kind]), *held])
    return as_markdown(lines)


def tables() -> str:
    """Return the two tables, between the marks of the page."""
    return f"{BEGIN}\n\n{families_by_heads()}\n{adapters_by_features()}\n{END}"


def main(path: Path) -> None:
    """Replace the tables between the marks of a document."""
    text = path.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    path.write_text(f"{before}{tables()}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
