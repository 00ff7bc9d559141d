"""An adapter looks the same everywhere, and the same figure is the same file."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from goft_cli.system.figures import INK, look_of, save, style
from tests.support.recipe_cells import CHOICES


@style()
def drawn() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2], [1, 2], color=look_of("goft")[0])
    return figure


def test_each_adapter_that_comes_with_goft_has_its_own_look() -> None:
    own = [name for name in CHOICES["adapter"] if name != "peft"]  # which is whatever is asked for
    colours, markers = zip(*map(look_of, own), strict=True)
    assert len(set(colours)) == len(set(markers)) == len(own)
    assert look_of("mine") == look_of("mine")


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_file(kind: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(drawn(), tmp_path / f"{name}.{kind}")
    one, two = (tmp_path / f"{name}.{kind}" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    if kind == "svg":
        assert INK in one.read_text(encoding="utf-8")
    assert sorted(tmp_path.iterdir()) == [one, two]
