"""Image classification: lists of files, decoded once or batch by batch, one class each."""

from __future__ import annotations

from goft_cli.tasks.image_classification.task import ImageClassification

__all__ = ["ImageClassification"]
