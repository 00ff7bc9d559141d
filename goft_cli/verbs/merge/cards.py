"""Model cards, with the lines of Python that load the model again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import EvalResult, ModelCardData

from goft_cli.config.model import ModelConfig, real_name
from goft_cli.run.configuration import as_plain
from goft_cli.run.trained import TrainedRun
from goft_cli.system.files import read_json
from goft_cli.system.locations import ASSET_SCHEME, model_location
from goft_cli.tasks.base import Task
from goft_cli.verbs.merge.certificate import Certificate

Kind = Literal["merged", "adapter", "lora"]

PAPER = "[Ma et al., ICML 2024](https://arxiv.org/abs/2404.04316)"
FORMS = {
    "merged": "The adapter is merged into the weights: transformers alone loads it.",
    "adapter": "This is the adapter and the head that trained beside it, in PEFT's format.",
    "lora": "This is the adapter converted to LoRA, and the head that trained beside it.",
}
LABEL = "print(model.config.id2label[int(model(**inputs).logits.argmax())])"
NUMBER = "print(model(**inputs).logits.item())"
TAGS = """\
tags = model(**inputs).logits[0].argmax(dim=-1).tolist()
for token, tag in zip(processor.convert_ids_to_tokens(inputs["input_ids"][0]), tags):
    print(token, model.config.id2label[tag])"""
LABELS = """\
shares = model(**inputs).logits[0].sigmoid().tolist()
print([model.config.id2label[i] for i, share in enumerate(shares) if share >= 0.5])"""
ANSWER = """\
found = model(**inputs)
start, end = int(found.start_logits.argmax()), int(found.end_logits.argmax())
print(processor.decode(inputs["input_ids"][0, start : end + 1]))"""
CONTINUATION = """\
written = model.generate(**inputs, max_new_tokens=20)
print(processor.decode(written[0], skip_special_tokens=True))"""


def merged_snippet(task: Task[Any, Any], location: str) -> str:
    """Return a program that loads a plain model from a folder or the hub, and runs it once."""
    imports = f"from transformers import {task.auto_class}, {task.processor_class}"
    model = f"model = {task.auto_class}.from_pretrained({quoted(location)})"
    return program(task, location, [imports], [model])


def adapter_snippet(
    task: Task[Any, Any],
    location: str,
    base: str,
    peft_type: str,
    strength: float = 1.0,
    revision: str | None = None,
) -> str:
    """Return a program that puts an adapter on its base model and runs it once.

    `base` is a hub id, a name in this package (`asset:NAME`), or a folder; `peft_type` is PEFT's
    name for the adapter's method; the adapter is used at `strength`. `revision` is that of a hub's
    base model, None for its newest.
    """
    shipped = base.startswith(ASSET_SCHEME)
    source = f"asset_dir({quoted(base.removeprefix(ASSET_SCHEME))})" if shipped else quoted(base)
    source += f", revision={quoted(revision)}" if revision else ""
    imports = [
        "from peft import PeftModel",
        f"from transformers import AutoConfig, {task.auto_class}, {task.processor_class}",
    ]
    if peft_type == "GOFT":
        imports.append("import goft_cli.tuner  # from here on PEFT knows GOFT and qGOFT")
    if strength != 1:
        imports.append("from goft_cli import set_strength")
    if shipped:
        imports.append("from goft_cli.preflight import asset_dir")
    model = [
        f"config = AutoConfig.from_pretrained({quoted(location)})",
        f"base = {task.auto_class}.from_pretrained(",
        f"    {source}, config=config, ignore_mismatched_sizes=True",
        ")",
        f"model = PeftModel.from_pretrained(base, {quoted(location)}).eval()",
        *([f"set_strength(model, {strength:g})"] if strength != 1 else []),
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
    """Return a string as a Python literal in this project's style."""
    return json.dumps(text, ensure_ascii=False)


def demonstration(task: Task[Any, Any]) -> tuple[list[str], str, str]:
    """Return further imports, an input for the processor, and lines that show an answer."""
    if task.auto_class == "AutoModelForQuestionAnswering":
        return [], '"Who sings?", "The bird sings."', ANSWER
    if task.auto_class == "AutoModelForTokenClassification":
        return [], '"The bird sings."', TAGS
    if task.auto_class == "AutoModelForCausalLM":
        return [], '"Name a bird."', CONTINUATION
    if task.auto_class == "AutoModelForImageClassification":
        return ["from PIL import Image"], 'Image.new("RGB", (32, 32))', LABEL
    columns = getattr(task.config, "text_columns", ["text"])
    texts = ", ".join(f'"The bird sings{mark}"' for mark in ".!"[: len(columns)])
    if getattr(task.config, "multi_label", False):
        return [], texts, LABELS
    return [], texts, LABEL if getattr(task.config, "labels", None) else NUMBER


def card(
    run: TrainedRun, kind: Kind, *, location: str, base: str, certificate: Certificate | None = None
) -> str:
    """Return a model card.

    It names only two paths of this machine, `location` and `base`, which its snippet loads: a
    folder or hub id each.
    """
    config = run.cfg
    snippet = merged_snippet(run.task, location)
    if kind != "merged":
        method = "LORA" if kind == "lora" else config.adapter.peft_type
        later = 1.0 if kind == "lora" else run.strength  # LoRA's strength is in its weights
        pinned = published_revision(config.model)
        snippet = adapter_snippet(run.task, location, base, method, later, pinned)
    sections = [
        f"# {config.task.name} with {config.adapter.name} on {real_name(config.model)}",
        introduction(run, kind),
        f"## Load it\n\n```python\n{snippet}```",
        f"## Scores\n\n{score_table(run)}",
    ]
    if certificate is not None:
        sections.append(f"## Certificate\n\n{certificate_text(certificate)}")
    settings = yaml.safe_dump(public_settings(run), sort_keys=False, allow_unicode=True)
    sections.append(f"## Configuration\n\n```yaml\n{settings}```")
    return f"---\n{front_matter(run, kind)}\n---\n\n" + "\n\n".join(sections) + "\n"


def introduction(run: TrainedRun, kind: Kind) -> str:
    """Return a sentence on model, task and method."""
    config = run.cfg
    method = f" ({PAPER})" if config.adapter.peft_type == "GOFT" else ""
    return (
        f"{real_name(config.model)}, fine-tuned on {config.task.name} with "
        f"{config.adapter.name}{method} by goft-cli, seed {config.seed}{run.at}. {FORMS[kind]}"
    )


def front_matter(run: TrainedRun, kind: Kind) -> str:
    """Return the metadata of a card that the hub reads."""
    dataset = getattr(run.cfg.task, "dataset", None)
    published = None if dataset is None or dataset.is_generated else dataset.id
    base = public_path(run.cfg.model.path)
    data = ModelCardData(
        base_model=base if is_hub_id(run.cfg.model.path) else None,
        library_name="transformers" if kind == "merged" else "peft",
        tags=["goft-cli", run.cfg.adapter.name],
        datasets=[published] if published else None,
        model_name=f"{run.cfg.task.name} {run.cfg.adapter.name}",
        eval_results=[
            EvalResult(
                task_type="other",
                dataset_type=published or run.cfg.task.name,
                dataset_name=run.cfg.task.name,
                dataset_split=split,
                metric_type=metric,
                metric_value=value,
            )
            for split, values in scores(run).items()
            for metric, value in values.items()
        ]
        if is_as_scored(run)
        else None,
    )
    return data.to_yaml()


def scores(run: TrainedRun) -> dict[str, dict[str, float]]:
    """Return the metrics of the run by split."""
    return read_json(run.folder.metrics)["metrics"]


def is_as_scored(run: TrainedRun) -> bool:
    """Tell whether the run's metrics are those of its adapter as it was opened."""
    return run.strength == run.cfg.adapter.strength


def score_table(run: TrainedRun) -> str:
    """Return the run's metrics, and whether they are the published benchmark's."""
    lines = ["| split | metric | value |", "|---|---|---|"]
    for split, values in scores(run).items():
        lines += [f"| {split} | {metric} | {value:.4f} |" for metric, value in values.items()]
    if not is_as_scored(run):
        lines += ["", f"These are the metrics at strength {run.cfg.adapter.strength:g}."]
    data = run.manifest["data"]
    if not data["is_the_benchmark"]:
        lines += ["", "These rows are not, or not known to be, those of a published benchmark."]
    return "\n".join(lines)


def certificate_text(certificate: Certificate) -> str:
    """Return how far the exported model is from the adapter, in a sentence or two."""
    found, layers = certificate.outputs, certificate.layers.values()
    residuals = [layer.residual for layer in layers if layer.residual is not None]
    sentences = ["No outputs were compared."]
    if found is not None:
        sentences = [
            f"On {sum(found.rows.values())} rows the outputs differ from the adapter's by at most "
            f"{found.largest:.1e} and on average by {found.mean:.1e}, relative to their root mean "
            f"square; one rounding in {found.dtype} is {found.rounding:.1e}."
        ]
    if residuals:
        sentences.append(
            f"LoRA leaves out between {min(residuals):.1%} and {max(residuals):.1%} of a layer's "
            "change (Frobenius norm)."
        )
    return " ".join([*sentences, "`merge_report.json` has every layer."])


def public_settings(run: TrainedRun) -> dict[str, Any]:
    """Return the configuration without folders of this machine."""
    plain = as_plain(run.cfg)
    for key in ("output_dir", "run_name", "overwrite", "tracker", "verify"):
        del plain[key]
    plain["model"]["path"] = public_path(run.cfg.model.path)
    for section in ("task", "benchmark"):
        if plain[section] is not None:
            plain[section]["data_dir"] = None
    return plain


def is_hub_id(path: str) -> bool:
    """Tell a hub id from a folder or a shipped model."""
    return not path.startswith(ASSET_SCHEME) and isinstance(model_location(path), str)


def published_revision(model: ModelConfig) -> str | None:
    """Return the revision of a hub's model; None if it is not known, or not on the hub."""
    return model.revision if is_hub_id(model.path) else None


def public_path(path: str) -> str:
    """Return a hub id or a shipped model's name as it is, of a folder only its name."""
    return path if path.startswith(ASSET_SCHEME) or is_hub_id(path) else Path(path).name
