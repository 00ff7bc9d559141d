"""Draw the tree of pairs that a rotation turns: python scripts/draw_tree.py [--dim 13]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli.rotation import schedule
from goft_cli.system.figures import INK, SECOND_INK
from goft_cli.system.palette import COLOURS

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "tree.png"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the tree and write the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dim", type=int, default=13, help="coordinates; 13 is no power of two")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    words = parser.parse_args(arguments)
    words.output.parent.mkdir(parents=True, exist_ok=True)
    tree(words.dim).savefig(words.output, dpi=150)
    print(f"written: {words.output}")


def tree(dim: int) -> Figure:
    """Return the figure: coordinates from left to right, stages upwards, one dot per pair."""
    stages = schedule(dim)
    figure = Figure(figsize=(7.2, 0.75 * len(stages) + 1.1), layout="constrained")
    axes = figure.subplots()
    level = dict.fromkeys(range(dim), 0)
    for height, stage in enumerate(stages, start=1):
        colour = COLOURS[(height - 1) % len(COLOURS)]
        for pair in range(stage.pairs):
            left = 2 * stage.stride * pair
            right = left + stage.stride
            axes.plot([left, left], [level[left], height], color=SECOND_INK, lw=1, zorder=1)
            axes.plot([right, left], [level[right], height], color=colour, lw=1.6, zorder=2)
            axes.plot(left, height, "o", color=colour, markersize=7, zorder=3)
            level[left] = height
        axes.annotate(
            f"stage {height}: {stage.pairs} pair{'s' * (stage.pairs > 1)}",
            (dim - 0.4, height),
            color=colour,
            va="center",
            annotation_clip=False,
        )
    axes.plot(range(dim), [0] * dim, "s", color=INK, markersize=5, zorder=3)
    axes.set_xticks(range(dim), [f"$x_{{{index}}}$" for index in range(dim)])
    axes.set_yticks([])
    axes.set_xlim(-0.6, dim + 2.6)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


if __name__ == "__main__":
    main()
