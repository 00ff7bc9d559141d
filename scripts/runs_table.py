"""Print a Markdown table of finished runs: mean and deviation over seeds by configuration.

python scripts/runs_table.py outputs/demo/acceptability
"""

from __future__ import annotations

import argparse
from pathlib import Path

from goft_cli.run.record import find_runs
from goft_cli.studies.leaderboard import markdown


def main() -> None:
    """Print the table, best configuration first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", type=Path, help="folder with run folders below it")
    print(markdown(find_runs(parser.parse_args().root)))


if __name__ == "__main__":
    main()
