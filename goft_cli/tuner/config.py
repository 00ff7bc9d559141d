"""GOFT's PEFT configuration, which checks its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from peft import PeftConfig
from peft.utils import PeftType

from goft_cli.config.choices import PENALTY_WEIGHT
from goft_cli.rotation import Angle

Method = Literal["goft", "qgoft"]


@dataclass
class GoftConfig(PeftConfig):
    """Configuration of GOFT (strict rotations) and qGOFT (quasi rotations).

    Raises:
        ValueError: an option, or a combination of options, that has no meaning.

    Example:
        >>> model = get_peft_model(model, GoftConfig(target_modules=["query", "value"]))
    """

    method: Method = "goft"
    """"goft" learns d-1 angles per layer of d inputs, "qgoft" d-1 free 2x2 blocks."""
    angle: Angle = "tanh"
    """How a parameter p of "goft" becomes an angle: pi * tanh(p), or p itself ("direct")."""
    scale: bool = False
    """Learn a factor per input as well (norm adjustment)."""
    penalty_weight: float | None = None
    """Weight of qGOFT's orthogonality penalty, `PENALTY_WEIGHT` if not given; 0 for strict
    rotations, which are orthogonal."""
    target_modules: list[str] | set[str] | str | None = None
    """Names or name suffixes, a regex matched against the whole name, or "all-linear"."""
    exclude_modules: list[str] | set[str] | str | None = None
    """Names or name suffixes, or a regex, of modules not to adapt."""
    modules_to_save: list[str] | None = None
    """Modules trained in full and saved beside the adapter, such as a new classifier."""
    layers_to_transform: list[int] | int | None = None
    """Indices of the blocks to adapt; all of them if not given."""
    layers_pattern: list[str] | str | None = None
    """Name of the list of blocks, such as "layers", where its place is ambiguous."""
    init_weights: bool = True
    """Start at the identity; False starts at a small random rotation (for tests)."""

    def __post_init__(self) -> None:
        saved = self.peft_version is not None  # PEFT fills it in; only a file gives one
        super().__post_init__()
        self.peft_type = PeftType("GOFT")
        self.target_modules = _as_set(self.target_modules)
        self.exclude_modules = _as_set(self.exclude_modules)
        _check_choice("method", self.method, get_args(Method))
        _check_choice("angle", self.angle, get_args(Angle))
        self._settle_penalty(saved)
        self._check_layers()

    def to_dict(self) -> dict[str, Any]:
        """Plain types; sets of names sorted, so that a saved file is the same in every run."""
        fields = super().to_dict()
        return {key: sorted(v) if isinstance(v, set) else v for key, v in fields.items()}

    def _settle_penalty(self, saved: bool) -> None:
        strict, weight = self.method == "goft", self.penalty_weight
        if weight is None:
            weight = 0.0 if strict else PENALTY_WEIGHT
        is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight < float("inf"):
            raise ValueError(
                f"penalty_weight={weight!r}, expected a finite number >= 0; pass 0 for no penalty"
            )
        if strict and saved:
            weight = 0.0  # earlier versions saved a weight here too, which nothing read
        if strict and weight:
            raise ValueError(
                f"penalty_weight={weight!r}, expected none with method='goft', for its rotations "
                "are orthogonal by construction; leave it out, or pass method='qgoft'"
            )
        self.penalty_weight = weight

    def _check_layers(self) -> None:
        if isinstance(self.target_modules, str):
            for key in ("layers_to_transform", "layers_pattern"):
                if getattr(self, key) is not None:
                    raise ValueError(
                        f"{key} cannot narrow target_modules={self.target_modules!r}, which is "
                        "matched against whole names; list module names, or put the layer numbers "
                        "into the regex"
                    )
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError(
                f"layers_pattern={self.layers_pattern!r} selects nothing without "
                "layers_to_transform; pass the layer numbers too"
            )


def _as_set(names: list[str] | set[str] | str | None) -> set[str] | str | None:
    return names if names is None or isinstance(names, str) else set(names)


def _check_choice(key: str, found: object, choices: tuple[str, ...]) -> None:
    if found not in choices:
        raise ValueError(f"{key}={found!r} is unknown; choose one of {', '.join(choices)}")
