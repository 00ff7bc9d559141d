"""Chats: which tokens are trained on, and how rows that do not fit are handled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from goft_cli.config.choices import GlobalBatch
from goft_cli.config.families import InstructionConfig


class LossOn(StrEnum):
    """Tokens with a loss: those of all assistant turns, of the last one, or of the whole chat."""

    assistant = "assistant"
    last = "last"
    all = "all"


class Overlong(StrEnum):
    """A chat that is too long is dropped, or its oldest turns are; a system turn is kept."""

    drop = "drop"
    cut_oldest = "cut_oldest"


class ToolTurns(StrEnum):
    """Tool turns are refused, or converted: results to user turns, calls to plain text."""

    refuse = "refuse"
    text = "text"


class Invalid(StrEnum):
    """Rows that are not chats are refused, or dropped and counted."""

    refuse = "refuse"
    drop = "drop"


@dataclass
class ChatConfig(InstructionConfig):
    """Chats of a user and an assistant, formatted by the model's own chat template.

    `column_aliases` names a file's columns: `messages`, `prompt` and `completion`, or Alpaca's.
    """

    family: str = "chat"
    template: str | None = None
    """File with a chat template in Jinja; by default the model's own, or Tulu's if it has none."""
    loss_on: LossOn = LossOn.assistant
    """Which tokens the loss is computed on, in training and evaluation."""
    overlong: Overlong = Overlong.drop
    """How to handle a chat of more than `max_length` tokens."""
    tool_turns: ToolTurns = ToolTurns.refuse
    """How to handle the turns of a tool and an assistant's tool calls."""
    invalid: Invalid = Invalid.refuse
    """How to handle a row that is not a chat, such as one with roles out of order."""
    global_batch: GlobalBatch | None = None
    packing: bool = False
    """Pack whole chats into training rows of `max_length` tokens; no chat attends to another."""
