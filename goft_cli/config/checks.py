"""The one way a value outside its range is refused."""

from __future__ import annotations

from goft_cli.system.errors import GoftError


def check(condition: bool, *, key: str, value: object, expected: str, example: object) -> None:
    """Refuse a value outside its range."""
    if not condition:
        raise GoftError(
            f"{key}={value} is out of range: expected {expected}",
            f"pass {key}={example}",
        )


def check_name(key: str, name: str) -> None:
    """Refuse a name that would lead out of the folder that it is part of."""
    plain = not any(part in {"", ".", ".."} for part in name.split("/"))
    if not plain or not name.isprintable() or "\\" in name:
        raise GoftError(
            f"{key}={name!r} leads out of its folder: expected a name, or names joined by /",
            "choose another, and give a folder with output_dir=DIR",
        )
