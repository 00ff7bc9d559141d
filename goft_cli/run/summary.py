"""Output of a run for people: recipe, scores and measurements, predictions, curves."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from goft_cli.config import HELD_OUT, ImageClassificationConfig, TaskConfig, TrainConfig
from goft_cli.config.labels import alike
from goft_cli.config.model import real_name
from goft_cli.config.task import UNTUNED, DatasetConfig, OwnDataConfig
from goft_cli.data.writers import write_json_lines
from goft_cli.run.by_class import SHOWN_CLASSES, class_table, describe_baseline
from goft_cli.run.folder import RunFolder
from goft_cli.system.figures import legend, save, style
from goft_cli.system.files import note, read_json, write_text, written_aside
from goft_cli.system.palette import look_of
from goft_cli.system.tables import Table, measures, spaced, styled

if TYPE_CHECKING:  # they import the libraries, which showing a finished run does not need
    from datasets import Dataset

    from goft_cli.tasks.base import Arrays, Split, Task

logger = logging.getLogger(__name__)
screen = Console()

Deviations = Mapping[str, tuple[int, int]]
WRITTEN_ROWS = 1000
"""Rows that are turned into lines at a time."""
SHOWN = 8
"""Names in a line of the log."""


def announce(cfg: TrainConfig, deviations: Deviations, sampled: Deviations) -> None:
    """Log the recipe, what was overridden, and whether the data is the benchmark, or a sample."""
    logger.info(
        "%s on %s with %s, seed %d", real_name(cfg.model), cfg.task.name, cfg.adapter.name, cfg.seed
    )
    if cfg.task.own is not None:
        logger.info("data: %s", describe_own(cfg.task, cfg.task.own))
        for line in describe_alike(getattr(cfg.task, "labels", [])):
            logger.warning(line)
    logger.info("recipe: %s", describe_recipe(cfg))
    for line in describe_deviations(deviations):
        logger.warning(line)
    for name, (rows, total) in sampled.items():
        logger.info("%s: a sample of %d of %d rows", name, rows, total)


def describe_own(task: TaskConfig, own: OwnDataConfig) -> str:
    """Return what was detected in the user's own data, and the keys that override it."""
    found = [str(task.data_dir or getattr(task, "dataset", DatasetConfig()).id)]
    for key in ("text_columns", "label_column", "labels"):
        values = getattr(task, key, None)
        named = values if isinstance(values, list) else [values] if values else []
        if named:
            more = f", ... ({len(named)} in all)" if len(named) > SHOWN else ""
            found.append(f"{key} {', '.join(named[:SHOWN])}{more}")
    return "; ".join([*found, f"validation {own.validation or validation_of(task, own)}"])


def describe_alike(labels: Sequence[str]) -> Iterator[str]:
    """Yield a warning for labels that differ only in case, and how to make them one class."""
    groups = alike(labels)
    others = {name for group in groups for name in group[:-1]}
    one_each = json.dumps([name for name in labels if name not in others], ensure_ascii=False)
    for group in groups:
        yield (
            f"{', '.join(group)} are {len(group)} classes; to make them one, spell them alike, or "
            f"pass {shlex.quote(f'task.labels={one_each}')}"
        )


def validation_of(task: TaskConfig, own: OwnDataConfig) -> str:
    """Return where the validation rows come from if no file of them is named."""
    from goft_cli.data.own import find_files
    from goft_cli.data.own_images import find_images

    find = find_images if isinstance(task, ImageClassificationConfig) else find_files
    place = None if task.data_dir is None else Path(task.data_dir).expanduser()
    stored = place is not None and HELD_OUT in find(place, own)
    share = f"{own.split:.0%} of the rows, held out"
    return (
        "in files of its own" if stored else share if place else f"its own split, or else {share}"
    )


def describe_recipe(cfg: TrainConfig) -> str:
    """Return the recipe's source, its model, and the values that differ from it."""
    recipe, adapter = cfg.task.recipe, cfg.adapter
    row = recipe.by_adapter.get(adapter.recipe)
    described = recipe.source
    if row is None and recipe.source != UNTUNED:
        described += f"; no row for {adapter.name}, so its default learning rate"
    name = real_name(cfg.model)
    if recipe.source == UNTUNED:
        described = "untuned starting values; to tune, try -m trainer.learning_rate=1e-3,3e-3,1e-2"
    elif recipe.model and (recipe.model != cfg.model.recipe or name != cfg.model.name):
        described += f"; tuned for {recipe.model}, not for {name}"
    overridden = [
        f"{key} {value} -> {actual}"
        for key, value in {**recipe.shared, **(row or {})}.items()
        if (actual := getattr(cfg.trainer, key, getattr(adapter, key, value))) != value
    ]
    return described + ("; overridden: " + ", ".join(overridden) if overridden else "")


def describe_deviations(deviations: Deviations) -> list[str]:
    """Return one sentence per split that is not the benchmark's."""
    return [
        f"not the benchmark: {split} has {found} rows, the published split has {expected}"
        for split, (found, expected) in deviations.items()
    ]


def show_summary(folder: RunFolder, metrics: Mapping[str, Any], deviations: Deviations) -> None:
    """Print the table at the end of a run."""
    screen.print(summary_table(metrics))
    if folder.classes.is_file():
        show_classes(read_json(folder.classes))
    for line in [*describe_deviations(deviations), *describe_baseline(metrics)]:
        screen.print(line, style="yellow", soft_wrap=True)
    screen.print(f"run folder: {folder.path}", soft_wrap=True)


def show_classes(found: Mapping[str, Any]) -> None:
    """Print a line for each class, if there are at most `SHOWN_CLASSES`."""
    if len(found["classes"]) <= SHOWN_CLASSES:
        screen.print(class_table(found))


def show_finished(folder: RunFolder, gone: Sequence[str] = ()) -> None:
    """Say that there is nothing to do, and show the run; `gone` are files that it used."""
    screen.print("this run is already finished; overwrite=true trains it again")
    for name in gone:
        screen.print(f"no longer there, and not compared: {name}", style="yellow", soft_wrap=True)
    show_summary(folder, read_json(folder.metrics), recorded_deviations(folder))


def recorded_deviations(folder: RunFolder) -> Deviations:
    """Return what the manifest says of the sizes of the task's data and the benchmark's."""
    manifest = read_json(folder.manifest)
    benchmark = manifest.get("benchmark") or {"size_deviations": {}}
    named = {f"{benchmark['name']} {k}": v for k, v in benchmark["size_deviations"].items()}
    return manifest["data"]["size_deviations"] | named


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """Lay out a run's numbers, the headline first, beside what `goft plan` expected."""
    forecast, headline = metrics.get("forecast"), metrics["headline"]
    shown = [metrics, forecast] if forecast else [metrics]
    took = [
        (name, *(None if one.get(key) is None else form(one[key]) for one in shown))
        for key, (name, form) in MEASUREMENTS.items()
    ]
    best = styled("bold", headline["name"], f"{headline['value']:.4f}")
    rows = [best, (), *score_rows(metrics["metrics"]), (), *took, *agreement(metrics["agreement"])]
    title = f"{metrics['task']}  {metrics['model']}  {metrics['adapter']}"
    return measures(title, rows, *["value", "forecast"][: len(shown)])


def agreement(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how far the merged model is from the trained one, and on which share of a split."""
    compared = found.get("compared", {})  # which earlier versions did not record
    shares = [
        (f"compared inputs of {split}", f"{share['inputs']:,} of {share['of']:,}")
        for split, share in compared.items()
        if share["inputs"] < share["of"]
    ]
    return [("merged against trained", f"{found['merged']:.1e}"), *shares]


def megabytes(size: float) -> str:
    """Write bytes as MB."""
    return f"{size / 2**20:,.0f} MB"


MEASUREMENTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "trainable_parameters": ("adapter parameters", "{:,}".format),
    "head_parameters": ("head parameters", "{:,}".format),
    "train_seconds": ("training time", "{:.1f} s".format),
    "samples_per_second": ("samples per second", "{:.1f}".format),
    "peak_memory_bytes": ("peak memory", megabytes),
}
"""Costs of a run by key of `metrics.json`: label and format."""


def show_scores(
    title: str,
    scores: Mapping[str, Mapping[str, float]],
    deviations: Deviations,
    written: Path,
    breakdown: Mapping[str, Mapping[str, float]] | None = None,
    classes: Mapping[str, Any] | None = None,
) -> None:
    """Print the scores of `goft eval`, broken down where there is more to show."""
    plain = measures(title, score_rows(scores), "value")
    screen.print(breakdown_table(title, breakdown) if breakdown else plain)
    if classes:
        show_classes(classes)
    for line in describe_deviations(deviations):
        screen.print(line, style="yellow")
    screen.print(f"scores: {written}", soft_wrap=True)


def breakdown_table(title: str, breakdown: Mapping[str, Mapping[str, float]]) -> Table:
    """Lay out values by column and row."""
    rows = []
    for name in dict.fromkeys(name for values in breakdown.values() for name in values):
        cells = [f"{one[name]:.4f}" if name in one else None for one in breakdown.values()]
        rows.append((name.replace("_", " "), *cells))
    return measures(title, rows, *(column.replace("_", " ") for column in breakdown))


def score_rows(scores: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """Return one row per split and metric."""
    return [
        (f"{split} {name}", f"{value:.4f}")
        for split, values in scores.items()
        for name, value in values.items()
    ]


def with_predictions(
    rows: Dataset, predictions: Sequence[Mapping[str, Any] | None]
) -> list[dict[str, Any]]:
    """Return each row as it was read, its label by name, with its prediction."""
    from datasets import ClassLabel

    named = {key: kind for key, kind in rows.features.items() if isinstance(kind, ClassLabel)}
    lines = []
    for row, prediction in zip(rows.to_list(), predictions, strict=True):
        labels = {key: kind.int2str(row[key]) for key, kind in named.items()}
        lines.append({**row, **labels, "prediction": prediction})
    return lines


def write_predictions(
    folder: RunFolder,
    task: Task[Any, Any],
    splits: Mapping[str, Split],
    outputs: Mapping[str, Arrays],
) -> None:
    """Write one JSON line per evaluated row, and the task's own files of the headline's split."""
    from goft_cli.tasks.base import chunks

    for split, found in outputs.items():
        name, rows = f"predictions.{split}.jsonl", splits[split].rows
        own = split == task.config.headline_split
        files = task.files(found, splits[split]) if own else {}
        note(folder.path, name, *files)
        predictions = task.decode(found, splits[split])
        with written_aside(folder.path / name) as file:
            for part in chunks(len(rows), WRITTEN_ROWS):
                found_there = predictions[part.start : part.stop]
                write_json_lines(with_predictions(rows.select(part), found_there), file)
        for name, content in files.items():
            write_text(folder.path / name, content)


@style()
def plot_curves(
    folder: RunFolder, history: Sequence[Mapping[str, Any]], headline: str, adapter: str
) -> None:
    """Draw task loss and headline over updates into `curves.png`, in the adapter's colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4))
    left, right = figure.subplots(1, 2, sharex=True)
    colour, marker = look_of(adapter)
    lines: dict[str, dict[str, Any]] = {
        "training": {"color": colour},
        "evaluation": {"color": colour, "marker": marker, "linestyle": "--"},
    }
    panels = [
        (left, {"loss": "training", "eval_loss": "evaluation"}, "task loss"),
        (right, {f"eval_{headline}": "evaluation"}, spaced(headline)),
    ]
    for axes, series, title in panels:
        for key, label in series.items():
            points = [(row["step"], row[key]) for row in history if key in row and "step" in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, **lines[label])
        axes.set(xlabel="updates", title=title)
    legend(figure, left, right)
    save(figure, folder.path / "curves.png")
