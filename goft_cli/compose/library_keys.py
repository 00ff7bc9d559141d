"""Keys that only a library has, not the schema: of TrainingArguments and of PEFT's methods.

They are read from the libraries' sources, for importing those takes seconds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any

from goft_cli.compose.words import did_you_mean, nearest
from goft_cli.config import AdapterConfig, PeftAdapterConfig, TrainConfig, TrainerConfig
from goft_cli.config.adapter import CIRCUMSTANCES
from goft_cli.system.errors import GoftError

OWN = frozenset(entry.name for entry in fields(TrainerConfig)) - {"extra"}
RESUMES = "start the same command again, which resumes the run exactly"
LAUNCHED = "start the run with accelerate launch and a configuration of recipes/accelerate"
DECIDED = "leave it out: goft decides it by the task and the run folder"
PUBLISHED = "leave it out, and publish the finished run with goft push adapter=RUN_FOLDER"
INSTEAD = {
    "output_dir": "pass output_dir=DIR",
    "run_name": "pass run_name=NAME",
    "seed": "pass seed=NUMBER",
    "report_to": "pass tracker=NAME",
    "project": "pass tracker.project=NAME",
    "warmup_ratio": "pass trainer.warmup_steps=SHARE, below 1",
    "save_strategy": "pass trainer.eval_strategy=epoch",
    "save_steps": "pass trainer.eval_steps=NUMBER",
    "metric_for_best_model": "pass task.headline=NAME",
    "greater_is_better": "pass task.greater_is_better=false, or true",
    "activation_checkpointing": "pass trainer.gradient_checkpointing=true",
    "activation_checkpointing_kwargs": "pass trainer.gradient_checkpointing=true",
    "gradient_checkpointing_kwargs": "pass trainer.gradient_checkpointing=true",
    "bf16_full_eval": "pass trainer.bf16=true",
    "fp16_full_eval": "pass trainer.fp16=true",
    "auto_find_batch_size": "pass trainer.per_device_train_batch_size=NUMBER",
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed", "parallelism_config"), LAUNCHED),
    **dict.fromkeys(("accelerator_config", "local_rank"), LAUNCHED),
    **dict.fromkeys(("resume_from_checkpoint", "ignore_data_skip", "save_only_model"), RESUMES),
    **dict.fromkeys(("enable_jit_checkpoint", "save_on_each_node"), RESUMES),
    "restore_callback_states_from_checkpoint": RESUMES,
    **dict.fromkeys(("do_train", "do_eval", "do_predict", "eval_on_start"), DECIDED),
    **dict.fromkeys(("label_names", "load_best_model_at_end", "prediction_loss_only"), DECIDED),
    **dict.fromkeys(
        ("include_for_metrics", "batch_eval_metrics", "eval_do_concat_batches"), DECIDED
    ),
    **dict.fromkeys(("eval_use_gather_object", "remove_unused_columns", "disable_tqdm"), DECIDED),
    "dataloader_pin_memory": DECIDED,
    "push_to_hub": PUBLISHED,
}
"""What to do in place of a field that goft fixes; those of the hub begin with `hub_`."""
KINDS: dict[str, type] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "dict": dict,
    "list": list,
    "None": NoneType,
    "Optional": NoneType,
    "Literal": str,
    "set": list,
    "tuple": list,
}
"""Types of values on a command line, by the names in an annotation."""
OF_LAYERS = {"target_modules", "modules_to_save"}
"""Options that every method on layers with a trainable head has."""
OWN_OPTIONS = {
    "target_modules": "pass adapter.target_modules=[NAME,...]",
    "layers_to_transform": "pass adapter.layers_to_transform=[NUMBER,...]",
    "modules_to_save": "pass model.head_modules=[NAME,...]",
}
"""What to do in place of an option that has a key of its own."""


PEFT_SOURCES = ("config.py", "tuners/lycoris_utils.py", "tuners/*/config.py")
"""Where PEFT's configuration classes are."""


@cache
def classes(package: str, *patterns: str) -> dict[str, ast.ClassDef]:
    """Return the classes of some files of an installed package, by name."""
    spec = find_spec(package)
    roots = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = [file for root in roots for pattern in patterns for file in root.glob(pattern)]
    nodes = [node for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body]
    return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}


def field_types(name: str, known: Mapping[str, ast.ClassDef]) -> dict[str, str]:
    """Return the annotation of each field of a dataclass, those that it inherits included."""
    if name not in known:
        return {}
    found: dict[str, str] = {}
    for base in reversed(known[name].bases):
        found |= field_types(ast.unparse(base), known)
    return found | {
        node.target.id: ast.unparse(node.annotation)
        for node in known[name].body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


@cache
def arguments() -> dict[str, str]:
    """Return the annotation of each field of TrainingArguments, as its source writes it."""
    return field_types("TrainingArguments", classes("transformers", "training_args.py"))


@cache
def methods() -> dict[str, dict[str, str]]:
    """Return the fields of each of PEFT's methods: what its configuration class sets as type."""
    known = classes("peft", *PEFT_SOURCES)
    return {
        ast.unparse(node.value).rpartition(".")[2]: field_types(name, known)
        for name, one in known.items()
        for node in ast.walk(one)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "self.peft_type"
    }


def check_method(adapter: AdapterConfig) -> None:
    """Refuse a method that PEFT does not have or does not attach to layers, and unknown options."""
    if not isinstance(adapter, PeftAdapterConfig):
        return
    method, known = adapter.type, methods()
    if method not in known:
        near = did_you_mean(method, known, prefix="adapter.type=")
        raise GoftError(f"adapter.type={method}: the installed PEFT has no such method", near)
    if not known[method].keys() >= OF_LAYERS:
        raise GoftError(
            f"adapter.type={method}: PEFT does not attach this method to layers",
            "choose a method on layers, such as adapter.type=ROAD",
        )
    options = known[method].keys() - CIRCUMSTANCES - {"task_type", "peft_type"}
    for name in adapter.config:
        key = f"adapter.config.{name}"
        if name in OWN_OPTIONS:
            raise GoftError(f"{key}: goft sets it", OWN_OPTIONS[name])
        if name not in options:
            near = did_you_mean(name, options - OWN_OPTIONS.keys(), prefix="adapter.config.")
            raise GoftError(f"{key}: PEFT's {method} has no option {name}", near)
        check_kind(key, adapter.config[name], known[method][name])
    if adapter.layers_to_transform is not None and "layers_to_transform" not in options:
        raise GoftError(
            f"adapter.layers_to_transform: PEFT's {method} has no such option",
            "name the layers with adapter.target_modules",
        )


def check_given(cfg: TrainConfig) -> None:
    """Refuse values of the user that the adapter, PEFT or Trainer would not accept."""
    cfg.adapter.check_given()
    check_method(cfg.adapter)
    check_extra(cfg.trainer.extra)


def check_extra(extra: Mapping[str, Any]) -> None:
    """Refuse a field that TrainingArguments lacks, that goft fixes, or whose type is wrong."""
    for name, value in extra.items():
        key = f"trainer.extra.{name}"
        if name in OWN:
            raise GoftError(f"{key}: it has a key of its own", f"pass trainer.{name}=VALUE")
        if name in INSTEAD or name.startswith("hub_"):
            raise GoftError(f"{key}: goft fixes it", INSTEAD.get(name, PUBLISHED))
        if name not in arguments():
            raise GoftError(
                f"{key}: transformers.TrainingArguments has no field {name}", likely(name)
            )
        check_kind(key, value, arguments()[name])


def check_kind(key: str, value: object, annotation: str) -> None:
    """Refuse a value that has none of the plain types in an annotation."""
    words = set(re.findall(r"\w+", annotation))
    kinds = {kind for word, kind in KINDS.items() if word in words}
    if kinds and not any(is_of(value, kind) for kind in kinds):
        expected = annotation.replace(" | ", " or ")
        raise GoftError(f"{key}={value}: expected {expected}, found {type(value).__name__}")


def is_of(value: object, kind: type) -> bool:
    """Tell whether a value is of a kind: a whole number is also a float, a switch no number."""
    if kind in {int, float} and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def likely(name: str) -> str:
    """Return the nearest field that a user may set, as a question."""
    free = [known for known in arguments() if known not in INSTEAD and "hub_" not in known]
    near = nearest(name, [*OWN, *(known for known in free if known not in OWN)])
    if near is None:
        return "the documentation of transformers.TrainingArguments names them"
    return f"did you mean trainer.{'' if near in OWN else 'extra.'}{near}?"


def place_of(key: str) -> str | None:
    """Say where a field of TrainingArguments goes that was typed as a key of `trainer`."""
    section, _, name = key.rpartition(".")
    if section != "trainer" or name not in arguments().keys() | INSTEAD.keys():
        return None
    return INSTEAD.get(name) or f"pass trainer.extra.{name}=VALUE"
