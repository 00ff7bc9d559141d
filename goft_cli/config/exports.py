"""Keys of the verbs that write a trained run in another form: merge and push."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from goft_cli.config.choices import Dtype, Quantization
from goft_cli.config.verbs import TrainedConfig
from goft_cli.system.errors import GoftError


@dataclass
class ExportConfig(TrainedConfig):
    """Keys that `goft merge` and `goft push` share."""

    as_lora: float | None = None
    """Write a LoRA adapter of this rank; below 1, the share of each layer's change to keep."""
    samples: int = 64
    """Rows of the task on which outputs are compared; 0 compares none and needs no data."""
    dtype: Dtype | None = None
    """Precision of the merged weights; by default that of the base model."""
    quantization: Quantization | None = None
    """Quantize the merged weights with bitsandbytes; by default they are not quantized."""
    tolerance: float | None = None
    """Largest difference of outputs to accept; by default that of rounding. With `as_lora`,
    `quantization` or a coarser `dtype` any difference is accepted."""
    data_dir: str | None = None
    """Folder with the task's data, if it has moved since training."""
    batch_size: int = 64
    """Rows at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.batch_size > 0, "batch_size", "at least 1", example=64)
        allowed, rank = self.tolerance, self.as_lora
        self.check(self.samples >= 0, "samples", "at least 0", example=64)
        self.check(allowed is None or allowed >= 0, "tolerance", "at least 0", example=0.001)
        fits = rank is None or 0 < rank < 1 or (rank >= 1 and rank == int(rank))
        self.check(fits, "as_lora", "a rank, or a share between 0 and 1", example=16)


@dataclass
class MergeConfig(ExportConfig):
    """`goft merge`."""

    output_dir: str | None = None
    """Folder for the model; by default `merged`, `lora-RANK` or `unmerged` in the run folder, and a
    given strength is appended to the name."""
    undo: bool = False
    """Remove the adapter from a merged model: the base model up to rounding."""
    merged_dir: str | None = None
    """The merged model to undo; by default `merged` in the run folder, and a given strength is
    appended to the name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kept = ("as_lora", "dtype", "quantization", "tolerance")
        given = [key for key in kept if self.undo and getattr(self, key) is not None]
        if given:
            raise GoftError(
                f"merge: undo writes the model as it was merged, found {', '.join(given)} too",
                f"drop {', '.join(given)}",
            )
        if self.merged_dir is not None and not self.undo:
            raise GoftError("merge: only undo=true reads merged_dir", "pass undo=true too")


@dataclass
class PushConfig(ExportConfig):
    """`goft push`: the adapter, unless `merged` or `as_lora` says otherwise."""

    repo: str = MISSING
    """Repository on the hub: `OWNER/NAME`, or `NAME` in your own account."""
    merged: bool = False
    """Upload the model with the adapter merged into its weights."""
    public: bool = False
    """Make the repository public; goft asks before it does."""
    yes: bool = False
    """Do not ask before making it public, for scripts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.merged and self.as_lora is not None:
            raise GoftError("push: merged and as_lora exclude each other", "pass one of them")
