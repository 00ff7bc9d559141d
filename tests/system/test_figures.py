"""Adapters look different from one another; test also the axes, legends and files of figures."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from goft_cli.system.figures import INK, label_log_axis, legend, save, style
from goft_cli.system.palette import (
    ADAPTERS,
    COLOURS,
    OTHER,
    OWN,
    candidates,
    linear,
    look_of,
    looks_of,
    luminance,
)
from goft_cli.verbs import report
from tests.support.recipe_cells import CHOICES

CSS = Path(report.__file__).with_name("templates") / "report.css"
VISIONS = {  # Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8730]]
"""From linear sRGB to XYZ; each row is scaled so that white is 1."""
COMPARED = ("goft", "qgoft", "goft-scaled", "lora", "oft", "bitfit", "linear")
MADE = ("lora-r1", "lora-r2", "lora-r8", "lora-r9", "goft-mine", "qgoft2", "mine", "yours", "x", "")
NAMES = st.lists(
    st.sampled_from([*ADAPTERS, *MADE]) | st.text(max_size=8), max_size=20, unique=True
)


@style()
def drawn() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2], [1, 2], color=look_of("goft").colour)
    return figure


def seen(colour: str, vision: str) -> np.ndarray:
    """Return a colour in CIELAB, as seen with one type of colour vision."""
    xyz = np.asarray(TO_XYZ) @ np.clip(np.asarray(VISIONS[vision]) @ linear(colour), 0, 1)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours: list[str]) -> float:
    """Return the smallest distance between two of the colours with any type of colour vision."""
    return min(
        float(np.linalg.norm(seen(one, vision) - seen(other, vision)))
        for vision in VISIONS
        for one, other in combinations(colours, 2)
    )


def test_each_adapter_that_comes_with_goft_has_its_own_look() -> None:
    own = [name for name in CHOICES["adapter"] if name != "peft"]  # which is any method of PEFT
    assert set(own) == set(OWN)
    colours, markers = zip(*map(look_of, own), strict=True)
    assert len(set(colours)) == len(set(markers)) == len(own)


@settings(max_examples=40)
@given(NAMES)
def test_no_two_adapters_of_a_figure_look_the_same(names: list[str]) -> None:
    looks = looks_of(names)
    assert [*looks] == names
    assert len({*looks.values()}) == len(names)
    assert looks_of(names[::-1]) == looks
    for name in names:
        if name in OWN:
            assert looks[name] == OWN[name]
        else:
            assert looks[name] not in OWN.values()
            alone = look_of(name)
            assert looks[name] == alone or alone in (
                looks[other] for other in names if other < name
            )


def test_a_users_adapter_has_a_tone_of_its_family() -> None:
    sizes = [look_of(f"lora-r{size}") for size in (1, 2, 4, 8, 16, 32, 64)]
    assert len({look.marker for look in sizes}) == len(sizes)  # each alone, so in every figure
    assert {look.colour for look in sizes} <= {one.colour for one in candidates("lora-")}
    light = [luminance(look.colour) for look in sizes[:4]]
    assert light == sorted(light, reverse=True)
    assert light[0] > light[3]
    assert look_of("goft-scaled-mine").colour in {one.colour for one in candidates("goft-scaled-")}
    assert look_of("qgoft-mine").colour not in {one.colour for one in candidates("goft-")}


def test_more_than_all_looks_of_a_family_repeat_and_do_not_fail() -> None:
    looks = looks_of(f"lora-{letter}" for letter in map(chr, range(0x4E00, 0x4E40)))
    assert (len(looks), len({*looks.values()})) == (64, 60)


def test_colours_contrast_with_a_white_page_and_the_dark_one() -> None:
    pages = re.findall(r"--page: (#\w+)", CSS.read_text(encoding="utf-8"))
    assert len(pages) == 2
    tones = {one.colour for name in [*ADAPTERS, "mine"] for one in candidates(f"{name}-")}
    for colour in {*COLOURS, OTHER, *tones}:
        for page in pages:
            low, high = sorted((luminance(colour), luminance(page)))
            assert (high + 0.05) / (low + 0.05) > 3, (colour, page)


def test_colours_are_told_apart_with_any_vision() -> None:
    assert nearest([OWN[name].colour for name in COMPARED]) > 16
    assert nearest([*COLOURS]) > 10


@settings(max_examples=40)
@given(st.floats(1e-9, 1e9), st.floats(1.3, 10) | st.floats(10, 1e9), st.booleans())
def test_a_logarithmic_axis_has_two_labelled_ticks_at_least(
    low: float, ratio: float, zero: bool
) -> None:
    axes = Figure(figsize=(3, 2)).subplots()
    axes.set_xscale("symlog", linthresh=low)
    axes.set_xlim(0, low * ratio)
    label_log_axis(axes.xaxis, low, low * ratio, zero=zero)
    positive = [place for place in axes.get_xticks() if place > 0]
    assert 2 <= len(positive) <= 6
    assert all(low <= place <= low * ratio for place in positive)
    assert len(axes.get_xticks()) == len(positive) + zero
    labels = axes.xaxis.get_major_formatter().format_ticks([*axes.get_xticks()])
    assert all(labels)
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("letters", [3, 25, 90])
def test_a_legend_is_below_the_axes_and_within_the_figure(letters: int) -> None:
    with style():
        figure = Figure(figsize=(5.2, 2.9))
        left, right = figure.subplots(1, 2)
        for number in range(7):
            for axes in (left, right):
                axes.plot([0, 1], [0, number], label=f"{number}".ljust(min(letters, 60), "w"))
        legend(figure, left, right)
        figure.draw_without_rendering()
    (shown,) = figure.legends
    box = shown.get_window_extent()
    assert len(shown.get_texts()) == 7
    assert box.y0 >= 0
    assert (box.width <= figure.bbox.width) == (letters < 60)
    for axes in (left, right):
        around = axes.get_tightbbox()
        assert around is not None
        assert box.y1 <= around.y0


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_file(kind: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(drawn(), tmp_path / f"{name}.{kind}")
    one, two = (tmp_path / f"{name}.{kind}" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    if kind == "svg":
        assert INK in one.read_text(encoding="utf-8")
    assert sorted(tmp_path.iterdir()) == [one, two]
