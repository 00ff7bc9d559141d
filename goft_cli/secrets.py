"""Keys and tokens of the environment are never repeated, whoever puts them into a message."""

from __future__ import annotations

import logging
import os
import re

# HF_TOKEN, WANDB_API_KEY, OPENAI_API_KEY, ...
SECRET_NAME = re.compile(r"(TOKEN|_KEY|SECRET|PASSWORD)$")
# Shorter values are placeholders such as EMPTY; blotting them out would spoil texts.
SHORTEST_SECRET = 8
BLOT = "***"


def redact(text: str) -> str:
    """Blot out the values of the environment's keys and tokens."""
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, BLOT)
    return text


class Redaction(logging.Filter):
    """Blots secrets out of whatever passes a handler, libraries' messages included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, in its clean form."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
