"""Removes keys and tokens of the environment from every message."""

from __future__ import annotations

import logging
import os
import re
from functools import cache
from pathlib import Path

# HF_TOKEN, WANDB_API_KEY, AWS_SECRET_ACCESS_KEY_ID, PGPASSWORD, ...; HF_TOKEN_PATH is a path.
SECRET_NAME = re.compile(
    r"(TOKEN|SECRETS?|PASSWORDS?|((^|_)|API)KEYS?)\d*(_(?!PATH$|FILE$|DIR$)|$)", re.IGNORECASE
)
# Shorter values are placeholders such as EMPTY; replacing them would change ordinary text.
SHORTEST_SECRET = 8
BLOT = "***"


def is_secret(name: str) -> bool:
    """Tell whether an environment variable has the name of a secret, or the value of one."""
    value = os.environ.get(name, "")
    return bool(value) and bool(SECRET_NAME.search(name) or value in secrets().values())


def secrets() -> dict[str, str]:
    """Return the values of the secrets, by name.

    Paths, and values so short that they could be a common word, are left out.
    """
    found = {name: value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    found |= stored_token(token_file())
    return {
        name: value
        for name, value in found.items()
        if len(value) >= SHORTEST_SECRET and not (value.startswith(os.sep) and Path(value).exists())
    }


def token_file() -> Path:
    """Return the path of the file in which `hf auth login` stores the hub's token."""
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(os.environ.get("HF_TOKEN_PATH") or Path(home, "token")).expanduser()


@cache
def stored_token(path: Path) -> dict[str, str]:
    """Read the hub's token, once."""
    try:
        return {str(path): path.read_text(encoding="utf-8").strip()}
    except (OSError, UnicodeDecodeError):
        return {}


def secret_in(text: str) -> str | None:
    """Return the name of a secret whose value is in a text; None if there is none."""
    return next((name for name, value in secrets().items() if value in text), None)


def redact(text: str) -> str:
    """Replace the values of the environment's keys and tokens by `BLOT`."""
    for value in secrets().values():
        text = text.replace(value, BLOT)
    return text


class Redaction(logging.Filter):
    """Redacts every record of a handler, libraries' messages included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Accept every record, after redacting it."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
