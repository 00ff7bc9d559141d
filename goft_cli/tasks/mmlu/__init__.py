"""MMLU: four lettered answers to a question, and the model's next token among the four letters."""

from goft_cli.tasks.mmlu.benchmark import MMLU

__all__ = ["MMLU"]
