"""Figures have one size and no overlaps, and show an adapter in the same colour everywhere."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from goft_cli.run import summary
from goft_cli.run.folder import RunFolder
from goft_cli.system.figures import PANEL
from goft_cli.system.palette import OWN, looks_of
from goft_cli.verbs.compare import figures as comparison
from goft_cli.verbs.compare.table import Caption
from goft_cli.verbs.report import figures
from goft_cli.verbs.rewind import show
from tests.verbs.test_rewind import CONTENT

NAMES = (
    *("goft", "qgoft", "goft-scaled", "lora-r1", "lora-r2", "lora-r8"),
    *("oft", "bitfit", "linear", "another adapter of a user's own"),
)
LOOKS = looks_of(NAMES)
CAPTION: Any = Caption("a task", "a model", "accuracy", "goft", "")


def found(count: int) -> dict[str, Any]:
    """Return the content of `classes.json` for this many classes with long names."""
    names = [f"a rather long name of the class {number}" for number in range(count)]
    scores = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 3}
    confusion = {one: {other: 1 + (one == other) for other in names} for one in names}
    return {"classes": dict.fromkeys(names, scores), "confusion": confusion}


def run_of(name: str) -> Any:  # noqa: ANN401 - stands for a record
    return SimpleNamespace(
        adapter=name, series=lambda _: [(step, 1 / step) for step in (1, 5, 9)], merit=0.5
    )


def rows(names: tuple[str, ...]) -> list[Any]:
    """Return rows of a comparison: adapters of 2000 parameters and more, `linear` with 0."""
    lost = SimpleNamespace(mean=0.3, label="fall of the probe's accuracy", line=[(0, 0.1), (1, 2)])
    shared = {"mean": 0.5, "deviation": 0.1, "seconds": 3.0, "forgotten": lost}
    return [
        SimpleNamespace(
            adapter=name,
            results=[run_of(name)] * 2,
            parameters=0 if name == "linear" else 2000 + number,
            **shared,
        )
        for number, name in enumerate(names)
    ]


def tuned(names: tuple[str, ...]) -> dict[str, Any]:
    cfg = SimpleNamespace(task=SimpleNamespace(headline_split="validation"))
    runs = {step: SimpleNamespace(cfg=cfg) for step in (-1, 0, 1)}
    one = SimpleNamespace(runs=runs, scores={-1: 0.1, 0: None, 1: 0.3}, chosen=1)
    return dict.fromkeys(names, one)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Return the figures that would be written, by file name."""
    kept: dict[str, Figure] = {}
    for module in (comparison, summary):
        monkeypatch.setattr(module, "save", lambda one, path, **_: kept.update({path.name: one}))
    return kept


def assert_nothing_is_covered(figure: Figure) -> None:
    """Fail if a legend overlaps axes or a legend or leaves the figure, or if axes are too low."""
    figure.draw_without_rendering()
    assert not any(axes.get_legend() for axes in figure.axes)
    boxes = [legend.get_window_extent() for legend in figure.legends]
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y0 >= 0
    around = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
    for one, other in combinations([*boxes, *around], 2):
        assert not one.overlaps(other) or one in around
    for axes in figure.axes:
        assert axes.get_window_extent().height > 0.3 * figure.bbox.height


def test_figures_of_a_page_have_one_size_and_cover_nothing() -> None:
    look, runs = OWN["qgoft"], [run_of(name) for name in NAMES]
    curves = figures.curves(runs, LOOKS, {"loss": "-", "eval_loss": "--"}, "loss")
    halves = [curves, *(show.draw_panels(CONTENT, [key], look) for key in show.panel_keys(CONTENT))]
    halves += [draw(found(figures.FEW), look) for draw in (figures.confusion, figures.class_bars)]
    many = found(figures.FEW + 1)
    wide = [draw(many, look) for draw in (figures.confusion, figures.class_bars)]
    assert {tuple(one.get_size_inches()) for one in halves if one} == {PANEL}
    assert {one.get_figwidth() for one in wide if one} == {figures.WHOLE_PAGE}
    for one in (*halves, *wide):
        assert one is not None
        assert_nothing_is_covered(one)


def test_class_bars_are_those_of_the_classes() -> None:
    (axes,) = figures.class_bars(found(3), OWN["lora"]).axes
    assert [bar.get_width() for bar in axes.patches] == [2 / 3] * 3  # pyright: ignore[reportAttributeAccessIssue]
    assert same_color(axes.patches[0].get_edgecolor(), OWN["lora"].colour)
    many = found(figures.CELLS + 5)
    last = [*many["classes"]][-1]
    many["classes"][last] = {**many["classes"][last], "f1": 0.1}
    (axes,) = figures.class_bars(many, OWN["lora"]).axes
    assert len(axes.patches) == figures.CELLS
    assert axes.get_yticklabels()[0].get_text() == figures.shortened(last)
    assert figures.confusion({**many, "confusion": {}}, OWN["lora"]) is None  # for sets of labels


def test_a_comparison_covers_nothing_and_tells_all_adapters_apart(
    saved: dict[str, Figure], tmp_path: Path
) -> None:
    comparison.draw(rows(NAMES), CAPTION, tmp_path)
    comparison.draw_tuning(tuned(NAMES), CAPTION, tmp_path / "tuning.png")
    for name in ("comparison.png", "tuning.png"):
        figure = saved[name]
        assert_nothing_is_covered(figure)
        lines = [line for line in figure.axes[0].lines if line.get_marker() not in {"None", "|"}]
        marks = {(line.get_color(), str(line.get_marker())) for line in lines}
        assert marks >= {(look.colour, str(look.marker)) for look in LOOKS.values()}
    left, *_ = saved["comparison.png"].axes
    assert len([place for place in left.get_xticks() if place > 0]) >= 2  # even within a decade


def test_the_curves_of_a_run_are_in_its_adapters_colour(
    saved: dict[str, Figure], tmp_path: Path
) -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "eval_loss": 1.0, "eval_accuracy": 0.5}]
    summary.plot_curves(RunFolder(tmp_path), history, "accuracy", "lora-r8")
    figure = saved["curves.png"]
    assert_nothing_is_covered(figure)
    assert {line.get_color() for axes in figure.axes for line in axes.lines} == {
        LOOKS["lora-r8"].colour
    }
