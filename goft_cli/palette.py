"""Colours and markers of every figure, told apart with any colour vision and in grey."""

from __future__ import annotations

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1")
"""Okabe and Ito's without black and pale yellow, which a dark or a white page would hide."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, SECOND_INK, GRID = "#222222", "#777777", "#e3e3e3"
