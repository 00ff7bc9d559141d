"""How far the rotations have turned so far, beside the loss, for whoever watches a training."""

from __future__ import annotations

import math

import torch
from torch import nn

from goft_cli.geometry import rotation_geometries

PREFIX = "geometry/"


def geometry_scalars(model: nn.Module) -> dict[str, float]:
    """Return a few numbers on the rotations of a model as they are now.

    Args:
        model: with an adapter, whole on this process; another adapter than GOFT gives none.

    Returns:
        by name: mean and largest |angle| of a pair in degrees, over all layers; the largest
        orthogonality error of a layer; the largest deviation of a block from a rotation.
    """
    found = rotation_geometries(model)
    if not found:
        return {}
    angles = torch.cat([one.angles.abs().cpu() for one in found.values()])
    scalars = {
        "angle_mean": math.degrees(angles.mean()),
        "angle_max": math.degrees(angles.max()),
        "orthogonality_error": max(one.orthogonality_error for one in found.values()),
        "deviation_max": max(float(one.deviations.max()) for one in found.values()),
    }
    return {f"{PREFIX}{name}": value for name, value in scalars.items()}
