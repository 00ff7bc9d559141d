"""`trainer.extra`: the fields of transformers.TrainingArguments that have no key of their own.

They are read from its source, for importing it takes seconds.
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

from goft_cli.compose.words import nearest
from goft_cli.config import TrainerConfig
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
    "save_strategy": "pass trainer.eval_strategy=epoch or trainer.eval_strategy=steps",
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
}


@cache
def arguments() -> dict[str, str]:
    """Return the annotation of each field of TrainingArguments, as its source writes it."""
    spec = find_spec("transformers")
    places = spec.submodule_search_locations if spec else None
    if not places:
        return {}
    tree = ast.parse(Path(places[0], "training_args.py").read_text(encoding="utf-8"))
    (kind,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments"
    )
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in kind.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def check_extra(extra: Mapping[str, Any]) -> None:
    """Refuse a field that TrainingArguments does not have, that goft fixes, or of another kind."""
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
        kinds = KINDS.keys() & set(re.findall(r"\w+", arguments()[name]))
        if kinds and not any(is_of(value, KINDS[kind]) for kind in kinds):
            expected = arguments()[name].replace(" | ", " or ")
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
