"""Model cards: what a model is, how to load it, what it scores, how it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import EvalResult, ModelCardData

from goft_cli.config.model import real_name
from goft_cli.exporting.certificate import Certificate
from goft_cli.run.configuration import as_plain
from goft_cli.run.trained import TrainedRun
from goft_cli.sharing.snippets import adapter_snippet, merged_snippet
from goft_cli.system.files import read_json
from goft_cli.system.locations import ASSET_SCHEME, model_location

Kind = Literal["merged", "adapter", "lora"]

PAPER = "[Ma et al., ICML 2024](https://arxiv.org/abs/2404.04316)"
FORMS = {
    "merged": "The adapter is merged into the weights: transformers alone loads it.",
    "adapter": "This is the adapter and the head that trained beside it, in PEFT's format.",
    "lora": "This is the adapter converted to LoRA, and the head that trained beside it.",
}


def card(
    run: TrainedRun, kind: Kind, *, location: str, base: str, certificate: Certificate | None = None
) -> str:
    """Write a model card; of this machine it has nothing but the two places it is told.

    Args:
        run: what was trained.
        kind: what the card goes with.
        location: the folder or hub id that the card's snippet loads.
        base: the base model's, likewise.
        certificate: how far the model is from the adapter, if it was exported.
    """
    config = run.cfg
    snippet = merged_snippet(run.task, location)
    if kind != "merged":
        snippet = adapter_snippet(run.task, location, base, peft_type(run, kind))
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


def peft_type(run: TrainedRun, kind: Kind) -> str:
    """Return the name of the PEFT method that is in the folder."""
    return "LORA" if kind == "lora" else run.cfg.adapter.peft_type


def introduction(run: TrainedRun, kind: Kind) -> str:
    """Return what was trained on what, and whose method it is."""
    config = run.cfg
    method = f" ({PAPER})" if config.adapter.peft_type == "GOFT" else ""
    return (
        f"{real_name(config.model)}, fine-tuned on {config.task.name} with "
        f"{config.adapter.name}{method} by goft-cli, seed {config.seed}. {FORMS[kind]}"
    )


def front_matter(run: TrainedRun, kind: Kind) -> str:
    """Return what the hub reads of a card."""
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
        ],
    )
    return data.to_yaml()


def scores(run: TrainedRun) -> dict[str, dict[str, float]]:
    """Return the metrics of the run by split."""
    return read_json(run.folder.metrics)["metrics"]


def score_table(run: TrainedRun) -> str:
    """Return the run's metrics, and whether they are the published benchmark's."""
    lines = ["| split | metric | value |", "|---|---|---|"]
    for split, values in scores(run).items():
        lines += [f"| {split} | {metric} | {value:.4f} |" for metric, value in values.items()]
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
    for key in ("output_dir", "run_name", "overwrite", "tracker"):
        del plain[key]
    plain["model"]["path"] = public_path(run.cfg.model.path)
    for section in ("task", "benchmark"):
        if plain[section] is not None:
            plain[section]["data_dir"] = None
    return plain


def is_hub_id(path: str) -> bool:
    """Tell a hub id from a folder or a shipped model."""
    return not path.startswith(ASSET_SCHEME) and isinstance(model_location(path), str)


def public_path(path: str) -> str:
    """Return a hub id or a shipped model's name as it is, of a folder only its name."""
    return path if path.startswith(ASSET_SCHEME) or is_hub_id(path) else Path(path).name
