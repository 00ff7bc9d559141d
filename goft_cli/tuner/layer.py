"""A linear layer whose input is rotated: W* = W diag(scale) R^T without forming W*."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from goft_cli.rotation import (
    Angle,
    Prepared,
    angles_from,
    fraction_of,
    quasi_penalty,
    rotate,
    rotate_transposed,
)
from goft_cli.tuner.base_weight import (
    base_weight,
    cast_for_autocast,
    features,
    quantization_of,
)
from goft_cli.tuner.config import GoftConfig
from goft_cli.tuner.mixed_batch import by_adapter, check_rows

MERGE_ROWS = 1024
"""Rows of a weight merged at a time, which bounds the float32 memory of a merge."""

TRAINS_WHOLE = (
    "an adapter at a strength other than 1 cannot be trained; call "
    "goft_cli.tuner.set_strength(model, 1) before training, or model.eval() to use it"
)
"""Error of a layer in training while its adapter is not at strength 1."""

RANDOM_START = 0.1
"""Standard deviation of the parameters around the identity with init_weights=False."""


class Parameters(nn.ParameterDict):
    """nn.ParameterDict with a faster look-up, which saves microseconds per layer."""

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - as nn.ParameterDict
        """Return the parameter of that name."""
        return self._parameters[key]

    def __contains__(self, key: object) -> bool:
        """Whether there is one of that name."""
        return key in self._parameters


class GoftLinear(nn.Module, BaseTunerLayer):
    """Wraps nn.Linear (weight (out, in)) or transformers' Conv1D (weight (in, out)).

    It also wraps a linear layer of bitsandbytes: its input is rotated, its quantized weight is only
    read. PEFT's "all-linear" finds adapted layers by the word Linear in the name of their class.

    With several active adapters the effective weight is W S1 R1^T S2 R2^T ..., as after merging
    them one after the other.

    Attributes:
        goft_rotation: per adapter, (in-1,) or (in-1, 2, 2); see `goft_cli.rotation`.
        goft_scale: per adapter with `scale`, (in,).
        goft_strength: per adapter that is not at full strength, the fraction of it that forward,
            merge, `rotation` and `scale` take; see `goft_cli.tuner.set_strength`.
        penalty: () of the last training forward, already weighted, zero once it is in the model's
            loss, or None if there is nothing to penalise: see `goft_cli.tuner.penalty`. Any
            module may have a `penalty: Tensor | None`. A layer used twice in a step counts once.

    While merged, the original weight is kept too (one more copy of the adapted weights): division
    by a learnt scale or block, or quantizing again, cannot restore it bit by bit.
    """

    adapter_layer_names = ("goft_rotation", "goft_scale")
    other_param_names = ("goft_angle", "goft_penalty_weight", "goft_prepared", "goft_strength")
    penalty: Tensor | None
    # A class attribute, for layers that an earlier version pickled; replaced, never changed.
    goft_strength: Mapping[str, float] = {}
    _has_left_penalty = False

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: GoftConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.in_features, self.out_features = features(self.get_base_layer())
        self.quantization_backend = quantization_of(self.get_base_layer())
        self.goft_rotation = Parameters()
        self.goft_scale = Parameters()
        self.goft_angle: dict[str, Angle] = {}
        self.goft_penalty_weight: dict[str, float] = {}
        self.goft_prepared: dict[str, Prepared] = {}
        self.penalty = None
        # In a list, so that nn.Module does not register it and state_dict does not contain it.
        self._original: list[nn.Parameter | nn.Module] = []
        self.merged_adapters: list[str] = []
        self._disable_adapters = False
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: GoftConfig) -> None:
        """Add an adapter, at the identity unless the config asks for a random start."""
        pairs, quasi = self.in_features - 1, config.method == "qgoft"
        rotation = torch.eye(2).repeat(pairs, 1, 1) if quasi else torch.zeros(pairs)
        self.goft_rotation[adapter_name] = _start(rotation, config.init_weights)
        if config.scale:
            scale = torch.ones(self.in_features)
            self.goft_scale[adapter_name] = _start(scale, config.init_weights)
        self.goft_angle[adapter_name] = config.angle
        self.goft_penalty_weight[adapter_name] = config.penalty_weight or 0.0
        self.goft_prepared[adapter_name] = Prepared()
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(
        self,
        x: Tensor,
        *args: Any,  # noqa: ANN401 - passed on
        adapter_names: Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        """(..., in) to (..., out), in the dtype that the base layer alone would return.

        `adapter_names` are those of the rows, which are then the first dimension of `x`.
        """
        if adapter_names is not None:
            check_rows(self, x, adapter_names)
        if self.disable_adapters and self.merged:
            self.unmerge()
        names = [] if self.disable_adapters or self.merged else self.active_adapters
        # W S1 R1^T S2 R2^T x: the last adapter is applied to x first.
        names = [name for name in reversed(names) if name in self.goft_angle]
        if self.training or self._has_left_penalty:
            self._leave_penalty(names)
        if self.goft_strength:
            if self.training:
                raise ValueError(TRAINS_WHOLE)
            names = [name for name in names if self.goft_strength.get(name) != 0]
        if adapter_names is not None and not self.disable_adapters:
            x = by_adapter(cast_for_autocast(x), adapter_names, self._turned)
        elif names:
            x = cast_for_autocast(x)
            for name in names:
                x = self._turned(x, name)
        return self.base_layer(x, *args, **kwargs)

    def _turned(self, x: Tensor, name: str) -> Tensor:
        """Return the input turned by one adapter; unchanged if the adapter is not in this layer."""
        if name not in self.goft_angle or self.goft_strength.get(name) == 0:
            return x
        kept = self._kept(name, x)
        if name in self.goft_strength:
            return rotate_transposed(x, self.rotation(name), kept, self.scale(name))
        rotation, scale = self.goft_rotation[name], self.goft_scale.get(name)
        return rotate_transposed(x, rotation, kept, scale, self.goft_angle[name])

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Merge the adapters into the base weight; computed in float32 or wider, rounded once.

        Args:
            safe_merge: refuse a merged weight that is not finite, leaving the layer as it was.
            adapter_names: which ones, in this order; the active ones by default.

        Raises:
            ValueError: safe_merge, and the merged weight is not finite.
        """
        names = check_adapters_to_merge(self, adapter_names)
        names = [name for name in names if name in self.goft_rotation]
        if not names:
            return
        merged = self._merged_weight(base_weight(self.get_base_layer()), names)
        if safe_merge and not torch.isfinite(merged).all():
            raise ValueError(
                # PEFT's own words, which programs look for
                f"NaNs detected in the merged weights. The adapter {', '.join(names)} seems to be "
                "broken: expected finite entries; load an earlier checkpoint"
            )
        original = self._replace_weight(merged)
        if not self._original:
            self._original.append(original)
        self.merged_adapters.extend(names)

    def _replace_weight(self, weight: Tensor) -> nn.Parameter | nn.Module:
        """Replace the base layer's weight, quantized if it was, and return the previous one."""
        base = self.get_base_layer()
        backend = quantization_of(base)
        if backend is None:
            original = base.get_parameter("weight")
            # A new Parameter, not new data in the old one: a weight tied to it must not change.
            base.weight = nn.Parameter(weight, requires_grad=original.requires_grad)
            return original
        self.base_layer = copy.deepcopy(base)  # parts of a packed weight lie outside of it
        backend.set_base_weight(self, weight)
        return base

    def unmerge(self) -> None:
        """Restore the original weight, bit by bit."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        base, original = self.get_base_layer(), self._original.pop()
        self.merged_adapters.clear()
        if isinstance(original, nn.Module):
            self.base_layer = original.to(base.get_parameter("weight").device)
            return
        merged = base.get_parameter("weight")
        if (original.device, original.dtype) != (merged.device, merged.dtype):
            moved = original.detach().to(merged)
            original = nn.Parameter(moved, requires_grad=original.requires_grad)
        base.weight = original

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """W* - W of one adapter alone, in the shape and dtype of the base weight."""
        weight = base_weight(self.get_base_layer())
        return self._merged_weight(weight, [adapter_name]) - weight

    def rotation(self, adapter_name: str) -> Tensor:
        """Angles (in-1,) in radians, or quasi blocks (in-1, 2, 2), with their gradient."""
        found: Tensor = self.goft_rotation[adapter_name]
        if found.dim() == 1:
            found = angles_from(found, self.goft_angle[adapter_name])
        strength = self.goft_strength.get(adapter_name)
        return found if strength is None else fraction_of(found, strength)

    def scale(self, adapter_name: str) -> Tensor | None:
        """Factors (in,) of an adapter that learns them."""
        found, strength = self.goft_scale.get(adapter_name), self.goft_strength.get(adapter_name)
        if found is None or strength is None:
            return found
        return found.to(torch.promote_types(found.dtype, torch.float32)) ** strength

    @torch.no_grad()
    def _merged_weight(self, weight: Tensor, names: list[str]) -> Tensor:
        merged = torch.empty_like(weight, memory_format=torch.contiguous_format)
        pieces = (self._as_rows(w).split(MERGE_ROWS) for w in (weight, merged))
        prepared = {name: Prepared() for name in names}
        for source, target in zip(*pieces, strict=True):
            rows = source.to(torch.promote_types(weight.dtype, torch.float32))
            for name in names:
                if self.goft_strength.get(name) == 0:
                    continue
                if (scale := self.scale(name)) is not None:
                    rows = rows * scale.to(rows)
                rows = rotate(rows, self.rotation(name).to(rows.device), prepared[name])
            target.copy_(rows)
        return merged

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Tell PEFT that W* - W describes the whole adapter, so that it can be factored."""
        return True

    def _as_rows(self, weight: Tensor) -> Tensor:
        """(out, in) from the stored weight, and back."""
        return weight.T if isinstance(self.get_base_layer(), Conv1D) else weight

    def _kept(self, name: str, x: Tensor) -> Prepared | None:
        """Return the cache; in training only on a CPU, where comparing values needs no sync."""
        if not self.training or x.device.type == "cpu":
            return self.goft_prepared[name]
        self.goft_prepared[name].clear()
        return None

    def _leave_penalty(self, names: list[str]) -> None:
        weights = self.goft_penalty_weight
        penalised = [name for name in names if self.training and weights[name]]
        found = {name: self.goft_rotation[name] for name in penalised}
        found = {name: rotation for name, rotation in found.items() if rotation.requires_grad}
        if found or self._has_left_penalty:  # setting a module's attribute takes microseconds
            self.penalty = self._penalty(found) if found else None
            self._has_left_penalty = bool(found)

    @torch.enable_grad()
    def _penalty(self, rotations: dict[str, nn.Parameter]) -> Tensor:
        # With gradients even if they are off: reentrant checkpointing runs the first forward
        # without them, but its penalty is added to the loss.
        weights = self.goft_penalty_weight
        terms = [weights[name] * quasi_penalty(blocks) for name, blocks in rotations.items()]
        return terms[0] if len(terms) == 1 else torch.stack(terms).sum()

    def __getstate__(self) -> dict[str, Any]:
        # A tensor in an autograd graph cannot be copied or pickled.
        return {**self.__dict__, "penalty": None}

    def __repr__(self) -> str:
        return "goft." + super().__repr__()


GoftLayer = GoftLinear
"""The public name, which models pickled by earlier versions look for as well."""


def _start(identity: Tensor, init_weights: bool) -> nn.Parameter:
    noise = 0 if init_weights else RANDOM_START * torch.randn_like(identity)
    return nn.Parameter(identity + noise)
