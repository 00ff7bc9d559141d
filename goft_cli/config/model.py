"""The backbone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from goft_cli.config.choices import Dtype, Quantization


@dataclass
class ModelConfig:
    """A pretrained backbone: where it is, and which of its linears an adapter turns."""

    name: str = MISSING
    """What tables, folders and recipes call it."""
    path: str = MISSING
    """Hub id, local folder, or `asset:NAME` for a tiny model shipped with the package."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    architecture: str | None = None
    """What `config.json` calls it under `model_type`; the names below are modules of this one."""
    requires: list[str] = field(default_factory=list)
    """Packages that read the tokenizer, where it is not stored as `tokenizer.json`."""
    target_modules: list[str] = MISSING
    """Suffixes of module names, as PEFT reads them."""
    head_modules: list[str] = field(default_factory=list)
    """Modules that train beside the adapter and are saved with it; not counted as adapter."""
    recipe: str = "${.name}"
    """Whose recipes apply: another model's where the pretrained weights are the same."""
    budgets: dict[str, Any] = field(default_factory=dict)
    """Adapters' sizes on this model, by recipe, where not their fallbacks: `{lora: {r: 16}}`."""
    dtype: Dtype = Dtype.float32
    """Precision of the frozen weights."""
    quantization: Quantization | None = None
    """Pack the frozen linear layers with bitsandbytes; `dtype` is then that of the rest."""
    trust_remote_code: bool = False
    """Runs code from the model repository; only ever on the user's own word."""

    @property
    def source(self) -> dict[str, Any]:
        """What `from_pretrained` is told of the model's repository."""
        return {"revision": self.revision or "main", "trust_remote_code": self.trust_remote_code}
