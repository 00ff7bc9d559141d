"""`goft reproduce NAME`: run a recipe of the paper, and compare our results with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby

from goft_cli.compose.flags import FlagParser
from goft_cli.compose.words import did_you_mean
from goft_cli.system.errors import GoftError

LIST = "list"
FLAGS = ["--rehearse", "--help"]
EPILOG = """\
goft reproduce list                       every recipe
goft reproduce table1/cola/qgoft          one method
goft reproduce table1/cola seed=1,2       every method, other seeds than the recipe's
goft reproduce 'table3/*/goft'            a pattern
goft reproduce figure4b --rehearse        tiny model and data: the whole chain, offline, in a minute

Finished runs are reused: they are those of `goft train` with the same overrides.
"""


def main() -> None:
    """Parse `sys.argv`, which Hydra's grammar cannot read, and run or list."""
    arguments, unknown = parser().parse_known_intermixed_args(sys.argv[1:])
    if unknown:
        raise GoftError(f"{unknown[0]} is not a flag", did_you_mean(unknown[0], FLAGS))
    if arguments.name == LIST:
        show_recipes()
        return
    seeds, words = split_seeds(arguments.words)
    from goft_cli.studies.recipes import select

    select(arguments.name)  # a mistyped name is answered before anything heavy is imported
    from goft_cli.verbs.reproduce.reproduction import Request, reproduce

    reproduce(Request(arguments.name, words, seeds, arguments.rehearse))


def parser() -> FlagParser:
    """Return the parser of the words after the verb."""
    found = FlagParser(
        prog="goft reproduce",
        description="Run a recipe with its seeds, and compare with the paper.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    named = "a result, a folder, a pattern, or list (the default)"
    found.add_argument("name", metavar="NAME", nargs="?", default=LIST, help=named)
    found.add_argument("words", metavar="KEY=VALUE", nargs="*", help="overrides, as for goft train")
    found.add_argument("--rehearse", action="store_true", help="with tiny model and data, offline")
    return found


def split_seeds(words: Sequence[str]) -> tuple[list[int], list[str]]:
    """Take `seed=1,2,3` out of the words."""
    for word in words:
        if "=" not in word:
            raise GoftError(f"{word!r} has no key", "write it as KEY=VALUE, for example seed=1,2,3")
    given = [word.partition("=")[2] for word in words if word.startswith("seed=")]
    seeds = given[-1].split(",") if given else []
    if not all(seed.isdecimal() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise GoftError(f"seed={given[-1]}: expected whole numbers, each once, such as seed=1,2,3")
    return list(map(int, seeds)), [word for word in words if not word.startswith("seed=")]


def show_recipes() -> None:
    """List the recipes, folder by folder."""
    from rich.console import Console

    from goft_cli.studies.recipes import folder_of, read_recipe, recipe_names
    from goft_cli.system.tables import Table

    rows: list[Sequence[str]] = []
    for _, names in groupby(recipe_names(), key=folder_of):
        rows += [(), *((name, " ".join(read_recipe(name).published)) for name in names)]
    title = "goft reproduce NAME, NAME/METHOD, or a folder such as table1"
    Console().print(Table(["name", "methods"], rows, title, "wl"))
