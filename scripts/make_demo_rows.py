"""Write the demos' rows that ship in `goft_cli/assets/demo`: gzip files of JSON lines.

    python scripts/make_demo_rows.py [--output goft_cli/assets/demo]

Every Python version makes the same rows; another zlib may compress them to other bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.demo_rows import acceptability, chat, choices, instructions, questions

Rows = Sequence[dict[str, Any]]
GENERATORS = {
    "acceptability": acceptability,
    "choices": choices,
    "instructions": instructions,
    "qa": questions,
}
STAND_INS = (4, 8)
"""Numbers of rows for the rehearsal of a task with one text per row, and with two."""


def all_rows() -> Iterator[tuple[str, Rows]]:
    """Yield the path of each file without its ending, and its rows."""
    for name, generator in GENERATORS.items():
        for split in generator.SIZES:
            yield f"{name}/{split}", generator.generate(split)
    yield "chat/question", chat.generate()
    for size in STAND_INS:
        yield f"stand_ins/{size}", acceptability.generate("train", size)


def write_rows(path: Path, rows: Rows) -> None:
    """Write rows as gzip'd JSON lines, without a timestamp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write every file."""
    parser = argparse.ArgumentParser(description="Write the demos' rows.")
    parser.add_argument("--output", type=Path, default=Path("goft_cli/assets/demo"))
    options = parser.parse_args(arguments)
    for name, rows in all_rows():
        write_rows(options.output / f"{name}.jsonl.gz", rows)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
