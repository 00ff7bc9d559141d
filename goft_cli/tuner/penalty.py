"""Adds the layers' penalties to the loss that a model returns while it trains.

Hooks of the adapted model do this and not the tuner's `forward`, because PEFT calls the tuner only
for some task types, and transformers' `add_adapter` never does. Code that adds the penalties to
the loss itself, as `PenaltyMixin` does for Trainer, reads them with `total_penalty`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle
from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss

from goft_cli.tuner.geometry import geometry_scalars

if TYPE_CHECKING:
    from transformers import Trainer as Base
else:
    Base = object

NAME = "goft_penalty"
"""The attribute of an adapted model that holds its `PenaltyInLoss`."""


def own_penalty(module: nn.Module) -> Tensor | None:
    """The penalty of this module, not of one that it wraps, as PEFT's wrappers would return."""
    penalty = vars(module).get("penalty")
    return penalty if isinstance(penalty, Tensor) else None


def forget_penalties(model: nn.Module) -> None:
    """Remove the penalties of an earlier pass: a layer skipped in this pass must not count."""
    for module in model.modules():
        if own_penalty(module) is not None:
            object.__setattr__(module, "penalty", None)


def sum_of_penalties(model: nn.Module) -> Tensor | None:
    """The sum () of the layers' penalties, on the device of the first one; None without any."""
    found = [own_penalty(module) for module in model.modules()]
    penalties = [penalty for penalty in found if penalty is not None]
    if not penalties:
        return None
    return torch.stack([one.to(penalties[0].device) for one in penalties]).sum()


class PenaltyInLoss:
    """Adds the penalties to the loss of each training pass, and checks that they reach a loss.

    If a model divides its loss by `num_items_in_batch`, a pass is only part of an update. The
    penalty is then multiplied by this micro-batch's share of the update's items, so that the
    micro-batches of all processes together add the penalty once.
    """

    def __init__(self) -> None:
        self.apart = False  # whether other code adds the penalties of this pass
        self.in_loss = False  # whether the last pass added them to the loss that it returned
        self.due = False  # whether they have not reached a backward pass yet
        self.settled = False  # whether a backward pass has shown how this training uses them

    def before(self, model: nn.Module, args: tuple[Any, ...]) -> None:
        """Forget the pass before this one."""
        if model.training:
            forget_penalties(model)

    def after(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
    ) -> object:
        """Add the penalties to the loss, and set the layers' penalties to zero."""
        penalty = None if self.apart or not model.training else sum_of_penalties(model)
        if penalty is None:
            return output
        loss = loss_of(output)
        self.in_loss = loss is not None
        if loss is not None:
            loss = loss + (penalty * share_of_update(model, kwargs)).to(loss.device)
            output = with_loss(output, loss)
            for module in model.modules():
                if own_penalty(module) is not None:
                    object.__setattr__(module, "penalty", torch.zeros_like(penalty))
        if torch.is_grad_enabled() and not self.settled and not torch.compiler.is_compiling():
            self._watch(output, loss)
        return output

    def taken(self) -> None:
        """Note that other code adds the penalties of the last pass to the loss."""
        self.due = self.due and self.in_loss

    def _watch(self, output: object, loss: Tensor | None) -> None:
        # Backward reaches the gradient of the loss before those of its inputs.
        self.due = True
        if loss is not None:
            loss.register_hook(self._on_loss)
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor) and tensor.requires_grad and tensor is not loss:
                tensor.register_hook(self._on_output)

    def _on_loss(self, gradient: Tensor) -> None:
        self.due, self.settled = False, True

    def _on_output(self, gradient: Tensor) -> None:
        if not self.settled:
            engine = cast(Any, torch.autograd.Variable)._execution_engine
            engine.queue_callback(self._at_the_end_of_the_backward_pass)

    def _at_the_end_of_the_backward_pass(self) -> None:
        if self.due and not self.settled:
            warnings.warn(
                "qGOFT: this training step has no penalty: its loss is not the one that the model "
                "returns, and goft_cli.penalty.total_penalty(model) was not added to it; call "
                "the model without labels and add total_penalty(model) to your loss, or put "
                "goft_cli.PenaltyMixin before your Trainer, or pass penalty_weight=0",
                stacklevel=2,
            )
        self.settled = True


def install(model: nn.Module) -> list[RemovableHandle]:
    """Make a model add the penalties to its loss; a second call changes nothing."""
    if NAME in vars(model):
        return []
    state = PenaltyInLoss()
    object.__setattr__(model, NAME, state)
    return [
        model.register_forward_pre_hook(state.before),
        model.register_forward_hook(state.after, with_kwargs=True),
    ]


def installed(model: nn.Module) -> list[PenaltyInLoss]:
    """The `PenaltyInLoss` objects of a model and its parts."""
    return [vars(module)[NAME] for module in model.modules() if NAME in vars(module)]


@contextmanager
def apart(model: nn.Module) -> Iterator[None]:
    """Do not add the penalties of passes within a block: the caller adds them."""
    states = installed(model)
    try:
        for state in states:
            state.apart = True
        yield
    finally:
        for state in states:
            state.apart = False


def loss_of(output: object) -> Tensor | None:
    """The scalar loss in a model's output, where Trainer would look for it."""
    if isinstance(output, Mapping):
        loss = output.get("loss")
        return loss if isinstance(loss, Tensor) and loss.numel() == 1 else None
    first = output[0] if type(output) is tuple and output else None
    return first if isinstance(first, Tensor) and first.dim() == 0 else None


def with_loss(output: object, loss: Tensor) -> object:
    """The same output with another loss."""
    if type(output) is tuple:
        return (loss, *output[1:])
    cast("dict[str, Tensor]", output)["loss"] = loss
    return output


def share_of_update(model: nn.Module, kwargs: Mapping[str, Any]) -> Tensor | float:
    """The share of an update that this pass has: 1, unless the model divides by its items.

    The items are counted as Trainer counts them, see its `_get_num_items_in_batch`.
    """
    items, targets = kwargs.get("num_items_in_batch"), kwargs.get("shift_labels")
    if targets is None:
        targets = kwargs.get("labels")
        if targets is not None and shifts_labels(model):
            targets = targets[..., 1:]
    return 1.0 if items is None or targets is None else targets.ne(-100).sum() / items


def shifts_labels(model: nn.Module) -> bool:
    """Whether the model shifts labels, so that the first label of each row is not a target."""
    causal = LOSS_MAPPING.get(str(getattr(model, "loss_type", ""))) is ForCausalLMLoss
    return causal and not getattr(getattr(model, "config", None), "is_encoder_decoder", False)


def total_penalty(model: nn.Module) -> Tensor | None:
    """Return the penalty to add to the loss of the last training pass; None if there is none.

    It is zero if the loss contains it already: a model with GOFT adapters adds it to the loss that
    it returns when it is called with labels.
    """
    for state in installed(model):
        state.taken()
    return sum_of_penalties(model)


class PenaltyMixin(Base):
    """Mixin before transformers.Trainer: adds the penalty to the loss, logs it and the rotations.

    The logged `loss` is the task loss only, except on several GPUs without a launcher, where the
    copies of the model add the penalty themselves. A tracker also gets statistics of the rotations,
    see `goft_cli.tuner.geometry`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer's own
        super().__init__(*args, **kwargs)
        self._penalty_of_step: Tensor | None = None
        self._penalty_sum = 0.0
        self._penalty_updates = 0.0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the task loss, plus the penalty while training."""
        forget_penalties(model)
        self._penalty_of_step = None
        with apart(model) if self.args.n_gpu <= 1 else nullcontext():
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if model.training:
            penalty = total_penalty(model)
            if penalty is not None:
                self._penalty_of_step = penalty.detach() / self.current_gradient_accumulation_steps
                loss = loss + penalty / self._division_still_to_come(num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _division_still_to_come(self, num_items_in_batch: Tensor | int | None) -> int:
        """The divisor that Trainer has not applied: it does not divide a loss that is scaled."""
        scaled = getattr(self, "loss_is_scaled_for_ga", None)
        if scaled is None:
            normalised = self.model_accepts_loss_kwargs and num_items_in_batch is not None
            scaled = normalised or self.compute_loss_func is not None
        return self.current_gradient_accumulation_steps if scaled else 1

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - Trainer's own
        """Compute the gradients of one micro-batch with its penalty; return the task loss."""
        loss = super().training_step(*args, **kwargs)
        if self._penalty_of_step is None:
            return loss
        self._penalty_sum += self._penalty_of_step.item()
        self._penalty_updates += 1 / self.current_gradient_accumulation_steps
        return loss - self._penalty_of_step

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the task loss and the mean penalty per update; a tracker also gets the rotations."""
        if "loss" in logs and self._penalty_updates:
            logs["penalty"] = self._penalty_sum / self._penalty_updates
            self._penalty_sum = self._penalty_updates = 0.0
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if "loss" in logs and self.args.report_to and not sharded:
            logs |= geometry_scalars(cast("nn.Module", self.model))
        super().log(logs, start_time)
