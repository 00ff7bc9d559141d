"""`goft eval`: score a trained run on its evaluation splits, or any model on a benchmark."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from goft_cli.config import EvalConfig, Harness, MMLUConfig, ModelConfig, TaskConfig
from goft_cli.config.benchmarks import LmEvalConfig
from goft_cli.config.model import real_name
from goft_cli.config.task import require_benchmark
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import ALWAYS, note, read_json, write_json
from goft_cli.system.imports import importing
from goft_cli.system.locations import check_output

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from goft_cli.config.retain import RetainSpec
    from goft_cli.tasks.benchmark import Benchmark


@dataclass(frozen=True)
class Candidate:
    """A model to score on a benchmark."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    """Where its results go."""
    identity: dict[str, Any]
    """The keys that name the model in the results."""
    at: str = ""
    """Its strength for a title."""


def main() -> None:
    """Compose `configs/eval.yaml` and score."""
    run_composed("eval", EvalConfig, evaluate)


def evaluate(cfg: EvalConfig) -> None:
    """Score, show and write the scores."""
    from goft_cli.run.preflight import check_benchmark
    from goft_cli.run.record import importing_for

    task = with_options(cfg.task, cfg) if cfg.task else None
    if task is not None:
        require_benchmark(task)
        if cfg.harness is Harness.own:
            check_benchmark(task, cfg.model)
    model, wanted = cfg.model, wanted_of(cfg)
    with (
        importing(packed=model.quantization is not None)
        if model is not None
        else importing_for(str(cfg.adapter))
    ):
        from goft_cli.run import trained  # noqa: F401 - only now: it imports the libraries
        from goft_cli.system.screen import quiet_libraries

    with quiet_libraries():
        if task is None:
            rescore(cfg, wanted)
        else:
            score(cfg, task)


def wanted_of(cfg: EvalConfig) -> RetainSpec | None:
    """Return the measures of forgetting to make, with their tasks composed and checked."""
    from goft_cli.compose.references import retain_spec
    from goft_cli.run.record import RunRecord, find_run

    if cfg.retain is None:
        return None
    return retain_spec(cfg.retain, RunRecord(find_run(str(cfg.adapter))).cfg.task)


def with_options(task: TaskConfig, cfg: EvalConfig) -> TaskConfig:
    """Return the benchmark with `data_dir` and `shots` of the verb."""
    if cfg.data_dir is not None:
        task = replace(task, data_dir=cfg.data_dir)
    if cfg.shots is None:
        return task
    if isinstance(task, LmEvalConfig) and type(cfg.shots) is int:
        return replace(task, num_fewshot=cfg.shots)
    if not isinstance(task, MMLUConfig):
        raise GoftError(f"shots={cfg.shots}: task {task.name} has no exemplars", "drop shots")
    shots = cfg.shots if isinstance(cfg.shots, list) else [cfg.shots]
    if not all(type(count) is int for count in shots):
        raise GoftError(f"shots={cfg.shots}: expected whole numbers, such as shots=5 or [0,5]")
    return replace(task, shots=shots)


def rescore(cfg: EvalConfig, wanted: RetainSpec | None) -> None:
    """Score a run's evaluation splits again, and measure forgetting if asked."""
    from goft_cli.models.adapters import merge
    from goft_cli.run import summary
    from goft_cli.run.forgetting import retained_by
    from goft_cli.run.record import at_strength
    from goft_cli.run.retained import retention_table
    from goft_cli.run.trained import open_trained
    from goft_cli.training.evaluation import evaluation_splits, score_splits

    places = {"base_model": cfg.base_model, "data_dir": cfg.data_dir}
    run = open_trained(str(cfg.adapter), **places, strength=cfg.strength)
    name = f"{at_strength('eval', run.folder, cfg.strength)}.json"
    target = Path(cfg.output) if cfg.output else run.folder.path / name
    check_output(target)
    config = run.task.config
    data = run.load_splits(config.eval_splits or [config.train_split])
    splits = evaluation_splits(run.task, data, run.backbone.processor)
    kept = retained_by(run, wanted, cfg.batch_size) if wanted else None  # merging uses it up
    model = merge(run.mergeable()) if cfg.merged else run.model
    outputs = run.outputs(model, splits, cfg.batch_size)
    scores, judge = score_splits(run.task, outputs, splits), config.headline_split
    found = run.task.by_class(outputs[judge], splits[judge])
    classes = {"split": judge, **found} if found else None
    content = {"adapter": str(run.folder.path), "merged": cfg.merged, "strength": run.strength}
    content |= {"metrics": scores}
    content |= {"by_class": classes} if classes else {}
    content |= {"retained": asdict(kept)} if kept else {}
    same = {"data": dict(data.provenance), "data_as_recorded": run.read_same(data)}
    if cfg.output is None and name not in ALWAYS:
        note(target.parent, name)
    write_json(target, content | same)
    title = f"{run.cfg.task.name}  {real_name(run.cfg.model)}  {run.cfg.adapter.name}{run.at}"
    deviations = run.task.size_deviations(data)
    if kept:
        summary.screen.print(retention_table("what the base model still does", kept))
    summary.show_scores(title, scores, deviations, target, classes=classes)


def score(cfg: EvalConfig, config: TaskConfig) -> None:
    """Score a run or a plain model on a benchmark."""
    from accelerate import PartialState

    from goft_cli.run import manifest, summary
    from goft_cli.run.folder import RunFolder
    from goft_cli.run.record import at_strength
    from goft_cli.tasks.benchmark import build_harness, load_benchmark
    from goft_cli.tasks.families import build_benchmark

    by_harness = cfg.harness is Harness.lm_eval and not isinstance(config, LmEvalConfig)
    harness = Harness.lm_eval if isinstance(config, LmEvalConfig) else cfg.harness
    loaded = load_benchmark(build_harness(config) if by_harness else build_benchmark(config))
    if cfg.model is not None:
        found = open_model(cfg.model, loaded.benchmark)
    else:
        found = open_run(cfg, loaded.benchmark, merged=cfg.merged or harness is Harness.lm_eval)
    cast("nn.Module", found.model).to(PartialState().device)
    name = f"eval.{loaded.file_stem}{'.lm_eval' if by_harness else ''}"
    if cfg.adapter is not None:
        name = at_strength(name, RunFolder(found.folder), cfg.strength)
    name = f"{name}.json"
    target = Path(cfg.output) if cfg.output else found.folder / name
    check_output(target)
    if cfg.output is None:
        check_same_model(target, found.identity)
    started = time.perf_counter()
    # a run's own predictions, of its training, have the benchmark's name alone
    parts = (found.model, found.tokenizer, target.parent, cfg.batch_size)
    scores = loaded.score(*parts, stem=target.stem)
    content = {
        "task": config.name,
        **found.identity,
        "harness": harness.value,
        "metrics": {config.name: scores.metrics},
        "breakdown": {config.name: scores.breakdown},
        "seconds": time.perf_counter() - started,
        "settings": asdict(config),
        "data": loaded.data.describe(config.benchmark_sizes),
        "environment": manifest.environment(),
    }
    if cfg.output is None:
        note(target.parent, target.name)
    write_json(target, content)
    title = f"{config.name}  {found.identity['model']}{found.at}"
    deviations = loaded.data.size_deviations(config.benchmark_sizes)
    summary.show_scores(title, content["metrics"], deviations, target, scores.breakdown)


def check_same_model(target: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a file with scores of another model: models in two folders may have one name."""
    recorded = None
    with suppress(GoftError):  # the file is missing or damaged
        recorded = read_json(target).get("fingerprint")
    if recorded not in {None, identity["fingerprint"]}:
        raise GoftError(
            f"{target} has the scores of another model that is named {identity['model']}, too",
            "pass output=FILE",
        )


def open_run(cfg: EvalConfig, benchmark: Benchmark[Any], *, merged: bool) -> Candidate:
    """Load a trained run, its adapter on the model or merged into it."""
    from goft_cli.models.adapters import merge
    from goft_cli.run.trained import open_trained
    from goft_cli.tasks.benchmark import require_kind

    run = open_trained(str(cfg.adapter), base_model=cfg.base_model, strength=cfg.strength)
    require_kind(benchmark, run.task.auto_class, f"adapter={cfg.adapter}")
    identity = {
        "model": real_name(run.cfg.model),
        "adapter": str(run.folder.path),
        "merged": merged,
        "strength": run.strength,
        "fingerprint": run.backbone.fingerprint,
    }
    # a PeftModel generates as the model that it wraps
    model = cast("PreTrainedModel", merge(run.mergeable()) if merged else run.model)
    return Candidate(model, run.backbone.processor, run.folder.path, identity, run.at)


def open_model(cfg: ModelConfig, benchmark: Benchmark[Any]) -> Candidate:
    """Load a plain model."""
    from goft_cli.models.backbone import load_backbone

    backbone = load_backbone(cfg, benchmark)
    folder = Path("outputs", benchmark.config.name, cfg.name)
    identity = {"model": real_name(cfg), "adapter": None, "fingerprint": backbone.fingerprint}
    return Candidate(backbone.model, backbone.processor, folder, identity)
