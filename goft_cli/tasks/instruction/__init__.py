"""Instruction tuning: an instruction and perhaps an input in, an answer out, in Alpaca's form."""

from goft_cli.tasks.instruction.task import Instruction

__all__ = ["Instruction"]
