"""A model: its configuration, what it is called, and what it requires of the machine."""

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
    target_modules: Any = MISSING
    """Suffixes of module names, as PEFT reads them, or its word `all-linear`."""
    head_modules: list[str] | None = field(default_factory=list)
    """Modules that train beside the adapter and are saved with it; not counted as adapter. `null`
    for those that the task puts beside the pretrained model."""
    recipe: str = "${.name}"
    """Whose recipes apply: another model's where the pretrained weights are the same."""
    budgets: dict[str, Any] = field(default_factory=dict)
    """Adapters' sizes on this model, by recipe, where not their fallbacks: `{lora: {r: 16}}`."""
    dtype: Dtype = Dtype.float32
    """Precision of the frozen weights."""
    quantization: Quantization | None = None
    """Pack the frozen linear layers with bitsandbytes; `dtype` is then that of the rest."""
    attn_implementation: str | None = None
    """How attention is computed: `eager`, `sdpa`, `flash_attention_2` and others that transformers
    has; its own choice if not given."""
    trust_remote_code: bool = False
    """Runs code from the model repository; only ever on the user's own word."""

    @property
    def source(self) -> dict[str, Any]:
        """What `from_pretrained` is told of the model's repository."""
        return {"revision": self.revision or "main", "trust_remote_code": self.trust_remote_code}


def real_name(model: ModelConfig) -> str:
    """Return the name of a model's YAML, or of the folder that was put in its place.

    A YAML of this package says which weights it is about; with another `model.path` its name
    would be that of another model.
    """
    known = {own_name(model.name), Path(model.name).name, own_name(shipped_path(model.name))}
    found = own_name(model.path)
    if shipped_path(model.name) is None or found in known:
        return model.name
    return f"{found} (settings of {model.name})"


def shipped_path(name: str) -> str | None:
    """Return where the weights of a model of this package are; None for a YAML of the user's."""
    return stated(name, "path") if yaml_of(name).is_file() else None


def stated(name: str, key: str) -> Any:  # noqa: ANN401 - a value of a YAML
    """Return what the YAML of a model states under a key, or else the one that it inherits from."""
    content = read_yaml(yaml_of(name))
    if key in content:
        return content[key]
    above = [entry for entry in content["defaults"] if str(entry).startswith("/model/")]
    found = [stated(str(entry).removeprefix("/model/").partition("@")[0], key) for entry in above]
    return next((value for value in found if value is not None), None)


def family(architecture: str) -> str | None:
    """Return the YAML of this package that says how an architecture names its modules."""
    yamls = sorted(yaml_of("any").parent.glob("*.yaml"))
    known = (file.stem for file in yamls if read_yaml(file).get("architecture") == architecture)
    return next(known, None)


def yaml_of(name: str) -> Path:
    """Return where this package would have the YAML of a model."""
    return data_root() / "configs" / "model" / f"{name}.yaml"


def words_of(model: ModelConfig) -> list[str]:
    """Return the words of a command line that choose a model."""
    if yaml_of(model.name).is_file():
        return [f"model={model.name}"]
    return ["model=auto", f"model.path={model.path}"]


def own_name(path: str | None) -> str | None:
    """Return the last part of a path or hub id; of a snapshot in the hub's cache, the model's."""
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
            f"model={model.name}: its tokenizer needs {' and '.join(missing)}, found no such "
            "package",
            f"run pip install {' '.join(missing)}",
        )


def is_installed(package: str) -> bool:
    """Tell whether a package is there, by the name that pip knows it by."""
    from importlib.metadata import PackageNotFoundError, distribution  # late, for it imports email

    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def require_bitsandbytes(words: str) -> None:
    """Refuse to pack weights without the package that does it."""
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
