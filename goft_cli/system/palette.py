"""The colours of all figures, and an adapter's colour and marker, the same in each of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#af83ad", "#be8049", "#6697cd", "#9e4b89", "#82878b"),
    *("#a83f67", "#855d3c", "#9576ff", "#6a9216", "#d26769", "#398554", "#736f28", "#9504fe"),
)
"""Okabe and Ito's blue, vermilion and green, and 13 found by maximizing the smallest CIE76 distance
as seen with normal vision, protanopia, deuteranopia and tritanopia (Machado 2009). Each contrasts
3:1 at least with a white page and with the report's dark one.
"""
OTHER = "#767676"
"""Of adapters whose names tell nothing."""
Marker = str | tuple[int, int, int]
MARKERS: tuple[Marker, ...] = (
    *("o", "s", "^", "D", "v", "P", "<", "p"),
    *("*", "X", ">", "d", (3, 1, 0), (4, 1, 0), (6, 1, 0), (4, 1, 45)),
)
"""All of them filled: their edges are white."""
ADAPTERS = (
    *("goft", "qgoft", "lora", "linear", "oft", "boft", "hra", "full"),
    *("adalora", "bitfit", "goft-scaled", "dora", "psoft", "road", "vera", "ia3"),
)
"""In the order of their colours and markers."""
TONES = (0.13, 0.29, 0.235, 0.18)
"""Relative luminances of the tones of a colour, all within the contrast above."""


class Look(NamedTuple):
    """How an adapter is drawn."""

    colour: str
    marker: Marker


OWN = dict(zip(ADAPTERS, map(Look, COLOURS, MARKERS), strict=True))
"""The looks of the adapters that come with goft; no other adapter has one of these."""


def look_of(adapter: str) -> Look:
    """Return an adapter's look in a figure in which no other adapter is."""
    return looks_of([adapter])[adapter]


def looks_of(adapters: Iterable[str]) -> dict[str, Look]:
    """Return the look of each adapter of one figure; no two are the same, up to 60 of a family.

    An adapter that comes with goft looks the same in every figure. Another one takes a tone of the
    adapter that its name begins with, as `lora-r8` does of `lora`, and a marker by its name; only
    where an earlier name of the figure has this look, it takes the next that is free.
    """
    names = dict.fromkeys(adapters)
    found = {name: OWN[name] for name in names if name in OWN}
    for name in sorted(names.keys() - found):
        taken = set(found.values())
        first, *others = candidates(name)
        found[name] = next((one for one in (first, *others) if one not in taken), first)
    return {name: found[name] for name in names}


def candidates(name: str) -> Iterator[Look]:
    """Yield the looks of an adapter that a user made, the preferred one first."""
    begins = [known for known in ADAPTERS if name.startswith(known)]
    colour, own = OWN[max(begins, key=len)] if begins else (OTHER, None)
    markers = [marker for marker in MARKERS if marker != own]
    tones = [with_luminance(colour, one) for one in TONES]
    size = name[len(name.rstrip("0123456789")) :]
    # sizes are often powers of two: their lengths in bits follow each other, 1 is the lightest
    first = int(size).bit_length() if size else zlib.crc32(name.encode())
    for step in range(first, first + len(tones) * len(markers)):
        turn, place = divmod(step, len(markers))
        yield Look(tones[(turn + place) % len(tones)], markers[place])


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` by WCAG, 0 for black and 1 for white."""
    return sum(w * one for w, one in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


@cache
def with_luminance(colour: str, wanted: float) -> str:
    """Return the mixture of `#rrggbb` with black or white of that relative luminance."""
    light = luminance(colour)
    share = (wanted - light) / (1 - light) if wanted > light else 0.0
    scale = min(wanted / light, 1.0)
    mixed = [scale * one * (1 - share) + share for one in linear(colour)]
    encoded = [12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055 for x in mixed]
    return "#" + "".join(f"{round(255 * one):02x}" for one in encoded)


def linear(colour: str) -> list[float]:
    """Return red, green and blue of `#rrggbb` as shares of light, from 0 to 1."""
    coded = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in coded]
