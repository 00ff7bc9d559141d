"""One cell of every recipe; each recipe of a folder takes the next of the methods in turn."""

from __future__ import annotations

from itertools import groupby

from goft_cli.studies.recipes import Cell, folder_of, read_recipe, recipe_names

ROTATED = [
    Cell(name, methods[index % len(methods)])
    for _, names in groupby(recipe_names(), key=folder_of)
    for index, name in enumerate(names)
    if (methods := read_recipe(name).published)
]
