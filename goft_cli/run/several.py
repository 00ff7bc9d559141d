"""Several trained runs on one base model in memory; each row names the run that predicts it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

from datasets import Dataset

from goft_cli.config import Decoding, TrainConfig
from goft_cli.data.table import Table, require_columns
from goft_cli.models.adapter_loading import load_several
from goft_cli.models.adapters import ADAPTER
from goft_cli.models.backbone import CAUSAL_LM, Backbone, load_backbone, model_folder
from goft_cli.models.processors import fit_together, load_processor
from goft_cli.run import provenance
from goft_cli.run.folder import RunFolder
from goft_cli.run.trained import TrainedRun, check_base, check_fingerprint, read_run
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Task
from goft_cli.tuner.mixed_batch import BASE

SHARED_METHODS = ("GOFT", "LORA")
"""Methods of which a PEFT layer can hold several adapters and choose one for each row."""
Parts = Iterator[tuple[range, list[dict[str, Any] | None]]]


@dataclass(frozen=True)
class ReadRun:
    """A run as it was recorded, before a model is loaded."""

    folder: RunFolder
    manifest: Mapping[str, Any]
    cfg: TrainConfig
    task: Task[Any, Any]

    def traits(self) -> dict[str, object]:
        """Return, by their names in messages, the traits that runs on one model must share."""
        cfg, options = self.cfg, self.task.model_options()
        names = options.pop("id2label", None)
        known = {key: one for key, one in options.items() if "dropout" not in key}
        layout = self.task.layout
        return {
            "method": cfg.adapter.peft_type,
            "task family": type(self.task).__name__,
            "base model": provenance.section(self.manifest, "model").get("fingerprint"),
            "labels": names and [*names.values()],
            "head": {key: one for key, one in known.items() if key != "label2id"},
            "columns": [*self.task.asked],
            "setting of columns": (layout.raw_columns, layout.header, dict(layout.aliases)),
            "precision": (cfg.model.dtype, cfg.model.quantization, cfg.model.attn_implementation),
        }


def read_several(adapters: Mapping[str, str], base_model: str | None) -> dict[str, ReadRun]:
    """Read what runs recorded, by the user's names, and refuse runs that no model can share."""
    runs = {name: ReadRun(*read_run(place, base_model)) for name, place in adapters.items()}
    (first, one), *others = runs.items()
    for name, run in runs.items():
        method = run.cfg.adapter.peft_type
        if method not in SHARED_METHODS:
            raise GoftError(
                f"adapters.{name}={adapters[name]}: found the method {run.cfg.adapter.name}, "
                "expected GOFT, qGOFT or LoRA, which can share a model",
                f"predict with it alone: pass adapter={adapters[name]} in place of adapters",
            )
    expected = one.traits()
    for name, run in others:
        for trait, value in run.traits().items():
            if value != expected[trait]:
                raise GoftError(
                    f"adapters.{name}={adapters[name]}: found the {trait} {shown(value)}, expected "
                    f"{shown(expected[trait])} as in adapters.{first}",
                    f"predict with it alone: pass adapter={adapters[name]} in place of adapters",
                )
    return runs


def shown(value: object) -> str:
    """Write a trait for a message."""
    text = value[:12] if isinstance(value, str) else repr(value)
    return shorten(text, 120, placeholder=" ...")


def names_of_rows(table: Table, column: str, runs: Mapping[str, ReadRun]) -> list[str]:
    """Return the adapter that each row names; `__base__` is allowed if the base has its head."""
    require_columns(table, [column], f"add the column {column}, or pass adapter_column=NAME")
    names = [str(value) for value in table.columns[column]]
    base = [BASE] if {run.task.auto_class for run in runs.values()} == {CAUSAL_LM} else []
    allowed = {*runs, *base}
    for row, name in enumerate(names):
        if name in allowed:
            continue
        reason = ", which has no trained head" if name == BASE else ""
        raise GoftError(
            f"{table.place(row)}: {column} is {name!r}{reason}; expected one of "
            f"{', '.join([*runs, *base])}",
            "correct the row, or name a run in adapters={NAME: RUN_FOLDER, ...}",
        )
    return names


@dataclass(frozen=True)
class SeveralRuns:
    """Runs whose adapters are all on one model, and the run that each row names."""

    runs: Mapping[str, TrainedRun]
    """By the user's names; all with the same model."""
    names: Sequence[str]
    """One for each row."""

    @property
    def at(self) -> str:
        """Return the strength for a title if all runs share one that is not 1, else nothing."""
        said = {run.at for run in self.runs.values()}
        return said.pop() if len(said) == 1 else ""

    def unfit_rows(self, rows: Dataset) -> dict[int, str]:
        """Return, by row index, why the run that a row names cannot predict it."""
        found: dict[int, str] = {}
        for name in {*self.names}:
            own = [place for place, of in enumerate(self.names) if of == name]
            reasons = self.run_of(name).unfit_rows(rows.select(own))
            found |= {own[place]: reason for place, reason in reasons.items()}
        return found

    def predict(
        self, rows: Dataset, *, batch_size: int, decoding: Decoding, left_out: Collection[int] = ()
    ) -> Parts:
        """Yield each row's prediction by its own run: see `TrainedRun.predict`.

        The rows that are taken at a time are put into batches run by run.
        """
        first = next(iter(self.runs.values()))
        for part in first.parts(len(rows), batch_size):
            found: dict[int, dict[str, Any] | None] = {}
            kept = [place for place in part if place not in left_out]
            for name in dict.fromkeys(self.names[place] for place in kept):
                own = [place for place in kept if self.names[place] == name]
                with self.active(name) as run:
                    found |= run.predicted(rows, own, batch_size, decoding)
            yield part, [found.get(place) for place in part]

    def run_of(self, name: str) -> TrainedRun:
        """Return a run; for the base model's rows the first one, which only encodes them."""
        return self.runs[name] if name != BASE else next(iter(self.runs.values()))

    @contextmanager
    def active(self, name: str) -> Iterator[TrainedRun]:
        """Switch to a run's adapter, or to none, in the block; no weight is copied."""
        run = self.run_of(name)
        if name == BASE:
            with run.model.disable_adapter():
                yield run
            return
        run.model.set_adapter(peft_name([*self.runs].index(name)), inference_mode=True)
        yield run


def peft_name(number: int) -> str:
    """Return PEFT's name of an adapter: the user's could be part of a parameter's name."""
    return f"{ADAPTER}_{number}" if number else ADAPTER


def open_several(
    adapters: Mapping[str, str],
    read: Mapping[str, ReadRun],
    *,
    base_model: str | None,
    strength: float | None = None,
) -> dict[str, TrainedRun]:
    """Load one base model with the adapters of all runs, each at its own strength unless given."""
    for run in read.values():
        check_base(run.manifest, run.cfg, run.folder, moved=base_model is not None)
    first = next(iter(read.values()))
    backbone = load_backbone(first.cfg.model, first.task)
    for name, run in read.items():
        check_fingerprint(run.manifest, backbone, run.cfg, adapters[name])
    places = {peft_name(n): (r.folder.adapter, r.cfg) for n, r in enumerate(read.values())}
    model = load_several(backbone, places, first.task.auto_class, strength)
    for run in read.values():
        changes = provenance.adapter_changes(run.manifest, run.folder)
        provenance.require_unchanged(changes, run.folder.path, provenance.COPY_RUN)
    opened = {}
    for name, run in read.items():
        parts = run.cfg, run.folder, run.task, with_processor(backbone, run), model, run.manifest
        own = run.cfg.adapter.strength if strength is None else strength
        opened[name] = TrainedRun(*parts, strength=own)
    return opened


def with_processor(backbone: Backbone, run: ReadRun) -> Backbone:
    """Return the same model with a processor of the run's own, as tasks may change theirs."""
    processor = load_processor(model_folder(run.cfg.model), run.cfg.model, run.task)
    fit_together(processor, backbone.model, run.cfg.model.path)
    return replace(backbone, processor=processor)
