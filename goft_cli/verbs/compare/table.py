"""The rows of a comparison, one adapter over its seeds each, as tables and CSV files."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from goft_cli.run.record import RunRecord
from goft_cli.run.summary import megabytes
from goft_cli.studies.leaderboard import (
    CONFIDENCE,
    Difference,
    benchmark_scores,
    deviation,
    mean_and_deviation,
    paired_difference,
)
from goft_cli.system.tables import Table, of_records, spaced, styled
from goft_cli.verbs.compare.forgetting import Forgotten
from goft_cli.verbs.compare.tuning import Tuned

MINUS = "\N{MINUS SIGN}"
SIZES, COSTS = ("parameters", "head_parameters"), ("train_seconds", "peak_memory_bytes")
SCORES = ("mean", "standard_deviation", "best", "difference", "interval_low", "interval_high")
SUMMARY_COLUMNS = ("adapter", "size", *SIZES, "seeds", *SCORES, *COSTS)
RUN_COLUMNS = ("adapter", "size", "seed", "score", *SIZES, *COSTS, "folder")


@dataclass(frozen=True)
class Summary:
    """One adapter's row.

    Attributes:
        adapter: its name.
        results: one per seed.
        difference: of its scores to the reference's, seed by seed; None for the reference.
        tuned: how its learning rate was found; None if it is the recipe's.
        forgotten: how much its runs forgot; None if that was not asked for.
    """

    adapter: str
    results: tuple[RunRecord, ...]
    difference: Difference | None
    tuned: Tuned | None = None
    forgotten: Forgotten | None = None

    @property
    def setting(self) -> str:
        """The setting of the adapter's size, such as `r=2`; empty if the size is fixed."""
        adapter = self.results[0].cfg.adapter
        growth = adapter.growth
        return "" if growth is None else f"{growth.key}={getattr(adapter, growth.key)}"

    @property
    def scores(self) -> list[float]:
        """One per seed."""
        return [result.score for result in self.results]

    @property
    def benchmarks(self) -> dict[str, list[float]]:
        """Scores on the benchmark by name, one per seed; empty without a benchmark."""
        return benchmark_scores(self.results)

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
    """Text of a table or figure besides its numbers."""

    task: str
    model: str
    headline: str
    reference: str
    budget: str

    @property
    def title(self) -> str:
        """One line above."""
        return f"{self.task}  {self.model}"


def summarize(
    results: Mapping[str, Sequence[RunRecord]],
    reference: str,
    tuned: Mapping[str, Tuned],
    forgotten: Mapping[str, Forgotten],
) -> list[Summary]:
    """Return one row per adapter, in the order of `results`; the others against the reference."""
    scores = {name: {run.seed: run.score for run in runs} for name, runs in results.items()}
    differences = {
        name: paired_difference(scores[name], scores[reference])
        for name in results
        if name != reference
    }
    return [
        Summary(name, tuple(runs), differences.get(name), tuned.get(name), forgotten.get(name))
        for name, runs in results.items()
    ]


def benchmarks_of(rows: Sequence[Summary]) -> list[str]:
    """Return the names of all scores on benchmarks; a run may lack one."""
    return [*benchmark_scores([result for row in rows for result in row.results])]


def header(caption: Caption) -> list[str]:
    """Return the names of the columns of every comparison."""
    score = spaced(caption.headline)
    against = f"difference to {caption.reference}, {CONFIDENCE:.0%} interval"
    return ["adapter", "size", "parameters", score, "best", against, "time", "memory"]


def more_cells(row: Summary) -> dict[str, str]:
    """Return the cells on benchmark, learning rate and forgetting, by the names of their columns.

    The lowest and best scores of the trials show how much depends on the rate.
    """
    found = {spaced(name): mean_and_deviation(of, 3) for name, of in row.benchmarks.items()}
    if row.tuned:
        known, trials = row.tuned.known, f"{len(row.tuned.runs)}"
        if lost := len(row.tuned.runs) - len(known):
            trials += f", {lost} failed"
        spread = f"{min(known):.3f} to {max(known):.3f}" if known else ""
        found |= {"rate": f"{row.tuned.rate:g}", "trials": trials, "trials' scores": spread}
    if row.forgotten:
        found["forgotten"] = mean_and_deviation(row.forgotten.values, 3)
    return {name: cell.replace("-", MINUS) for name, cell in found.items()}


def cells(row: Summary) -> list[str]:
    """Return one line of text per column of `header`."""
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
    """Return notes for the reader, one sentence each."""
    seeds = [result.seed for result in rows[0].results]
    listed = ", ".join(map(str, seeds))
    found = [
        f"Mean ± standard deviation over {len(seeds)} seeds ({listed}); time and memory: medians."
        if len(seeds) > 1
        else f"A single seed ({listed}): these differences may be noise.",
        "Interval: Student's t on the differences seed by seed, one interval for each adapter.",
        "Parameters: the adapter's; head and pooler train beside all of them.",
        caption.budget,
    ]
    first, *others = [result.environment for row in rows for result in row.results]
    if any(other != first for other in others):
        found.append(
            "The runs are from different machines or versions: do not compare their times."
        )
    return found


def for_screen(rows: Sequence[Summary], caption: Caption) -> Table:
    """Lay the rows out for the terminal, several lines each, to fit 80 columns."""
    adapter, size, parameters, score, best, _, time, memory = header(caption)
    against = f"to {caption.reference}\n{CONFIDENCE:.0%} interval"
    scores, costs = f"{score}\n{best}", f"{time}\n{memory}"
    if rows[0].tuned:
        parameters += "\nrate, trials"
    below = [*map(spaced, benchmarks_of(rows))]
    below += ["forgotten"] if any(row.forgotten for row in rows) else []
    scores = "\n".join([scores, *below])
    columns = [f"{adapter}\n{size}", scores, against, costs, parameters]
    lines: list[Sequence[str]] = []
    for row in rows:
        name, setting, count, mean, highest, difference, seconds, peak = cells(row)
        to_reference, _, interval = difference.partition(" ")
        lines.append((name, mean, to_reference, seconds, count))
        more = more_cells(row)
        searched = f"{more['rate']}, {len(row.tuned.runs)}" if row.tuned else ""
        lines.append(styled("dim", setting, highest, interval, peak, searched))
        lines += [styled("dim", "", more.get(name, ""), "", "", "") for name in below]
    return Table(columns, lines, caption.title, "wr", centred=False, framed=False)


def markdown(rows: Sequence[Summary], caption: Caption, said: Sequence[str]) -> str:
    """Lay the rows out for a document, with the notes below."""
    lines = [dict(zip(header(caption), cells(row), strict=True)) | more_cells(row) for row in rows]
    table = replace(of_records(lines), layout="llr")
    listed = "\n".join(f"- {note}" for note in said)
    return f"**{caption.title}**\n\n{table.markdown()}\n\n{listed}\n"


def summary_csv(rows: Sequence[Summary]) -> str:
    """Return one line per adapter, numbers unrounded, empty where there is none."""
    return of_records([numbers(row) for row in rows]).csv()


def numbers(row: Summary) -> dict[str, object]:
    """Return a row's numbers by the names of their columns."""
    difference = row.difference
    against = None if difference is None else difference.mean
    interval = (difference.interval if difference else None) or (None, None)
    sizes = [row.parameters, row.results[0].head_parameters, len(row.results)]
    scores = [row.mean, row.deviation, row.best, against, *interval]
    line = [row.adapter, row.setting, *sizes, *scores, row.seconds, row.memory]
    found: dict[str, object] = dict(zip(SUMMARY_COLUMNS, line, strict=True))
    if row.tuned:
        known = row.tuned.known
        found |= {"learning_rate": row.tuned.rate, "trials": len(row.tuned.runs)}
        found |= {"lowest_trial": min(known, default=None)}
        found |= {"highest_trial": max(known, default=None)}
    for name, values in row.benchmarks.items():
        found |= {name: statistics.mean(values), f"{name}_deviation": deviation(values)}
    if row.forgotten:
        found |= {"forgotten": row.forgotten.mean}
        found |= {"forgotten_deviation": deviation(row.forgotten.values)}
        found |= row.forgotten.measures
    return found


def runs_csv(rows: Sequence[Summary]) -> str:
    """Return one line per run, with its scores on the benchmark at the end."""
    benchmarks = benchmarks_of(rows)
    lines = [
        [row.setting if name == "size" else getattr(result, name) for name in RUN_COLUMNS[:-1]]
        + [result.folder.path, *map(result.benchmark_scores.get, benchmarks)]
        for row in rows
        for result in row.results
    ]
    return Table([*RUN_COLUMNS, *benchmarks], lines).csv()


def content(rows: Sequence[Summary], caption: Caption, said: Sequence[str]) -> dict[str, object]:
    """Return all of it for programs: the numbers of each adapter, its scores by seed, and notes."""
    adapters = [
        numbers(row)
        | {"scores": {str(run.seed): run.score for run in row.results}}
        | ({"benchmarks": row.benchmarks} if row.benchmarks else {})
        | ({"tuning": row.tuned.by_rate} if row.tuned else {})
        | ({"line": row.forgotten.line} if row.forgotten else {})
        | ({"retained": [asdict(one) for one in row.forgotten.runs]} if row.forgotten else {})
        for row in rows
    ]
    return {**asdict(caption), "adapters": adapters, "notes": [*said]}
