"""From words on the command line to typed configuration, through Hydra and nothing heavier."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from goft_cli.command_line.borders import environment, refuse_secrets
from goft_cli.command_line.store import offer
from goft_cli.command_line.wording import keep_words
from goft_cli.config import BenchmarkConfig, TrainConfig, TrainerConfig
from goft_cli.config.choices import PENALTY_WEIGHT
from goft_cli.config.trainer import accumulation_steps, device_batch, processes
from goft_cli.system.errors import GoftError

ConfigT = TypeVar("ConfigT")

# Longer folder names break on some file systems once a metric or checkpoint name is appended.
MAX_RUN_NAME = 120
MAX_PLACE_NAME = 32
UNNAMEABLE = re.compile(r"[^\w.=+,-]+", re.ASCII)
"""What a folder's name has none of."""
PLACES = ("model.path", "task.data_dir", "benchmark.data_dir")
"""Keys whose values are too long, and too much of one machine, to stand in a name as they are."""


def recipe_value(key: str, *, _root_: DictConfig) -> Any:  # noqa: ANN401 - a YAML scalar
    """Look a hyperparameter up.

    The first to have it wins: the task's row for this adapter, the task's shared row, the model's
    budget for this adapter, the adapter's own fallback, the trainer's default.
    """
    task, model, adapter = _root_.task, _root_.model, _root_.adapter
    kind = OmegaConf.get_type(task)
    if kind is not None and issubclass(kind, BenchmarkConfig):
        raise GoftError(
            f"task {task.name} has nothing to train on",
            f"score it with goft eval task={task.name} adapter=RUN_FOLDER",
        )
    rows = [rows.get(adapter.recipe) or {} for rows in (task.recipe.by_adapter, model.budgets)]
    for source in (rows[0], task.recipe.shared, rows[1], adapter.fallback, trainer_defaults()):
        if key in source:
            return source[key]
    raise GoftError(
        f"task {task.name}: its recipe gives no {key} for adapter {adapter.name}",
        f"pass trainer.{key}=VALUE or add it to the task's YAML",
    )


def trainer_defaults() -> dict[str, Any]:
    """Return the fields under `trainer` that have a value without any recipe."""
    stated = {entry.name: entry.default for entry in fields(TrainerConfig)}
    return {name: value for name, value in stated.items() if value is not MISSING}


def run_name(seed: int, overrides: str) -> str:
    """Name a run after its seed and what was overridden, so that equal words mean one folder."""
    return folder_name(f"seed{seed}-{overrides}" if overrides else f"seed{seed}")


def with_places(overrides: str, words: Sequence[str]) -> str:
    """Put the places among a job's words before its overrides, which name no place.

    There they are read even where a long name is cut short.

    Args:
        overrides: as Hydra joins them, those of `PLACES` left out.
        words: all overrides of the job, as they were typed.
    """
    typed = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    named = [f"{key}={place_name(typed[key])}" for key in PLACES if key in typed]
    return ",".join(filter(None, [*named, overrides]))


def place_name(place: str) -> str:
    """Name a folder or hub id by its last part, and by a digest where that is not all of it.

    The digest is of the words as typed: a run is found again by the same words.
    """
    last = re.sub(UNNAMEABLE, "_", place.strip("'\"").rstrip("/").rpartition("/")[2])
    short = last[-MAX_PLACE_NAME:]
    return short if short == place else f"{short}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def folder_name(words: str) -> str:
    """Make one short folder name of words; different words keep different names if cut short."""
    name = re.sub(UNNAMEABLE, "_", words)
    if len(name) <= MAX_RUN_NAME:
        return name
    digest = hashlib.sha256(words.encode()).hexdigest()[:12]
    return f"{name[: MAX_RUN_NAME - 13]}-{digest}"


def register(verb: str = "train") -> None:
    """Make the schemas, a verb's groups and the resolvers known to Hydra, as often as wanted."""
    keep_words()
    offer(verb)
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def direction(greater_is_better: bool) -> str:
    """Say which way a sweeper that searches should go."""
    return "maximize" if greater_is_better else "minimize"


def share(value: float, factor: float) -> float:
    """Return a multiple of a value, for the bounds of a search."""
    return float(f"{value * factor:.6g}")


RESOLVERS: dict[str, Callable[..., Any]] = {
    "oc.env": environment,
    "recipe": recipe_value,
    "default_penalty": lambda: PENALTY_WEIGHT,
    "with_places": with_places,
    "run_name": run_name,
    "folder_name": folder_name,
    "device_batch": device_batch,
    "accumulation_steps": accumulation_steps,
    "processes": processes,
    "direction": direction,
    "share": share,
}
"""What a YAML file may write as `${name:arguments}`."""


def refuse_unknown(cfg: DictConfig, prefix: str = "") -> None:
    """Refuse keys that a `+` forced past the schema; nothing would ever read them."""
    kind = OmegaConf.get_type(cfg)
    for key in cfg:
        path = f"{prefix}{key}"
        if is_dataclass(kind) and key not in {entry.name for entry in fields(kind)}:
            from goft_cli.command_line.nearest import nearest_key

            known = [f"{prefix}{entry.name}" for entry in fields(kind)]
            raise GoftError(f"+{path}: there is no key {path}", nearest_key(path, known))
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            refuse_unknown(node, f"{path}.")


def freeze(cfg: DictConfig, kind: type[ConfigT]) -> ConfigT:
    """Resolve a composed configuration into its dataclass, ranges checked."""
    refuse_unknown(cfg)
    try:
        frozen = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        if refusal := own_refusal(error):
            raise refusal from None
        if isinstance(error, MissingMandatoryValue):
            raise GoftError(
                f"{error.full_key} has no value",
                f"pass {error.full_key}=VALUE",
            ) from None
        sentence = (str(error).splitlines() or [""])[0]
        raise GoftError(f"{error.full_key or 'configuration'}: {sentence}") from error
    if not isinstance(frozen, kind):
        raise GoftError(
            f"--config-name: found a file that does not make a {kind.__name__}",
            "leave the flag out",
        )
    refuse_secrets(asdict(cast(Any, frozen)))
    if isinstance(frozen, TrainConfig):
        frozen.adapter.check_given()
    return frozen


def own_refusal(error: BaseException | None) -> GoftError | None:
    """Find our sentence below the layers that OmegaConf wraps around a resolver's error."""
    while error is not None and not isinstance(error, GoftError):
        error = error.__cause__ or error.__context__
    return error
