"""One of the processes that `goft train` starts for a run, on its frozen configuration."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path

from goft_cli.command_line.refusals import describe
from goft_cli.commands.train import run_here
from goft_cli.launching.launch import end_with_parent, leave_word
from goft_cli.runs.configuration import read_config
from goft_cli.signals import Stopped, handling, stop_now


def main(config: Path) -> int:
    """Train on a frozen configuration; return the exit code, as `goft` does."""
    end_with_parent()
    try:
        with handling(stop_now):
            # the launcher has replaced what was there, and keeps others out
            run_here(replace(read_config(config), overwrite=False), held=True)
    except (Exception, Stopped) as error:  # the border: the launcher says it
        sentence, code = describe(error, ("train",))
        leave_word(sentence, traceback.format_exc())
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
