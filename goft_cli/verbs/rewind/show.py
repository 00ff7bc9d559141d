"""The content of `rewind.json` as a table, as sentences and as a figure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from goft_cli.system.figures import PANEL, SECOND_INK, legend, style
from goft_cli.system.palette import Look, look_of
from goft_cli.system.tables import Table, of_records, spaced, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Content = Mapping[str, Any]
LETTERS = 30
"""Characters in a line beside a panel."""
DASHED: dict[str, Any] = {"color": SECOND_INK, "linewidth": 1, "linestyle": (0, (4, 2))}
RING: dict[str, Any] = {"markersize": 11, "fillstyle": "none", "mew": 1.3, "linestyle": ""}


def table(content: Content) -> Table:
    """Return a row for each strength: score, difference to the whole adapter, forgetting."""
    forgetting = content["forgetting"]
    columns = ["strength", spaced(content["headline"]), "to strength 1"]
    columns += [forgetting["label"]] if forgetting else []
    rows = []
    for one in content["points"]:
        whole = one["strength"] == 1
        cells = [
            f"{one['strength']:g}",
            with_error(one["score"], one["standard_error"]),
            "" if whole else with_error(one["difference"], one["difference_error"], "+"),
            *([f"{one['forgotten']:.4f}"] if forgetting else []),
            f"{one['chosen_by']:.0%}",
        ]
        is_chosen = one["strength"] == content["chosen"]
        rows.append(styled("bold", *cells) if is_chosen else cells)
    title = f"{content['task']}  {content['model']}  {content['method']}"
    return Table([*columns, "chosen by"], rows, title, "r")


def spreadsheet(content: Content) -> Table:
    """Return all numbers of each strength, and whether it was chosen."""
    lines = []
    for one in content["points"]:
        plain = {key: value for key, value in one.items() if key != "measures"}
        chosen = one["strength"] == content["chosen"]
        lines.append({**plain, "chosen": int(chosen), **one["measures"]})
    return of_records(lines)


def markdown(content: Content) -> str:
    """Return the table, all measures where there are more, and the sentences as a document."""
    shown = table(content)
    parts = [f"# {shown.title}", shown.markdown()]
    if len(content["points"][0]["measures"]) > 1:
        measured = [
            {"strength": f"{one['strength']:g}"}
            | {name: f"{value:.4f}" for name, value in one["measures"].items()}
            for one in content["points"]
        ]
        parts.append(of_records(measured).markdown())
    return "\n\n".join([*parts, "![score and strength](rewind.png)", *notes(content)]) + "\n"


def notes(content: Content) -> list[str]:
    """Return sentences on the choice, its rule, its test score, and the numbers."""
    name, split, at = spaced(content["headline"]), content["split"], content["chosen"]
    by_strength = {one["strength"]: one for one in content["points"]}
    best = by_strength[content["best"]]
    rows = f"{content['rows']:,} rows of {split}"
    lines = [
        f"Chosen: strength {at:g}, the smallest whose {name} on the {rows} is within one standard "
        f"error ({best['standard_error']:.4f}) of the best, {best['score']:.4f} at "
        f"{best['strength']:g}."
    ]
    lines.append(tested(content) if content["test"] else untested(content))
    lines.append(
        f"± is one standard error over {content['resamples']} resamples of the rows, the same "
        "resamples at every strength; chosen by: the share of resamples on which the rule chooses "
        "a strength."
    )
    if content["head_as_trained"]:
        lines.append(
            "The head stays as trained at every strength: 0 is the base model under that head."
        )
    if 0 < at != 1:
        command = shlex.join(["goft", "merge", f"adapter={content['adapter']}", f"strength={at:g}"])
        lines.append(f"To write the model at this strength: {command}")
    return lines


def tested(content: Content) -> str:
    """Return a sentence on the chosen strength's score on rows that did not choose it."""
    test, at = content["test"], content["chosen"]
    *others, whole = sorted(test["points"], key=lambda one: one["strength"] == 1)
    shown = with_error(whole["score"], whole["standard_error"])
    told = f"On the {test['rows']:,} rows of {test['split']}, which had no part in the choice: "
    if not others:
        return f"{told}{shown} at strength 1."
    (one,) = others
    return (
        f"{told}{with_error(one['score'], one['standard_error'])} at strength {at:g}, {shown} at "
        f"1; difference {with_error(one['difference'], one['difference_error'], '+')}."
    )


def untested(content: Content) -> str:
    """Return sentences on strengths chosen on resampled rows and scored on the rows left out."""
    found = content["held_out"]
    return (
        "The task has no other labelled split, and a score on the rows that chose the strength is "
        f"too good. The choices of the resamples score {found['chosen']:.4f} on the rows that "
        f"each leaves out, on average; strength 1 scores {found['whole']:.4f} there."
    )


def with_error(value: float, error: float, sign: str = "") -> str:
    """Write a number with its standard error."""
    return f"{value:{sign}.4f} ± {error:.4f}"


@style()
def draw(content: Content) -> Figure:
    """Draw score and error against strength, and beside it what was forgotten, if measured."""
    figure = draw_panels(content, panel_keys(content), look_of(content["method"]))
    figure.suptitle(
        f"{content['task']}, {content['model']}, {content['method']} "
        f"({content['split']}, ± one standard error)",
        fontsize="medium",
    )
    return figure


def panel_keys(content: Content) -> list[str]:
    """Return the keys of the points that are drawn against strength, one per panel."""
    return ["score", "forgotten"] if content["forgetting"] else ["score"]


@style()
def draw_panels(content: Content, keys: Sequence[str], look: Look) -> Figure:
    """Draw a panel for each of these keys side by side, without a title."""
    from matplotlib.figure import Figure

    width, height = PANEL
    figure = Figure(figsize=(width * len(keys), height))
    every = figure.subplots(1, len(keys), squeeze=False)[0]
    for key, axes in zip(keys, every, strict=True):
        if key == "score":
            draw_error(axes, content, look)
            panel(axes, key, spaced(content["headline"]), content, look)
        else:
            panel(axes, key, f"forgotten: {content['forgetting']['label']}", content, look)
    legend(figure, *every)
    return figure


def draw_error(axes: Axes, content: Content, look: Look) -> None:
    """Draw one standard error around the scores, and how far below the best one is chosen from."""
    strengths, scores, errors = (
        np.array([one[key] for one in content["points"]], dtype=float)
        for key in ("strength", "score", "standard_error")
    )
    low, high = scores - errors, scores + errors
    axes.fill_between(strengths, low, high, color=look.colour, alpha=0.15, lw=0)
    best = next(one for one in content["points"] if one["strength"] == content["best"])
    sign = 1 if content["greater_is_better"] else -1
    within = best["score"] - sign * best["standard_error"]
    axes.axhline(within, label="one standard error from the best", **DASHED)


def panel(axes: Axes, key: str, label: str, content: Content, look: Look) -> None:
    """Draw one value against strength, the chosen one ringed."""
    points = content["points"]
    ends = [(one["strength"], one[key]) for one in points]
    axes.plot(*zip(*ends, strict=True), color=look.colour, marker=look.marker)
    chosen = next(one for one in points if one["strength"] == content["chosen"])
    axes.plot(chosen["strength"], chosen[key], "o", color=SECOND_INK, label="chosen", **RING)
    axes.set(xlabel="strength", ylabel=fill(label, LETTERS))
