"""Extractive question answering: SQuAD v1.1 and anything of its shape."""

from goft_cli.tasks.question_answering.family import QuestionAnswering

__all__ = ["QuestionAnswering"]
