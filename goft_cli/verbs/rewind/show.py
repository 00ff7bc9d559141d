"""What `rewind.json` holds, as a table, as sentences and as a figure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from goft_cli.system.figures import SECOND_INK, look_of, style
from goft_cli.system.tables import Table, of_records, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Content = Mapping[str, Any]
AROUND: dict[str, Any] = {"textcoords": "offset points", "fontsize": "small"}


def table(content: Content) -> Table:
    """Return a row for each strength: score, difference to the whole adapter, forgetting."""
    forgetting = content["forgetting"]
    columns = ["strength", spaced(content["headline"]["name"]), "to strength 1"]
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
    """Say what was chosen and how, what the test split says of it, and what the numbers are."""
    name, split, at = spaced(content["headline"]["name"]), content["split"], content["chosen"]
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
    """Say what the chosen strength scores on rows that did not choose it."""
    test, at = content["test"], content["chosen"]
    *others, whole = sorted(test["points"], key=lambda one: one["strength"] == 1)
    shown = with_error(whole["score"], whole["standard_error"])
    told = f"On the {test['rows']:,} rows of {test['split']}, which chose nothing here: "
    if not others:
        return f"{told}{shown} at strength 1."
    (one,) = others
    return (
        f"{told}{with_error(one['score'], one['standard_error'])} at strength {at:g}, {shown} at "
        f"1; difference {with_error(one['difference'], one['difference_error'], '+')}."
    )


def untested(content: Content) -> str:
    """Say by how much a score on the rows that chose the strength is too good."""
    score = next(o["score"] for o in content["points"] if o["strength"] == content["chosen"])
    gain = content["optimism"]
    return (
        f"The task has no other labelled split, so that the rows which chose the strength score "
        f"it, too. The bootstrap puts what this choice adds at {gain:+.4f}: expect "
        f"{score - gain:.4f} of new rows, if these did not pick the checkpoint as well."
    )


def with_error(value: float, error: float, sign: str = "") -> str:
    """Write a number with its standard error."""
    return f"{value:{sign}.4f} ± {error:.4f}"


def spaced(name: str) -> str:
    """Write the name of a score as words."""
    return name.replace("_", " ")


@style()
def draw(content: Content) -> Figure:
    """Draw score against strength with its error, and where it was measured against forgetting."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = 2 if content["forgetting"] else 1
    figure = Figure(figsize=(3.7 * panels, 3.2))
    left, *right = figure.subplots(1, panels, squeeze=False)[0]
    colour, marker = look_of(content["method"])
    points = content["points"]
    strengths, scores, errors = (
        np.array([one[key] for one in points], dtype=float)
        for key in ("strength", "score", "standard_error")
    )
    line = {"color": colour, "marker": marker}
    left.fill_between(strengths, scores - errors, scores + errors, color=colour, alpha=0.15, lw=0)
    left.plot(strengths, scores, **line)
    best = next(one for one in points if one["strength"] == content["best"])
    sign = 1 if content["headline"]["greater_is_better"] else -1
    within = best["score"] - sign * best["standard_error"]
    dashed = {"color": SECOND_INK, "linewidth": 1, "linestyle": (0, (4, 2))}
    left.axhline(within, label="best less one standard error", **dashed)
    left.set(xlabel="strength", ylabel=spaced(content["headline"]["name"]))
    ring(left, "strength", content)
    left.legend(loc="best", fontsize="small")
    for axes in right:
        axes.plot([one["forgotten"] for one in points], scores, **line)
        axes.set(xlabel=f"forgotten: {content['forgetting']['label']}", yticklabels=[])
        axes.set_ylim(left.get_ylim())
        ring(axes, "forgotten", content)
        label(axes, points)
        axes.margins(x=0.1)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    figure.suptitle(
        f"{content['task']}, {content['model']}, {content['method']} "
        f"({content['split']}, ± one standard error)",
        fontsize="medium",
    )
    return figure


def ring(axes: Axes, key: str, content: Content) -> None:
    """Mark the chosen point."""
    one = next(one for one in content["points"] if one["strength"] == content["chosen"])
    look = {"markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.3, "linestyle": ""}
    axes.plot(one[key], one["score"], "o", color=SECOND_INK, label="chosen", **look)


def label(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """Write the strength beside each point, legible on a line too."""
    from matplotlib.patheffects import withStroke

    look = {**AROUND, "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
    for one in points:
        place = one["forgotten"], one["score"]
        axes.annotate(f"{one['strength']:g}", place, (7, -9), color=SECOND_INK, **look)
