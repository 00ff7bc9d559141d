"""The rows of a comparison, an adapter over its seeds each, as tables and CSV files."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from goft_cli.run.record import RunRecord
from goft_cli.run.summary import megabytes
from goft_cli.studies.leaderboard import (
    CONFIDENCE,
    Difference,
    deviation,
    mean_and_deviation,
    paired_difference,
)
from goft_cli.system.tables import Table, styled
from goft_cli.verbs.compare.tuning import Tuned

MINUS = "\N{MINUS SIGN}"
SIZES, COSTS = ("parameters", "head_parameters"), ("train_seconds", "peak_memory_bytes")
SCORES = ("mean", "standard_deviation", "best", "difference", "interval_low", "interval_high")
SUMMARY_COLUMNS = ("adapter", "size", *SIZES, "seeds", *SCORES, *COSTS)
TUNED_COLUMNS = ("learning_rate", "trials", "lowest_trial", "highest_trial")
TRIAL_COLUMNS = (
    *("adapter", "step", "learning_rate", "seed", "split", "score", "chosen"),
    *("train_seconds", "folder"),
)
RUN_COLUMNS = ("adapter", "size", "seed", "score", *SIZES, *COSTS, "folder")


@dataclass(frozen=True)
class Summary:
    """One adapter's row.

    Attributes:
        adapter: its name.
        results: one per seed.
        difference: of its scores to the reference's, seed by seed; None for the reference.
    """

    adapter: str
    results: tuple[RunRecord, ...]
    difference: Difference | None

    @property
    def setting(self) -> str:
        """What sets the adapter's size, such as `r=2`; empty where that is fixed."""
        adapter = self.results[0].cfg.adapter
        growth = adapter.growth
        return "" if growth is None else f"{growth.key}={getattr(adapter, growth.key)}"

    @property
    def scores(self) -> list[float]:
        """One per seed."""
        return [result.score for result in self.results]

    @property
    def mean(self) -> float:
        """Mean score."""
        return statistics.mean(self.scores)

    @property
    def deviation(self) -> float | None:
        """The scores' standard deviation, None for a single run."""
        return deviation(self.scores)

    @property
    def best(self) -> float:
        """Score of the best seed."""
        return max(self.results, key=lambda result: result.merit).score

    @property
    def parameters(self) -> int:
        """Trained by the adapter, the head left out."""
        return self.results[0].parameters

    @property
    def seconds(self) -> float:
        """Median training time."""
        return statistics.median(result.train_seconds for result in self.results)

    @property
    def memory(self) -> float:
        """Median peak, in bytes."""
        return statistics.median(result.peak_memory_bytes for result in self.results)


@dataclass(frozen=True)
class Caption:
    """What a table or figure must say besides its numbers."""

    task: str
    model: str
    headline: str
    reference: str
    budget: str

    @property
    def title(self) -> str:
        """One line above."""
        return f"{self.task}  {self.model}"


def summarize(results: Mapping[str, Sequence[RunRecord]], reference: str) -> list[Summary]:
    """Return one row per adapter, in the order of `results`; the others against the reference."""
    scores = {name: {run.seed: run.score for run in runs} for name, runs in results.items()}
    differences = {
        name: paired_difference(scores[name], scores[reference])
        for name in results
        if name != reference
    }
    return [Summary(name, tuple(runs), differences.get(name)) for name, runs in results.items()]


def header(caption: Caption) -> list[str]:
    """Return the names of the columns."""
    score = caption.headline.replace("_", " ")
    against = f"difference to {caption.reference}, {CONFIDENCE:.0%} interval"
    return ["adapter", "size", "parameters", score, "best", against, "time", "memory"]


def cells(row: Summary) -> list[str]:
    """Return one line of text per column."""
    return [
        row.adapter,
        row.setting,
        f"{row.parameters:,}",
        mean_and_deviation(row.scores, 3).replace("-", MINUS),
        f"{row.best:.3f}".replace("-", MINUS),
        "reference" if row.difference is None else difference_text(row.difference),
        f"{row.seconds:.1f} s",
        megabytes(row.memory),
    ]


def difference_text(difference: Difference) -> str:
    """Return mean and interval, such as `+0.031 [-0.010, +0.072]`."""
    ends = difference.interval
    interval = "one seed" if ends is None else f"[{ends[0]:+.3f}, {ends[1]:+.3f}]"
    return f"{difference.mean:+.3f} {interval}".replace("-", MINUS)


def notes(rows: Sequence[Summary], caption: Caption) -> list[str]:
    """Return what a reader should know, one sentence each."""
    seeds = [result.seed for result in rows[0].results]
    listed = ", ".join(map(str, seeds))
    found = [
        f"Mean ± standard deviation over {len(seeds)} seeds ({listed}); time and memory: medians."
        if len(seeds) > 1
        else f"A single seed ({listed}): nothing here tells one adapter from another.",
        "Interval: Student's t on the differences seed by seed, each comparison by itself.",
        "Parameters: the adapter's; head and pooler train beside all of them.",
        caption.budget,
    ]
    first, *others = [result.environment for row in rows for result in row.results]
    if any(other != first for other in others):
        found.append("The runs were made on different machines or versions: do not compare times.")
    return found


def tuned_cells(tuned: Tuned) -> list[str]:
    """Return the learning rate, the number of trials, and the least and the best of their scores.

    The last is how much the score depends on the rate.
    """
    known, trials = tuned.known, f"{len(tuned.runs)}"
    if lost := len(tuned.runs) - len(known):
        trials += f", {lost} diverged"
    spread = f"{min(known):.3f} to {max(known):.3f}" if known else ""
    return [f"{tuned.rate:g}", trials, spread.replace("-", MINUS)]


TUNED_HEADER = ("rate", "trials", "trials' scores")


def for_screen(
    rows: Sequence[Summary], caption: Caption, tuned: Mapping[str, Tuned] | None = None
) -> Table:
    """Lay the rows out in the terminal, two lines each, so that 80 columns hold them."""
    adapter, size, parameters, score, best, _, time, memory = header(caption)
    against = f"to {caption.reference}\n{CONFIDENCE:.0%} interval"
    scores, costs = f"{score}\n{best}", f"{time}\n{memory}"
    columns = [f"{adapter}\n{size}", scores, against, costs, parameters]
    if tuned:
        columns = [*columns[:-1], f"{parameters}\nrate, trials"]
    lines: list[Sequence[str]] = []
    for row in rows:
        name, setting, count, mean, highest, difference, seconds, peak = cells(row)
        to_reference, _, interval = difference.partition(" ")
        lines.append((name, mean, to_reference, seconds, count))
        rate, trials, _ = tuned_cells(tuned[row.adapter]) if tuned else ("", "", "")
        searched = [f"{rate}, {trials}"] if tuned else []
        lines.append(styled("dim", setting, highest, interval, peak, *searched))
    return Table(columns, lines, caption.title, "wr", centred=False, framed=False)


def markdown(
    rows: Sequence[Summary], caption: Caption, tuned: Mapping[str, Tuned], said: Sequence[str]
) -> str:
    """Lay the rows out for a document, with the notes below."""
    columns = [*header(caption), *(TUNED_HEADER if tuned else ())]
    lines = [[*cells(row), *(tuned_cells(tuned[row.adapter]) if tuned else ())] for row in rows]
    table = Table(columns, lines, layout="llr")
    listed = "\n".join(f"- {note}" for note in said)
    return f"**{caption.title}**\n\n{table.markdown()}\n\n{listed}\n"


def summary_csv(rows: Sequence[Summary], tuned: Mapping[str, Tuned]) -> str:
    """Return one line per adapter, numbers unrounded, empty where there is none."""
    columns = (*SUMMARY_COLUMNS, *(TUNED_COLUMNS if tuned else ()))
    return Table(columns, [summary_line(row, tuned) for row in rows]).csv()


def summary_line(row: Summary, tuned: Mapping[str, Tuned]) -> list[object]:
    """Return a row's numbers, and of a tuned adapter those of its trials."""
    difference = row.difference
    against = None if difference is None else difference.mean
    interval = (difference.interval if difference else None) or (None, None)
    sizes = [row.parameters, row.results[0].head_parameters, len(row.results)]
    scores = [row.mean, row.deviation, row.best, against, *interval]
    more: list[object] = []
    if tuned:
        one, known = tuned[row.adapter], tuned[row.adapter].known
        more = [one.rate, len(one.runs), min(known, default=None), max(known, default=None)]
    return [row.adapter, row.setting, *sizes, *scores, row.seconds, row.memory, *more]


def runs_csv(rows: Sequence[Summary]) -> str:
    """Return one line per run."""
    lines = [
        [row.setting if name == "size" else getattr(result, name) for name in RUN_COLUMNS[:-1]]
        + [result.folder.path]
        for row in rows
        for result in row.results
    ]
    return Table(RUN_COLUMNS, lines).csv()


def tuning_csv(tuned: Mapping[str, Tuned]) -> str:
    """Return one line per trial, by adapter and rate; no score where it diverged."""
    lines = []
    for name, one in tuned.items():
        for step, score in one.scores.items():
            run = one.runs[step].record
            place = [run.cfg.trainer.learning_rate, run.seed, run.cfg.task.headline_split]
            seconds = None if score is None else run.train_seconds
            found = [score, step == one.chosen, seconds, run.folder.path]
            lines.append([name, step, *place, *found])
    return Table(TRIAL_COLUMNS, lines).csv()


def content(
    rows: Sequence[Summary], caption: Caption, tuned: Mapping[str, Tuned], said: Sequence[str]
) -> dict[str, object]:
    """Return all of it for programs: the columns of the CSV files by adapter, and the notes."""
    columns = (*SUMMARY_COLUMNS, *(TUNED_COLUMNS if tuned else ()))
    adapters = [
        dict(zip(columns, summary_line(row, tuned), strict=True))
        | {"scores": {str(run.seed): run.score for run in row.results}}
        | ({"tuning": tuned[row.adapter].by_rate} if tuned else {})
        for row in rows
    ]
    return {**asdict(caption), "adapters": adapters, "notes": [*said]}
