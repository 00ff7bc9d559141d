"""Chats: what is learnt of them, and what becomes of rows that do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from goft_cli.config.choices import GlobalBatch
from goft_cli.config.families import InstructionConfig


class LossOn(StrEnum):
    """Tokens of a chat that are learnt: of the assistant's turns, of its last one, or all."""

    assistant = "assistant"
    last = "last"
    all = "all"


class Overlong(StrEnum):
    """A chat that is too long is left out, or loses its oldest turns; a system turn stays."""

    drop = "drop"
    cut_oldest = "cut_oldest"


class ToolTurns(StrEnum):
    """Tools in a chat are refused, or their results become a user's turns and calls plain text."""

    refuse = "refuse"
    text = "text"


class Invalid(StrEnum):
    """Rows that are no chats are refused, or left out with a count."""

    refuse = "refuse"
    drop = "drop"


@dataclass
class ChatConfig(InstructionConfig):
    """Turns of a user and an assistant in, an assistant's turn out, by the model's own template.

    `column_aliases` names a file's columns: `messages`, `prompt` and `completion`, or Alpaca's.
    """

    family: str = "chat"
    template: str | None = None
    """File with a chat template in Jinja; by default the model's own, or Tulu's if it has none."""
    loss_on: LossOn = LossOn.assistant
    """Which tokens are learnt and scored."""
    overlong: Overlong = Overlong.drop
    """What becomes of a chat of more than `max_length` tokens."""
    tool_turns: ToolTurns = ToolTurns.refuse
    """What becomes of the turns of a tool, and of an assistant's calls."""
    invalid: Invalid = Invalid.refuse
    """What becomes of a row that is no chat, such as one with its roles out of order."""
    global_batch: GlobalBatch | None = None
    packing: bool = False
    """Fill training rows of `max_length` tokens with whole chats; each still sees itself alone."""
