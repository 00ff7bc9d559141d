"""What the correlations of GLUE's STS-B have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any


def correlation(
    test: Callable[..., Any], predictions: Sequence[float], references: Sequence[float]
) -> float:
    """Return a correlation, or 0 where predictions or references are all the same.

    It is undefined there, and scipy says NaN. 0, as for Matthews, ranks such a model as one that
    knows nothing, and keeps the choice of the best checkpoint well ordered.

    Args:
        test: of scipy, whose result has the correlation as its `statistic`.
        predictions: (rows,) numbers.
        references: (rows,) numbers.
    """
    from scipy.stats import NearConstantInputWarning

    if len(set(predictions)) == 1 or len(set(references)) == 1:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NearConstantInputWarning)
        return float(test(predictions, references).statistic)
