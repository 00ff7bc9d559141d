"""Findings about a run: its files, its scores and predictions, its merged and exported models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from goft_cli.config import VerifyConfig
from goft_cli.models.adapter_loading import load_adapter
from goft_cli.models.adapters import merge, use_strength
from goft_cli.models.backbone import load_backbone
from goft_cli.run.provenance import Change, file_changes, section
from goft_cli.run.trained import TrainedRun, spread
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json
from goft_cli.system.tables import Finding, Verdict
from goft_cli.tasks.base import Arrays, Split, TaskData
from goft_cli.training.evaluation import evaluation_splits, output_difference, score_splits
from goft_cli.verbs.merge.certificate import REPORT, exported_sha256
from goft_cli.verbs.merge.export import reopened

SHOWN_CHANGES = 3
WORDS = {Verdict.ok: "holds", Verdict.fail: "does not hold", Verdict.note: "not recorded"}
"""Names of the verdicts on a record; a missing record fails nothing."""


def judged(subject: str, found: str, *, holds: bool) -> Finding:
    """Turn a comparison into a finding."""
    return Finding(subject, Verdict.ok if holds else Verdict.fail, found)


def unrecorded(subject: str, found: str = "the run has no record to compare with") -> Finding:
    """Return the finding for a missing record."""
    return Finding(subject, Verdict.note, found)


def of_files(subject: str, recorded: Sequence[str], changes: Sequence[Change]) -> Finding:
    """Return the finding for files: all agree, or the first ones that do not."""
    if not recorded:
        return unrecorded(subject)
    if not changes:
        few = len(recorded) <= SHOWN_CHANGES
        found = ", ".join(recorded) if few else f"{len(recorded)} files"
        return judged(subject, found, holds=True)
    more = f"; and {len(changes) - SHOWN_CHANGES} more" if len(changes) > SHOWN_CHANGES else ""
    return judged(subject, "; ".join(map(str, changes[:SHOWN_CHANGES])) + more, holds=False)


@dataclass(frozen=True)
class Rescored:
    """A run's outputs on its evaluation rows, all of them or some."""

    run: TrainedRun
    """Reopened; its model is used up by `merged_again`."""
    metrics: Mapping[str, Any]
    """The run's record."""
    splits: dict[str, Split]
    outputs: dict[str, Arrays]
    tolerance: float
    """Largest relative difference that the run itself accepted as rounding."""
    batch_size: int
    chosen: Mapping[str, Sequence[int]] | None
    """Indices of the rows in their splits; None for all rows."""

    @classmethod
    def of(cls, run: TrainedRun, data: TaskData, cfg: VerifyConfig) -> Rescored:
        """Run the model on the rows."""
        metrics = read_json(run.folder.metrics)
        chosen, rows = None, data
        if cfg.max_samples is not None:
            most = cfg.max_samples
            chosen = {name: spread(len(found), most) for name, found in data.splits.items()}
            rows = TaskData({name: data.splits[name].select(at) for name, at in chosen.items()})
        splits = evaluation_splits(run.task, rows, run.backbone.processor)
        outputs = run.outputs(run.model, splits, cfg.batch_size)
        tolerance = float(section(metrics, "agreement").get("tolerance", 0))
        return cls(run, metrics, splits, outputs, tolerance, cfg.batch_size, chosen)

    def same(self, recorded: object, found: object) -> bool:
        """Compare values of any nesting, numbers within the tolerance."""
        if isinstance(recorded, dict) and isinstance(found, dict):
            return recorded.keys() == found.keys() and all(
                self.same(recorded[key], found[key]) for key in recorded
            )
        if isinstance(recorded, list) and isinstance(found, list):
            return len(recorded) == len(found) and all(map(self.same, recorded, found))
        if isinstance(recorded, int | float) and isinstance(found, int | float):
            near = {"rel_tol": self.tolerance, "abs_tol": self.tolerance}
            return math.isclose(recorded, found, **near) or (
                recorded != recorded and found != found
            )
        return recorded == found


def scored_again(rescored: Rescored) -> Iterator[Finding]:
    """Compare every score of every split; of a part of the rows, each prediction."""
    if rescored.chosen is not None:
        yield from (predicted_again(rescored, name) for name in rescored.splits)
        return
    recorded = section(rescored.metrics, "metrics")
    for split, scores in score_splits(rescored.run.task, rescored.outputs, rescored.splits).items():
        for name, value in scores.items():
            subject, then = f"{split} {name}", section(recorded, split).get(name)
            if then is None:
                yield unrecorded(subject, f"{value:.6g} now")
            else:
                written = f"{then:.6g}" if isinstance(then, float) else str(then)
                found = f"{value:.6g} now, {written} recorded"
                yield judged(subject, found, holds=rescored.same(then, value))


def predicted_again(rescored: Rescored, split: str) -> Finding:
    """Compare the predictions of the chosen rows with those that the run wrote."""
    task, chosen = rescored.run.task, (rescored.chosen or {}).get(split, range(0))
    subject = f"{split} predictions"
    path = rescored.run.folder.path / f"predictions.{split}.jsonl"
    if not path.is_file():
        return unrecorded(subject, f"there is no {path.name}")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        then = [json.loads(lines[index])["prediction"] for index in chosen]
    except (ValueError, LookupError, TypeError):
        return judged(subject, f"{path.name} is damaged", holds=False)
    now = task.decode(rescored.outputs[split], rescored.splits[split])
    pairs = zip(chosen, then, now, strict=True)
    others = [index + 1 for index, old, new in pairs if not rescored.same(old, new)]
    first = f", the first is row {others[0]}" if others else ""
    found = f"{len(others)} of {len(now)} rows differ{first}"
    return judged(subject, found, holds=not others)


def merged_again(rescored: Rescored) -> Finding:
    """Merge the adapter and compare the outputs with the adapter's; the model is used up."""
    run = rescored.run
    try:
        merged = merge(run.mergeable())
    except GoftError as error:
        return judged("merged again", str(error), holds=False)
    outputs = run.outputs(merged, rescored.splits, rescored.batch_size)
    largest = output_difference(rescored.outputs, outputs).largest
    then = section(rescored.metrics, "agreement").get("merged")
    found = f"outputs at most {largest:.1e} apart, {rescored.tolerance:.1e} accepted"
    if then is not None:
        found += f", {then:.1e} recorded"
    return judged("merged again", found, holds=largest <= rescored.tolerance)


def certificates(rescored: Rescored) -> Iterator[Finding]:
    """Compare each exported model in the run folder with its certificate."""
    for path in sorted(rescored.run.folder.path.glob(f"*/{REPORT}")):
        name = path.parent.name
        checks = {f"{name}/{REPORT}": exported_files, f"{name} read again": exported_outputs}
        for subject, check in checks.items():
            try:
                yield check(rescored, subject, path.parent, read_json(path))
            except Exception as error:  # a damaged folder may break any line of the libraries
                yield judged(subject, " ".join(str(error).split()), holds=False)


def exported_files(
    rescored: Rescored, subject: str, folder: Path, report: Mapping[str, Any]
) -> Finding:
    """Compare the files with the certificate, and the certificate with the run's manifest."""
    sha256 = section(report, "sha256")
    written = section(sha256, "exported")
    now = {"source": str(folder), "sha256": exported_sha256(folder)}
    changes = file_changes({"sha256": written}, now)
    if certified := section(sha256, "adapter"):
        place = {"source": f"{subject}: adapter", "sha256": certified}
        changes += file_changes(section(rescored.run.manifest, "adapter"), place)
    # by fingerprint, since the same weights saved elsewhere have other files
    base = section(report, "run").get("base_fingerprint")
    if base != rescored.run.backbone.fingerprint:
        changes.append(Change(f"{subject}: base", rescored.run.backbone.fingerprint, base))
    return of_files(subject, list(written), changes)


def exported_outputs(
    rescored: Rescored, subject: str, folder: Path, report: Mapping[str, Any]
) -> Finding:
    """Compare the exported model's outputs with the adapter's, on the certificate's rows.

    The difference must be the certified one, or small enough for rounding.
    """
    run, outputs = rescored.run, section(report, "outputs")
    count = sum(section(outputs, "rows").values())
    if not count:
        return unrecorded(subject, "the certificate compared no rows")
    splits = run.sample(count)
    use_strength(run.model, section(report, "run").get("strength", 1.0))
    adapted = run.outputs(run.model, splits, rescored.batch_size)
    use_strength(run.model, run.strength)
    exported = run.outputs(read_back(run, folder), splits, rescored.batch_size)
    largest, then = output_difference(adapted, exported).largest, float(outputs["largest"])
    allowed = max(then + rescored.tolerance, outputs.get("tolerance") or 0)
    found = f"outputs at most {largest:.1e} apart, {then:.1e} certified"
    return judged(subject, found, holds=largest <= allowed)


def read_back(run: TrainedRun, folder: Path) -> nn.Module:
    """Load an exported model: a plain one, or an adapter on the run's base model."""
    if (folder / "adapter_config.json").is_file():
        return load_adapter(load_backbone(run.cfg.model, run.task), folder)
    return reopened(run, folder)
