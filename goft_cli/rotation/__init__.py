"""Rotations of R^d with d - 1 learnt angles, applied in O(d) per vector. Imports torch only.

The d coordinates are the leaves of a binary tree. Stage 1 turns neighbours (0, 1), (2, 3), ...;
stage 2 turns the survivors (0, 2), (4, 6), ...; each stage doubles the stride and halves the number
of pairs until coordinate 0 alone is left, so that all stages together hold d - 1 pairs, for every
d. `rotate` (R x) climbs the tree from the leaves to the root, `rotate_transposed` (R^T x) descends
it: an inverse Haar transform whose angles are learnt. Each of the d - 1 pairs costs four
multiplications, hence O(d) rather than the O(d^2) of a dense product. On a CPU, vectorized loops
in C do this: `goft_cli.rotation.compiled`. On a GPU, one kernel does it in one pass over memory:
`goft_cli.rotation.fused`. Elsewhere, small matrix products replace many small passes over memory;
they need more multiplications, also O(d), but less time: `goft_cli.rotation.blocked`.

A rotation is one tensor, stage by stage from fine to coarse, pairs in ascending order:

    angles (d-1,)        strict: pair i turns by [[cos, -sin], [sin, cos]]
    blocks (d-1, 2, 2)   quasi: pair i is multiplied by any [[a1, b1], [a2, b2]]

With d - 1 angles R turns any vector onto the first axis, and R^T the first axis onto any vector of
the same length (the step behind Theorem 4.1 of Ma et al., "Parameter Efficient Quasi-Orthogonal
Fine-Tuning via Givens Rotation", ICML 2024, arXiv:2404.04316). The rotations reached are a
(d-1)-dimensional family inside SO(d), not all of it.
"""

from __future__ import annotations

from goft_cli.rotation.apply import Prepared, rotate, rotate_transposed
from goft_cli.rotation.engines import ENGINES, force_engine, forced_engine
from goft_cli.rotation.schedule import (
    Angle,
    Stage,
    angles_from,
    fraction_of,
    polar_parts,
    quasi_penalty,
    schedule,
)

__all__ = [
    "ENGINES",
    "Angle",
    "Prepared",
    "Stage",
    "angles_from",
    "force_engine",
    "forced_engine",
    "fraction_of",
    "polar_parts",
    "quasi_penalty",
    "rotate",
    "rotate_transposed",
    "schedule",
]
