"""`goft rewind RUN`: score a run at fractions of its strength, and choose one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goft_cli.config import RewindConfig, TaskConfig
from goft_cli.config.model import real_name
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import note, write_json, write_text
from goft_cli.system.imports import importing
from goft_cli.system.locations import check_writable

if TYPE_CHECKING:
    from goft_cli.config.retain import RetainSpec
    from goft_cli.run.record import RunRecord
    from goft_cli.studies.rewinding import Point

STEM = "rewind"
FORMATS = ("png", "svg")


def main() -> None:
    """Compose `configs/rewind.yaml` and rewind."""
    run_composed("rewind", RewindConfig, rewind)


def rewind(cfg: RewindConfig) -> None:
    """Score the run at each strength, choose one, score it on the test split; show and write it."""
    from goft_cli.compose.references import retain_spec
    from goft_cli.run.record import RunRecord, find_run

    record = RunRecord(find_run(cfg.adapter))
    folder = Path(cfg.output_dir) if cfg.output_dir else record.folder.path
    check_writable(folder)
    judge, other = splits_of(record.cfg.task)
    wanted = None if cfg.retain is None else retain_spec(cfg.retain, record.cfg.task)
    with importing(packed=record.cfg.model.quantization is not None):
        from goft_cli.run import trained  # noqa: F401 - only now: it imports the libraries
        from goft_cli.system.screen import quiet_libraries

    with quiet_libraries():
        content = rewind_content(cfg, record, judge, other, wanted)
    write(content, folder)


def splits_of(task: TaskConfig) -> tuple[str, str | None]:
    """Return the split that chooses a strength, and an unused one to test it, if there is one.

    The first evaluation split, which picked the checkpoint, chooses. The test split is the
    headline's if it is another one, else the next.
    """
    if not task.eval_splits:
        raise GoftError(
            f"task {task.name} has no evaluation split to choose a strength on",
            "train a run on a task with one; where a task has the key, task.holdout=0.05 makes one",
        )
    judge, *others = task.eval_splits
    own = task.headline_split
    return judge, own if own in others else next(iter(others), None)


def rewind_content(
    cfg: RewindConfig, record: RunRecord, judge: str, other: str | None, wanted: RetainSpec | None
) -> dict[str, Any]:
    """Open the run and return the content of `rewind.json`."""
    from goft_cli.run.forgetting import prepare
    from goft_cli.run.trained import open_trained
    from goft_cli.studies.rewinding import check_fractions, rewind
    from goft_cli.system.screen import counting

    run = open_trained(cfg.adapter, base_model=cfg.base_model, data_dir=cfg.data_dir)
    check_fractions(run, cfg.strengths)
    data = run.load_splits([judge, *([other] if other else [])])
    splits = {
        name: run.task.split(rows, run.backbone.processor) for name, rows in data.splits.items()
    }
    retention = prepare(run, wanted, cfg.batch_size) if wanted else None
    points = rewind(run, cfg.strengths, retention, cfg.batch_size, splits[judge])
    with counting("resamples", len(points)) as advance:
        for point in points:
            _ = point.resampled
            advance(1)
    found = scores(points, greater_is_better=run.task.config.greater_is_better)
    test = None
    if other is not None:
        at = sorted({found["chosen"], 1.0})
        tests = rewind(run, at, None, cfg.batch_size, splits[other])
        lines = [described(one, tests[at.index(1)]) for one in tests]
        test = {"split": other, "rows": tests[0].rows, "points": lines}
    forgetting = retention.headline if retention else None
    return {
        "adapter": str(record.folder.path),
        "task": record.task,
        "model": real_name(record.cfg.model),
        "method": record.adapter,
        "headline": run.task.config.headline,
        "greater_is_better": run.task.config.greater_is_better,
        "head_as_trained": bool(record.metrics.get("head_parameters")),
        "split": judge,
        **found,
        "test": test,
        "forgetting": forgetting and {"name": forgetting.name, "label": forgetting.label},
        "data": dict(data.provenance),
        "data_as_recorded": run.read_same(data),
    }


def scores(points: Sequence[Point], *, greater_is_better: bool) -> dict[str, Any]:
    """Return the numbers of each point, the rule's choice, and its score on left-out rows."""
    from goft_cli.studies.rewinding import RESAMPLES, chosen, held_out

    choice = chosen(points, greater_is_better=greater_is_better)
    places = range(len(points))
    (whole,) = (place for place in places if points[place].strength == 1)
    lines = [
        {
            **described(points[place], points[whole]),
            "chosen_by": choice.picks.count(place) / len(choice.picks),
            "measures": dict(points[place].measures),
        }
        for place in places
    ]
    return {
        "rows": points[0].rows,
        "resamples": RESAMPLES,
        "points": lines,
        "chosen": choice.point.strength,
        "best": choice.best.strength,
        "held_out": {
            "chosen": held_out(points, choice.picks),
            "whole": held_out(points, [whole] * len(choice.picks)),
        },
    }


def described(point: Point, whole: Point) -> dict[str, Any]:
    """Return a point's numbers by name, and how its score differs from the whole adapter's."""
    difference, error = point.difference(whole)
    return {
        "strength": point.strength,
        "score": point.score,
        "standard_error": point.standard_error,
        "difference": difference,
        "difference_error": error,
        "forgotten": point.forgotten,
    }


def write(content: dict[str, Any], folder: Path) -> None:
    """Show the table; write it, its numbers and the figure."""
    from goft_cli.run.summary import screen
    from goft_cli.system.figures import save
    from goft_cli.verbs.rewind import show

    kinds = ("json", "md", "csv", *FORMATS)
    note(folder, *(f"{STEM}.{kind}" for kind in kinds))
    write_json(folder / f"{STEM}.json", content)
    write_text(folder / f"{STEM}.md", show.markdown(content))
    write_text(folder / f"{STEM}.csv", show.spreadsheet(content).csv())
    figure = show.draw(content)
    for kind in FORMATS:
        save(figure, folder / f"{STEM}.{kind}", dpi=200)
    screen.print(show.table(content))
    for line in show.notes(content):
        screen.print(line, style="dim", highlight=False, soft_wrap=True)
    screen.print(f"table and figure: {folder / f'{STEM}.md'}", soft_wrap=True)
