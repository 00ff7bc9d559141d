"""Build VTAB-1K's public folder layout for one task from the unpacked original data set.

    python scripts/build_vtab.py cifar cifar-100-binary vtab-1k/cifar
    goft train task=vtab/cifar model=vit-b16 task.data_dir=vtab-1k/cifar

It draws its own 1,000 training images, because the published choice needs TensorFlow.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli.system.errors import GoftError
from scripts.vtab.build import PUBLISHED_ONLY, SOURCES, build


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and build one folder."""
    unavailable = "\n".join(f"  {name}: {reason}" for name, reason in PUBLISHED_ONLY.items())
    parser = argparse.ArgumentParser(
        description="Build the folder of one VTAB-1K task.",
        epilog=f"tasks that only the published folder has:\n{unavailable}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", help=f"one of {', '.join(SOURCES)}")
    parser.add_argument("source", type=Path, help="folder of the unpacked original")
    parser.add_argument("output", type=Path, help="folder to create")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default 0)")
    options = parser.parse_args(arguments)
    try:
        sizes = build(options.task, options.source, options.output, options.seed)
    except GoftError as error:
        parser.exit(2, f"build_vtab: {error}\n")
    print(f"{options.output}: " + ", ".join(f"{count} {split}" for split, count in sizes.items()))


if __name__ == "__main__":
    main()
