"""Build the tables and figures of the documents from the results below `recipes/results`.

python scripts/results_table.py                                # what make table does
python scripts/results_table.py outputs/my-cola --name cola    # copies a comparison's results first

Copies `metrics.json`, `manifest.json`, `config.yaml` and `retained.json` of every run and trial,
without the machine's paths. Copies no weights.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from goft_cli.run.folder import RunFolder
from goft_cli.run.record import RunRecord
from goft_cli.run.retained import MEASURED, NAME, kept
from goft_cli.system.errors import GoftError
from goft_cli.system.figures import legend, save, style
from goft_cli.system.files import read_json, read_yaml, write_json, write_text
from goft_cli.system.palette import looks_of
from goft_cli.system.tables import Table
from goft_cli.verbs.compare.figures import WAY, draw_tuning, log_axis, panel
from goft_cli.verbs.compare.forgetting import STRENGTHS, Forgotten
from goft_cli.verbs.compare.runs import PlannedRun
from goft_cli.verbs.compare.table import Caption, Summary, content, markdown, summarize
from goft_cli.verbs.compare.tuning import Tuned

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "recipes" / "results"
COMPARISON = "comparison.json"
BEGIN, END = r"(<!-- make table: ([\w-]+)(, short)? -->\n)", r"(<!-- end of the table -->)"
PLACE = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
"""Matches the tables of a folder of results in a document, or its short table."""
TIME = {"time"}
"""The column that documents leave out: the runs may have shared the machine with other work."""
LONG = {*TIME, "best", "memory", "trials", "trials' scores"}
"""The columns that a short table leaves out."""


@dataclass(frozen=True)
class Results:
    """The results of a comparison; `notes` are the lines below its table."""

    name: str
    rows: Sequence[Summary]
    caption: Caption
    notes: Sequence[str]

    @property
    def runs(self) -> list[RunRecord]:
        """The compared runs."""
        return [run for row in self.rows for run in row.results]

    @property
    def trials(self) -> list[RunRecord]:
        """The finished runs that chose the learning rates."""
        searches = [row.tuned for row in self.rows if row.tuned]
        found = [run.record for one in searches for run in one.runs.values()]
        return [record for record in found if record.folder.finished]

    @property
    def by_score(self) -> list[Summary]:
        """The rows, the best mean first."""
        sign = 1 if self.runs[0].greater_is_better else -1
        return sorted(self.rows, key=lambda row: -sign * row.mean)


def collect(comparison: Path, results: Path) -> None:
    """Copy the results of a finished comparison; its runs are below the working folder."""
    told = read_json(comparison / COMPARISON)
    old, results = results, results.with_name(f"{results.name}.new")
    shutil.rmtree(results, ignore_errors=True)
    runs = iter(read_csv(comparison / "runs.csv"))
    for adapter in told["adapters"]:
        place = results / adapter["adapter"]
        retained = iter(adapter.get("retained", []))
        for run in islice(runs, adapter["seeds"]):
            folder = copy_run(Path(run["folder"]), place / f"seed{run['seed']}")
            for one in islice(retained, 1):
                write_json(folder / NAME, {MEASURED: [without_places(one)]})
    for trial in read_csv(comparison / "tuning.csv"):
        name = f"trial{int(trial['step']):+d}"
        copy_run(Path(trial["folder"]), results / trial["adapter"] / name)
    lines = {adapter["adapter"]: adapter.get("line", []) for adapter in told["adapters"]}
    write_json(results / COMPARISON, {**told, "adapters": lines})
    found = read(results)
    again = json.loads(json.dumps(content(found.rows, found.caption, found.notes)))
    if again["adapters"] != told["adapters"]:
        shutil.rmtree(results)
        raise GoftError(
            f"{comparison / COMPARISON}: found other numbers than its runs have now",
            "start the comparison again, then copy its results",
        )
    shutil.rmtree(old, ignore_errors=True)
    results.rename(old)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none if the file is missing."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def copy_run(run: Path, folder: Path) -> Path:
    """Copy the small files of a run, which a failed trial may lack; return their folder."""
    there = RunFolder(run)
    for file in (there.metrics, there.manifest):
        if file.is_file():
            write_json(folder / file.name, without_places(read_json(file)))
    config = yaml.safe_dump(without_places(read_yaml(there.config)), sort_keys=False)
    write_text(folder / there.config.name, config)
    return folder


def without_places(value: Any) -> Any:  # noqa: ANN401 - a mapping, a list or a scalar
    """Return a value with each absolute path replaced by its file name."""
    if isinstance(value, Mapping):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_places(inner) for inner in value]
    place = isinstance(value, str) and Path(value).is_absolute()
    return Path(value).name if place else value


def read(results: Path) -> Results:
    """Read the results of a comparison."""
    told = read_json(results / COMPARISON)
    lines, notes = told.pop("adapters"), told.pop("notes")
    records = {
        name: [RunRecord(RunFolder(folder)) for folder in numbered(results / name, "seed")]
        for name in lines
    }
    tuned = {name: one for name in lines if (one := read_trials(results / name))}
    forgotten = {
        name: Forgotten([one for run in runs for one in kept(run.folder)], [lines[name]])
        for name, runs in records.items()
        if (runs[0].folder.path / NAME).is_file()
    }
    settings = next(iter(records.values()))[0].cfg.model  # `told` may name a folder
    caption = Caption(**{**told, "model": settings.name})
    rows = summarize(records, caption.reference, tuned, forgotten)
    return Results(results.name, rows, caption, notes)


def numbered(place: Path, kind: str) -> list[Path]:
    """Return the folders of one kind, such as `seed1`, in the order of their numbers."""
    return sorted(place.glob(f"{kind}*"), key=lambda path: int(path.name.removeprefix(kind)))


def read_trials(place: Path) -> Tuned | None:
    """Return the trials of an adapter, None if there are none."""
    runs = {}
    for folder in numbered(place, "trial"):
        cfg = replace(RunRecord(RunFolder(folder)).cfg, output_dir=str(folder))  # a copy's folder
        runs[int(folder.name.removeprefix("trial"))] = PlannedRun((), cfg)
    return Tuned((), runs[0].cfg.trainer.learning_rate, runs) if runs else None


def render(found: Results, *, short: bool) -> str:
    """Return a document's text on a comparison; if short, only a table of fewer columns."""
    table = markdown(found.by_score, found.caption, found.notes)
    if short:
        lines = without_columns(table, LONG).splitlines(keepends=True)
        return "".join(line for line in lines if line.startswith("|"))
    score = found.caption.headline.replace("_", " ")
    parts = [
        f"![{score} against the adapters' parameters](images/{found.name}.png)\n",
        without_columns(table, TIME),
        compare_intervals(found),
        describe_work(found),
        strength_table(found),
    ]
    if found.trials:
        shown = f"{score} of the trials against the learning rate"
        parts.append(f"![{shown}](images/{found.name}-tuning.png)\n")
    return "\n".join(part for part in parts if part)


def without_columns(table: str, names: Collection[str]) -> str:
    """Return Markdown without some columns of its table; other lines stay."""
    lines = [line.split(" | ") if line.startswith("|") else [line] for line in table.splitlines()]
    heads = next(line for line in lines if len(line) > 1)
    left = [index for index, head in enumerate(heads) if head.strip("| ") not in names]
    shown = (
        " | ".join(line[index] for index in left) if len(line) > 1 else line[0] for line in lines
    )
    return "\n".join(shown) + "\n"


def compare_intervals(found: Results) -> str:
    """Return sentences on which adapters are better or worse than the reference."""
    sign = 1 if found.runs[0].greater_is_better else -1
    groups: dict[str, list[str]] = {"better than": [], "worse than": [], "not told apart from": []}
    for row in found.by_score:
        if row.difference is None:
            continue
        low, high = sorted(sign * end for end in row.difference.interval or (-1.0, 1.0))
        kind = "better than" if low > 0 else "worse than" if high < 0 else "not told apart from"
        groups[kind].append(row.adapter)
    sentences = [
        f"{kind.capitalize()} {found.caption.reference} by the interval: {', '.join(names)}."
        for kind, names in groups.items()
        if names
    ]
    return f"{' '.join(sentences)}\n"


def describe_work(found: Results) -> str:
    """Return a sentence on the number of runs, their updates, and the hours of all."""
    parts, hours = [], 0.0
    for kind, runs in (("trials", found.trials), ("runs", found.runs)):
        counts = {round(run.train_seconds / run.metrics["seconds_per_update"]) for run in runs}
        updates = " or ".join(f"{count:,}" for count in sorted(counts))
        parts += [f"{len(runs)} {kind} of {updates} updates"] if runs else []
        hours += sum(run.train_seconds for run in runs) / 3600
    return f"{' and '.join(parts)}; their trainings took {hours:.1f} hours in all.\n"


def strength_table(found: Results) -> str:
    """Return a table of scores and forgetting at fractions of the adapters' strength, if any."""
    score = found.caption.headline.replace("_", " ")
    lines = []
    for row in found.by_score:
        if row.forgotten and row.forgotten.line:
            lost, scores = zip(*row.forgotten.line, strict=True)
            lines.append([row.adapter, score, *(f"{value:.3f}" for value in scores)])
            lines.append(["", "forgotten", *(f"{value:.3f}" for value in lost)])
    heads = ["adapter", "at strength", *(f"{strength:g}" for strength in STRENGTHS)]
    shown = Table(heads, lines, layout="llr").markdown().replace("-0.", "\N{MINUS SIGN}0.")
    return f"{shown}\n" if lines else ""


@style()
def draw(found: Results, path: Path) -> None:
    """Draw the scores against the parameters, and against what was forgotten."""
    from matplotlib.figure import Figure

    lost = [row.forgotten for row in found.rows if row.forgotten]
    figure = Figure(figsize=(7.2, 3.4))
    left, *right = figure.subplots(1, 2 if lost else 1, sharey=True, squeeze=False)[0]
    looks = looks_of(row.adapter for row in found.rows)
    sizes = [row.parameters for row in found.rows]
    panel(left, found.rows, sizes, "adapter parameters")
    log_axis(left, sizes)
    for axes in right:
        panel(axes, found.rows, [one.mean for one in lost], f"forgotten:\n{lost[0].label}")
        for row, one in zip(found.rows, lost, strict=True):
            if one.line:
                axes.plot(*zip(*one.line, strict=True), color=looks[row.adapter].colour, **WAY)
    left.set_ylabel(found.caption.headline.replace("_", " "))
    legend(figure, left)
    save(figure, path, dpi=200)


def fill(text: str) -> str:
    """Return a document with its tables replaced by those of the results."""

    def filled(place: re.Match[str]) -> str:
        begin, name, short, end = place.groups()
        return f"{begin}\n{render(read(RESULTS / name), short=bool(short))}\n{end}"

    return PLACE.sub(filled, text)


def main() -> None:
    """Copy the results of a comparison if one is named; then write all tables and figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("comparison", nargs="?", type=Path, help="folder with comparison.json")
    parser.add_argument("--name", help="folder of recipes/results to copy its results to")
    words = parser.parse_args()
    if (words.comparison is None) != (words.name is None):
        parser.error("pass a comparison and --name, or neither")
    if words.name:
        collect(words.comparison, RESULTS / words.name)
    for file in sorted(RESULTS.glob(f"*/{COMPARISON}")):
        found, images = read(file.parent), ROOT / "docs" / "images"
        draw(found, images / f"{found.name}.png")
        if tuned := {row.adapter: row.tuned for row in found.rows if row.tuned}:
            draw_tuning(tuned, found.caption, images / f"{found.name}-tuning.png")
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = document.read_text(encoding="utf-8")
        if (new := fill(text)) != text:
            write_text(document, new)


if __name__ == "__main__":
    main()
