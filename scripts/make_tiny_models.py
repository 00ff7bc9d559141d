"""Pretrain the three tiny models that ship in `goft_cli/assets`.

    python scripts/make_tiny_models.py [--only tiny-deberta-v3] [--output goft_cli/assets]

Each takes a few minutes on one CPU core: more threads gain little on models of this size, and wait
for each other on a busy machine. The same seed on the same machine gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.tiny_models import decoder, encoder, vision

MAKERS = {module.NAME: module.make for module in (encoder, decoder, vision)}


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and pretrain the requested models."""
    parser = argparse.ArgumentParser(description="Pretrain the tiny models.")
    parser.add_argument("--only", choices=sorted(MAKERS), help="pretrain this model only")
    parser.add_argument("--output", type=Path, default=Path("goft_cli/assets"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="fewer steps, to try the script out")
    options = parser.parse_args(arguments)
    for name, make in MAKERS.items():
        if options.only in (None, name):
            outcome = make(options.output / name, options.seed, options.steps)
            print(
                f"{name}: held-out loss {outcome.untrained:.3f} -> {outcome.held_out:.3f} "
                f"in {outcome.seconds:.0f} s"
            )


if __name__ == "__main__":
    main()
