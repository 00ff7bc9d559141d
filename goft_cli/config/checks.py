"""The one way a value outside its range is refused."""

from __future__ import annotations

from goft_cli.errors import GoftError

NUMERIC_RANGE = "{key}={value} is out of range: expected {expected}; pass {key}={example}"


def check(condition: bool, *, key: str, value: object, expected: str, example: object) -> None:
    """Refuse a value outside its range.

    Raises:
        GoftError: `condition` is false; the sentence names the key as users type it.
    """
    if not condition:
        raise GoftError(
            NUMERIC_RANGE.format(key=key, value=value, expected=expected, example=example)
        )
