"""The lines of Python that load a model again, for its card."""

from __future__ import annotations

import json
from typing import Any

from goft_cli.system.locations import ASSET_SCHEME
from goft_cli.tasks.base import Task

LABEL = "print(model.config.id2label[int(model(**inputs).logits.argmax())])"
NUMBER = "print(model(**inputs).logits.item())"
ANSWER = """\
found = model(**inputs)
start, end = int(found.start_logits.argmax()), int(found.end_logits.argmax())
print(processor.decode(inputs["input_ids"][0, start : end + 1]))"""
CONTINUATION = """\
written = model.generate(**inputs, max_new_tokens=20)
print(processor.decode(written[0], skip_special_tokens=True))"""


def merged_snippet(task: Task[Any, Any], location: str) -> str:
    """Return a program that loads a plain model and runs it once.

    Args:
        task: what the model was trained for.
        location: its folder or hub id.
    """
    imports = f"from transformers import {task.auto_class}, {task.processor_class}"
    model = f"model = {task.auto_class}.from_pretrained({quoted(location)})"
    return program(task, location, [imports], [model])


def adapter_snippet(task: Task[Any, Any], location: str, base: str, peft_type: str) -> str:
    """Return a program that puts an adapter on its base model and runs it once.

    Args:
        task: what the adapter was trained for.
        location: the adapter's folder or hub id.
        base: the base model's hub id, its name in this package (`asset:NAME`), or its folder.
        peft_type: PEFT's name for the adapter's method.
    """
    shipped = base.startswith(ASSET_SCHEME)
    source = f"asset_dir({quoted(base.removeprefix(ASSET_SCHEME))})" if shipped else quoted(base)
    imports = [
        "from peft import PeftModel",
        f"from transformers import AutoConfig, {task.auto_class}, {task.processor_class}",
    ]
    if peft_type == "GOFT":
        imports.append("import goft_cli.tuner  # from here on PEFT knows GOFT and qGOFT")
    if shipped:
        imports.append("from goft_cli.preflight import asset_dir")
    model = [
        f"config = AutoConfig.from_pretrained({quoted(location)})",
        f"base = {task.auto_class}.from_pretrained(",
        f"    {source}, config=config, ignore_mismatched_sizes=True",
        ")",
        f"model = PeftModel.from_pretrained(base, {quoted(location)}).eval()",
    ]
    return program(task, location, imports, model)


def program(task: Task[Any, Any], location: str, imports: list[str], model: list[str]) -> str:
    """Return imports, processor, model, and one example, as text."""
    prepare, example, show = demonstration(task)
    lines = [
        *imports,
        *prepare,
        "",
        f"processor = {task.processor_class}.from_pretrained({quoted(location)})",
        *model,
        f'inputs = processor({example}, return_tensors="pt")',
        show,
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a string as this project's Python would write it."""
    return json.dumps(text, ensure_ascii=False)


def demonstration(task: Task[Any, Any]) -> tuple[list[str], str, str]:
    """Return further imports, what the processor is given, and how an answer is shown."""
    if task.auto_class == "AutoModelForQuestionAnswering":
        return [], '"Who sings?", "The bird sings."', ANSWER
    if task.auto_class == "AutoModelForCausalLM":
        return [], '"Name a bird."', CONTINUATION
    if task.auto_class == "AutoModelForImageClassification":
        return ["from PIL import Image"], 'Image.new("RGB", (32, 32))', LABEL
    columns = getattr(task.config, "text_columns", ["text"])
    texts = ", ".join(f'"The bird sings{mark}"' for mark in ".!"[: len(columns)])
    return [], texts, LABEL if getattr(task.config, "labels", None) else NUMBER
