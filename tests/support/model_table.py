"""Test `model=auto` with each family of `small_families`, and make the table of the outcomes.

python -m tests.support.model_table docs/model-families.md     # rewrites the table
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from goft_cli.config import ImageClassificationConfig, MergeConfig
from goft_cli.config.decoding import Decoding
from goft_cli.run import pipeline
from goft_cli.run.trained import open_trained
from goft_cli.system.errors import GoftError
from goft_cli.verbs.merge import merge
from goft_cli.verbs.plan.layers import adapted_layers, attached
from goft_cli.verbs.reproduce.rehearsal import stand_ins
from tests.support.small_families import FAMILIES, write_family
from tests.support.small_runs import composed

TASKS = {
    "text classification": "demo/acceptability",
    "question answering": "demo/qa",
    "generation": "demo/instructions",
    "image classification": "demo/digits",
}
WORKS, NO_HEAD = "works", "-"
HEADER = """# Models that `model=auto` takes

```bash
goft train model=auto model.path=./my-model task=glue/cola
```

Each cell is a test, `tests/models/test_any_model.py`: a small model of the family with random
weights, written as it is published, goes through `goft train` with GOFT, is loaded again, predicts,
and is merged into a plain model that transformers reads. "-": transformers has no such head, which
is said before the training. A number: refused before the training, with the sentence below. The
layers are those of a block that the adapter is on, or of all blocks where they are not numbered
alike. None of this says anything about accuracy.

"""


def outcome(family: str, task: str, folder: Path) -> str:
    """Train, load, predict and merge a family's model; return `WORKS`, or why it is refused."""
    model = write_family(family, folder / "model")
    words = [
        "model=auto",
        f"model.path={model}",
        f"task={task}",
        "task.eval_splits=[validation]",
        "task.headline_split=validation",
        "task.max_train_samples=8",
        "task.max_eval_samples=8",
        "trainer.max_steps=1",
        "trainer.per_device_train_batch_size=8",
        "trainer.learning_rate=0.05",
        "trainer.use_cpu=true",
        f"output_dir={folder / 'run'}",
    ]
    try:
        given = composed(words)
        # the demo's digits are read from a list for each split, which a rehearsal does not write
        images = isinstance(given.task, ImageClassificationConfig)
        with nullcontext(given) if images else stand_ins(given) as cfg:
            use(pipeline.run(cfg), folder / "merged")
    except GoftError as refusal:
        assert not (folder / "run").exists()
        problem = str(refusal).replace(str(model), "DIR")
        return NO_HEAD if "which has no" in problem else problem
    return WORKS


def use(run: Path, target: Path) -> None:
    """Load the trained run, predict and merge."""
    trained = open_trained(str(run), base_model=None)
    rows = trained.load_splits(["validation"]).splits["validation"].select(range(3))
    (_, predicted), *_ = trained.predict(rows, batch_size=2, decoding=Decoding(max_new_tokens=2))
    assert len(predicted) == 3
    merge(MergeConfig(adapter=str(run), output_dir=str(target), samples=4))
    scores = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert scores["model"] == "model", "the folder's name"


def layers(family: str, task: str, folder: Path) -> list[str]:
    """Return the names of the layers that the adapter is on, each once."""
    model = folder if folder.exists() else write_family(family, folder)
    cfg = composed(["model=auto", f"model.path={model}", f"task={task}"])
    found = adapted_layers(attached(cfg, cfg.adapter), [])
    return [*dict.fromkeys(layer.name for layer in found)]


def table(cells: dict[tuple[str, str], str], adapted: dict[str, list[str]]) -> str:
    """Return the outcomes by family and kind of task as a Markdown page."""
    refusals = [*dict.fromkeys(cell for cell in cells.values() if cell not in {WORKS, NO_HEAD})]
    rows = [
        [family, f"`{FAMILIES[family].kind}`", ", ".join(f"`{name}`" for name in adapted[family])]
        + [
            str(refusals.index(c) + 1) if (c := cells[family, kind]) in refusals else c
            for kind in TASKS
        ]
        for family in FAMILIES
    ]
    columns = ["family", "`model_type`", "layers", *TASKS]
    lines = [columns, ["---"] * len(columns), *rows]
    listed = [f"{number}. {text}" for number, text in enumerate(refusals, 1)]
    return HEADER + "\n".join([f"| {' | '.join(line)} |" for line in lines] + ["", *listed]) + "\n"


def main(path: Path) -> None:
    """Test every family with every kind of task, and write the table."""
    cells: dict[tuple[str, str], str] = {}
    adapted: dict[str, list[str]] = {}
    for family in FAMILIES:
        for kind, task in TASKS.items():
            with tempfile.TemporaryDirectory() as folder:
                cells[family, kind] = outcome(family, task, Path(folder))
                if cells[family, kind] == WORKS:
                    adapted[family] = layers(family, task, Path(folder, "model"))
        adapted.setdefault(family, [])
    path.write_text(table(cells, adapted), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
