"""A model: its configuration, its name, and the packages that it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from goft_cli.config.choices import Dtype, Quantization
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_yaml
from goft_cli.system.locations import data_root, model_location


@dataclass
class ModelConfig:
    """A pretrained backbone: where it is, and which of its linear layers an adapter adapts."""

    name: str = MISSING
    """Its name in tables, folders and recipes."""
    path: str = MISSING
    """Hub id, local folder, or `asset:NAME` for a tiny model shipped with the package."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    architecture: str | None = None
    """`model_type` in `config.json`; `target_modules` and `head_modules` are modules of it."""
    requires: list[str] = field(default_factory=list)
    """Packages that the tokenizer needs, if it is not stored as `tokenizer.json`."""
    target_modules: Any = MISSING
    """Linear layers to adapt: suffixes of module names, as in PEFT, or `all-linear`."""
    head_modules: list[str] | None = field(default_factory=list)
    """Modules that are trained and saved with the adapter, but not counted as part of it; `null`
    for those that the task adds to the pretrained model."""
    recipe: str = "${.name}"
    """Name of the model whose recipes apply, if another has the same pretrained weights."""
    budgets: dict[str, Any] = field(default_factory=dict)
    """Sizes of adapters on this model, in place of their fallbacks: `{lora: {r: 16}}`."""
    dtype: Dtype = Dtype.float32
    """Precision of the frozen weights."""
    quantization: Quantization | None = None
    """Quantize the frozen linear layers with bitsandbytes; `dtype` is then that of the rest."""
    attn_implementation: str | None = None
    """How attention is computed: `eager`, `sdpa`, `flash_attention_2` or another that transformers
    has; by default transformers chooses."""
    trust_remote_code: bool = False
    """Run Python code from the model repository; never without this key."""

    @property
    def source(self) -> dict[str, Any]:
        """Arguments of `from_pretrained` about the model's repository."""
        return {"revision": self.revision or "main", "trust_remote_code": self.trust_remote_code}


def real_name(model: ModelConfig) -> str:
    """Return the name of a model's YAML, or that of a `model.path` given in its place.

    With another `model.path` the weights are not those that the YAML is named after.
    """
    known = {own_name(model.name), Path(model.name).name, own_name(shipped_path(model.name))}
    found = own_name(model.path)
    if shipped_path(model.name) is None or found in known:
        return model.name
    return f"{found} (settings of {model.name})"


def shipped_path(name: str) -> str | None:
    """Return the path of the weights in a model YAML of this package; None for a user's YAML."""
    return stated(name, "path") if yaml_of(name).is_file() else None


def stated(name: str, key: str) -> Any:  # noqa: ANN401 - a value of a YAML
    """Return the value of a key in the YAML of a model, or in the YAML that it inherits from."""
    content = read_yaml(yaml_of(name))
    if key in content:
        return content[key]
    above = [entry for entry in content["defaults"] if str(entry).startswith("/model/")]
    found = [stated(str(entry).removeprefix("/model/").partition("@")[0], key) for entry in above]
    return next((value for value in found if value is not None), None)


def family(architecture: str) -> str | None:
    """Return the name of this package's YAML that has the module names of an architecture."""
    yamls = sorted(yaml_of("any").parent.glob("*.yaml"))
    known = (file.stem for file in yamls if read_yaml(file).get("architecture") == architecture)
    return next(known, None)


def yaml_of(name: str) -> Path:
    """Return the path of a model's YAML in this package, whether or not there is one."""
    return data_root() / "configs" / "model" / f"{name}.yaml"


def own_name(path: str | None) -> str | None:
    """Return the last part of a path or hub id; for a snapshot in the hub's cache, of its id."""
    if path is None:
        return None
    place = Path(path.rpartition(":")[2])
    if place.parent.name == "snapshots":
        return place.parent.parent.name.rpartition("--")[2]
    return place.name


def check_tokenizer(model: ModelConfig) -> None:
    """Refuse a tokenizer that no installed package can read."""
    location = model_location(model.path)
    if isinstance(location, Path) and (location / "tokenizer.json").is_file():
        return
    missing = [package for package in model.requires if not is_installed(package)]
    if missing:
        raise GoftError(
            f"model={model.name}: its tokenizer needs {' and '.join(missing)}, not installed here",
            f"run pip install {' '.join(missing)}",
        )


def is_installed(package: str) -> bool:
    """Tell whether a package is installed, by its name in pip."""
    from importlib.metadata import PackageNotFoundError, distribution  # late: it imports email

    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def require_bitsandbytes(words: str) -> None:
    """Refuse to quantize weights if bitsandbytes is not installed."""
    if find_spec("bitsandbytes") is None:
        raise GoftError(
            f"{words}: bitsandbytes is not installed", "run pip install 'goft-cli[quant]'"
        )


def check_engine() -> None:
    """Refuse an unknown rotation engine in the environment; imports torch."""
    from goft_cli.rotation import forced_engine
    from goft_cli.rotation.engines import EngineError

    try:
        forced_engine()
    except EngineError as error:
        raise GoftError(error.problem, error.remedy) from error
