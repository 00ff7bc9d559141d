"""Scores by class, confusions, class weights, and the constant baseline of classifiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support
from sklearn.utils.class_weight import compute_class_weight

from goft_cli.config.choices import Target

OUTSIDE = "O"
Entity = tuple[str, int, int]
"""Type, index of the first word, index after the last word."""
MOST = 0.5
NO_ANSWER = "no answer"
"""Name of the id -1: a word that the model did not see."""
MOST_LISTED = 100
"""Most classes of a task for which a prediction has the probability of each."""
FIGURES = ("precision", "recall", "f1", "support")


def by_class(
    names: Sequence[str], predictions: np.ndarray, references: np.ndarray
) -> dict[str, Any]:
    """Return the content of `classes.json` from (rows,) ids of predicted and true classes.

    Sets of labels are (rows, labels) of 0 and 1; each label is scored alone, without confusions.

    `classes`: precision, recall, F1 and support by name, as scikit-learn has them, 0 for 0 / 0.
    `confusion`: how many rows each true class has by predicted class; zeros are left out, so that
    thousands of classes take no more room than their rows.
    """
    found = precision_recall_fscore_support(
        references,
        predictions,
        labels=range(len(names)),
        zero_division=0.0,  # pyright: ignore[reportArgumentType] - a number is documented
    )
    columns = [np.asarray(column).tolist() for column in found]
    rows = zip(*columns, strict=True)
    one = references.ndim == 1
    pairs = Counter(zip(references.tolist(), predictions.tolist(), strict=True)) if one else {}
    confusion: dict[str, dict[str, int]] = {}
    for (true, taken), count in sorted(pairs.items()):
        answer = names[int(taken)] if int(taken) >= 0 else NO_ANSWER
        confusion.setdefault(names[int(true)], {})[answer] = count
    numbers = {
        name: dict(zip(FIGURES, row, strict=True)) for name, row in zip(names, rows, strict=True)
    }
    return {"classes": numbers, "confusion": confusion}


def usual_labels(sets: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that more than half of (n, labels) sets have, and outputs with these."""
    usual = sets.mean(axis=0) > MOST
    return usual, np.tile(np.where(usual, 1.0, -1.0).astype(np.float32), (rows, 1))


def balanced_weights(labels: Sequence[int], classes: int) -> np.ndarray:
    """Return scikit-learn's balanced weights (classes,) of ids: n / (classes that occur * count).

    A class that does not occur has the weight 1, which is never used.
    """
    there = np.unique(labels)
    weights = np.ones(classes)
    weights[there] = compute_class_weight("balanced", classes=there, y=np.asarray(labels))
    return weights


def majority(labels: Sequence[int], classes: int, rows: int) -> tuple[int, np.ndarray]:
    """Return the most frequent of the ids, and the (rows, classes) outputs that always name it."""
    most = int(np.bincount(labels).argmax())
    return most, np.tile(np.eye(classes, dtype=np.float32)[most], (rows, 1))


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a row of BIO tags by the rule of CoNLL's own scorer; IOBES too.

    I, E or L of the same type continues the entity of the previous word, unless that word ended it
    (E, S, L, U). Every other tag except O begins an entity, even I.
    """
    found: list[Entity] = []
    before, kind = OUTSIDE, ""
    for index, tag in enumerate(tags):
        prefix, _, own = tag.partition("-")
        if prefix in "IEL" and own == kind and before in "BI":
            found[-1] = (own, found[-1][1], index + 1)
        elif prefix != OUTSIDE:
            found.append((own, index, index + 1))
        before, kind = prefix, own
    return found


def figures(right: int, found: int, there: int) -> dict[str, float]:
    """Return precision, recall and F1 of counts; 0 for 0 / 0."""
    return {
        "precision": right / found if found else 0.0,
        "recall": right / there if there else 0.0,
        "f1": 2 * right / (found + there) if found + there else 0.0,
    }


ABSENT = figures(0, 0, 0)
"""Scores if there is no entity and none was found."""


def class_options(names: Sequence[str], target: Target = Target.many) -> dict[str, Any]:
    """Return the model-config entries of a head with one output per class, in this order."""
    several = target is Target.sets
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": f"{'multi' if several else 'single'}_label_classification",
    }


def described(probabilities: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return `{"label", "score", "probabilities"}` per row of (rows, classes) probabilities.

    Without names of the classes a label is its number. The probabilities are those of all names,
    and left out without names, or with more than `MOST_LISTED`.
    """
    listed = 0 < len(names) <= MOST_LISTED
    return [
        {
            "label": names[int(row.argmax())] if names else int(row.argmax()),
            "score": float(row.max()),
            **({"probabilities": dict(zip(names, row.tolist(), strict=True))} if listed else {}),
        }
        for row in probabilities
    ]
