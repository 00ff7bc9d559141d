"""Vicuna-Eval: open questions, generated answers, a judge's ratings."""

from goft_cli.tasks.vicuna.benchmark import Vicuna

__all__ = ["Vicuna"]
