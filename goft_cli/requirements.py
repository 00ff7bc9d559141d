"""Packages and settings that a model needs, checked before it is loaded."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from goft_cli.config import ModelConfig
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import model_location


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
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def require_bitsandbytes(words: str) -> None:
    """Refuse to pack weights without the package that does it."""
    if find_spec("bitsandbytes") is None:
        raise GoftError(
            f"{words}: bitsandbytes is not installed",
            "run pip install 'goft-cli[quant]'",
        )


def check_engine() -> None:
    """Refuse an unknown rotation engine in the environment; imports torch."""
    from goft_cli.rotation import forced_engine
    from goft_cli.rotation.engines import EngineError

    try:
        forced_engine()
    except EngineError as error:
        raise GoftError(error.problem, error.remedy) from error
