"""CKA, cosine, ridge regression and rank correlation match their definitions and invariances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor

from goft_cli.run.forgetting import probe
from goft_cli.run.forgetting.features import linear_cka, mean_cosine
from goft_cli.run.forgetting.text import rank_correlation

SHAPES = st.tuples(st.integers(2, 40), st.integers(1, 20), st.integers(1, 20))
"""Rows, and the widths of two features."""
SEEDS = st.integers(0, 1000)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gram_cka(x: Tensor, y: Tensor) -> float:
    """Return CKA by its definition from the Hilbert-Schmidt independence criterion."""
    rows = len(x)
    centring = torch.eye(rows, dtype=torch.float64) - 1 / rows

    def hsic(one: Tensor, other: Tensor) -> Tensor:
        return (one @ one.T @ centring @ other @ other.T @ centring).trace()

    return float(hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt())


@settings(max_examples=25, deadline=None)
@given(SHAPES, SEEDS)
def test_cka_is_that_of_dense_gram_matrices(shape: tuple[int, int, int], seed: int) -> None:
    rows, one, other = shape
    x, y = draw(seed, rows, one) + 3, draw(seed + 1, rows, other)
    assert linear_cka(x, y) == pytest.approx(gram_cka(x, y), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(SHAPES, SEEDS, st.floats(0.01, 100))
def test_cka_does_not_see_rotation_scale_and_mean(
    shape: tuple[int, int, int], seed: int, scale: float
) -> None:
    rows, width, other = shape
    x, y = draw(seed, rows, width), draw(seed + 1, rows, other)
    turn, _ = torch.linalg.qr(draw(seed + 2, width, width))
    assert linear_cka(scale * x @ turn + 5, y) == pytest.approx(linear_cka(x, y), abs=1e-9)
    assert linear_cka(x, scale * x @ turn + 5) == pytest.approx(1, abs=1e-9)


def test_the_cosine_does_see_a_rotation() -> None:
    x = draw(0, 30, 2)
    assert mean_cosine(x, x @ torch.tensor([[0.0, 1], [-1, 0]]).double()) == pytest.approx(0)


def test_equal_features_are_like_nothing() -> None:
    # 0.1 has no finite binary form, so the mean of many values 0.1 is not exactly 0.1
    same = torch.full((31, 4), 0.1)
    assert linear_cka(same, draw(0, 31, 4)) == linear_cka(draw(0, 31, 4), same) == 0


def fit(x: Tensor, y: Tensor, penalty: float) -> Callable[[Tensor], np.ndarray]:
    """Solve ridge regression as least squares with one more row for each weight, by LAPACK."""
    width, outputs = x.shape[1], y.shape[1]
    left = np.vstack([x - x.mean(0), penalty**0.5 * np.eye(width)])
    right = np.vstack([y - y.mean(0), np.zeros((width, outputs))])
    weights = np.linalg.lstsq(left, right, rcond=None)[0]
    return lambda z: (z - x.mean(0)).numpy() @ weights + y.mean(0).numpy()


@settings(max_examples=25, deadline=None)
@given(SHAPES, SEEDS)
def test_a_probe_is_ridge_regression(shape: tuple[int, int, int], seed: int) -> None:
    rows, width, outputs = shape
    x, y = draw(seed, rows, width) + 1, draw(seed + 1, rows, outputs)
    found = probe.ridge(x, y)
    np.testing.assert_allclose(found.readout(x), fit(x, y, found.penalty)(x), atol=1e-7)


@pytest.mark.parametrize(("rows", "width"), [(14, 3), (8, 12)])
def test_its_penalty_is_the_best_for_rows_held_out_one_by_one(rows: int, width: int) -> None:
    x = draw(0, rows, width)
    y = x[:, :2] + draw(1, rows, 2)
    unit = float((x - x.mean(0)).square().sum() / width)

    def held_out(penalty: float) -> float:
        errors = []
        for row in range(rows):
            rest = [other for other in range(rows) if other != row]
            errors.append(fit(x[rest], y[rest], penalty)(x[row]) - y[row].numpy())
        return float(np.square(errors).sum())

    best = min((unit * share for share in probe.PENALTIES), key=held_out)
    assert probe.ridge(x, y).penalty == pytest.approx(best)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3))
def test_rank_correlation_is_scipys(pairs: list[tuple[int, int]]) -> None:
    one, other = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    if len({*one}) > 1 and len({*other}) > 1:
        assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other)[0])
    else:
        assert rank_correlation(one, other) == 0
