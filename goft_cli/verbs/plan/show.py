"""A plan on the screen, and in the run folder, where the run finds it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from goft_cli.config import PlanConfig
from goft_cli.config.model import real_name
from goft_cli.run.configuration import config_sha256
from goft_cli.run.folder import FORECAST, RunFolder
from goft_cli.run.summary import describe_recipe, megabytes, screen
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json
from goft_cli.system.tables import Table, styled
from goft_cli.training.launch_checks import device_of
from goft_cli.verbs.plan.fits import candidates, room_of, table_of, too_large
from goft_cli.verbs.plan.forecast import Plan, planned_run
from goft_cli.verbs.plan.memory import Memory
from goft_cli.verbs.plan.scaling import Way

WIDTH = 60


def write_plan(plan: Plan) -> None:
    """Write everything that the plan shows."""
    write_json(RunFolder(Path(plan.cfg.output_dir)).plan, as_plain(plan))


def as_plain(plan: Plan) -> dict[str, Any]:
    """Return a plan as dicts, lists and scalars."""
    content = {key: value for key, value in asdict(plan).items() if key != "cfg"}
    content["equivalents"] = {
        adapter: {"words": words, "parameters": count}
        for adapter, (words, count) in plan.equivalents.items()
    }
    forecast = {  # by the names in `metrics.json`
        "trainable_parameters": plan.parameters.adapter,
        "head_parameters": plan.parameters.head,
        "peak_memory_bytes": None if plan.memory is None else plan.memory.peak,
        "train_seconds": plan.train_seconds,
    }
    return {"config_sha256": config_sha256(plan.cfg), FORECAST: forecast, **content}


def show(plan: Plan) -> None:
    """Print a plan."""
    cfg = plan.cfg
    screen.print(f"[bold]plan[/]  {cfg.task.name}  {real_name(cfg.model)}  {cfg.adapter.name}")
    screen.print(describe_recipe(cfg), style="dim", markup=False)
    if plan.layers:
        screen.print(layer_table(plan))
    screen.print(number_table("parameters", parameter_rows(plan)))
    screen.print(number_table("training", training_rows(plan)))
    if plan.memory is not None:
        where = "GPU" if plan.device == "cuda" else "process on the CPU"
        screen.print(number_table(f"memory of each {where}", memory_rows(plan, plan.memory)))
    if plan.ways:
        screen.print(way_table(plan.ways))
    for line in remarks(plan):
        screen.print(line, markup=False)


def show_fitting(cfg: PlanConfig) -> bool:
    """Print what was tried to fit, and the overrides to pass; True if nothing has to change."""
    run = planned_run(cfg)
    room, on_gpu = room_of(run, cfg.room), not cfg.trainer.use_cpu
    on_gpu = on_gpu and (cfg.room is not None or device_of(run.trainer) == "cuda")
    try:
        tried = list(candidates(run, room, on_gpu=on_gpu, measuring=cfg.calibrate))
    except GoftError:
        raise
    except Exception as error:  # any line of a model may ask a tensor for its values
        raise GoftError(
            f"fits={cfg.fits}: no forecast of memory, for {real_name(cfg.model)} cannot be run "
            "without data",
            "leave fits out",
        ) from error
    where = "GPU" if on_gpu else "process on the CPU"
    last = tried[-1]
    if last.peak <= room and not last.words:
        screen.print(f"fits as given: {megabytes(last.peak)} of {megabytes(room)} of each {where}")
        return True
    screen.print(table_of(tried, room))
    if last.peak > room:
        raise too_large(tried, room)
    screen.print(f"of each {where}; what fits, to add to the command:", markup=False)
    print(" ".join(last.words))  # in one line, to be pasted
    return False


def layer_table(plan: Plan) -> Table:
    """Lay out the adapted layers."""
    columns = ["layer", "count", "in", "out", "stages", "parameters each"]
    rows = [
        [name, *(None if number is None else f"{number:,}" for number in numbers)]
        for name, *numbers in map(astuple, plan.layers)
    ]
    return Table(columns, rows, "adapted layers", "lr", min_width=WIDTH)


def number_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """Lay out names and values."""
    return Table(["", ""], rows, title, "lr", min_width=WIDTH)


def way_table(ways: Sequence[Way]) -> Table:
    """Lay out what each GPU would hold and send, by the way of sharing the training out."""
    rows = [
        [way.name, megabytes(way.training), megabytes(way.checking), sent(way.sent)] for way in ways
    ]
    columns = ["", "training", "check of the adapter", "sent per update"]
    return Table(columns, rows, "each GPU", "lr", min_width=WIDTH)


def sent(size: int) -> str:
    """Write bytes that travel, which may be few."""
    return f"{size / 2**20:,.2f} MB"


def parameter_rows(plan: Plan) -> list[tuple[str, str]]:
    """Count what trains, and what would spend as much."""
    counts = plan.parameters
    rows = [
        ("adapter", f"{counts.adapter:,}"),
        ("head, which trains beside it", f"{counts.head:,}"),
        ("frozen", f"{counts.total - counts.adapter - counts.head:,}"),
    ]
    return rows + [
        (f"as many: adapter={name} {words}", f"{count:,}")
        for name, (words, count) in plan.equivalents.items()
        if name != plan.cfg.adapter.name
    ]


def training_rows(plan: Plan) -> list[tuple[str, str]]:
    """Say how long the run is."""
    trainer, devices = plan.cfg.trainer, plan.cfg.launcher.num_processes
    batch, steps = trainer.per_device_train_batch_size, trainer.gradient_accumulation_steps
    rows = "" if plan.rows is None else f"{plan.rows:,}, "
    shared = f" = {batch} x {devices} processes x {steps} steps" if devices * steps > 1 else ""
    found = [
        ("rows", f"{rows}{plan.rows_from}"),
        ("examples per update", f"{batch * devices * steps:,}{shared}"),
        ("updates", "unknown" if plan.updates is None else f"{plan.updates:,}"),
        ("epochs", f"{trainer.num_train_epochs:g}" if trainer.max_steps < 0 else "cut short"),
        ("largest batch", " x ".join(map(str, plan.batch))),
    ]
    if plan.timing is not None:
        found.append(("time per update", f"{plan.timing.update:.2f} s"))
    if plan.train_seconds is not None:
        found.append(("training time", duration(plan.train_seconds)))
    return found


def memory_rows(plan: Plan, memory: Memory) -> list[Sequence[str]]:
    """List the parts, and the peak with the batch that makes it."""
    kind, shape = "longest" if len(plan.batch) == 2 else "largest", " x ".join(map(str, plan.batch))
    names = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "activations": memory.activations,
        "pieces that the allocator keeps": memory.fragments,
        "second model, to check the adapter": memory.rebuilt,
        "evaluation of a batch": memory.scored,
        "process": memory.process,
    }
    rows: list[Sequence[str]] = [(name, megabytes(value)) for name, value in names.items() if value]
    at = "in an evaluation" if memory.evaluates else f"with the {kind} batch ({shape})"
    rows.append(styled("bold", f"peak, {at}", megabytes(memory.peak)))
    if memory.process:
        rows.append(("on a GPU it would be", megabytes(plan.tensors or 0)))
    return rows


def remarks(plan: Plan) -> list[str]:
    """Return sentences on what the tables rest on, the paper, and the hub."""
    lines = list(plan.notes)
    cell = plan.published
    if cell is None:
        lines.append("paper: it has no such run")
    else:
        printed = [f"{name} {value:g}" for name, value in cell.values.items() if value is not None]
        values = ", ".join(printed) or "a plot only"
        lines.append(f"paper: {cell.source} ({cell.name}), which reports {values}")
        if cell.not_comparable:
            lines.append(f"not comparable: {cell.not_comparable}")
    if plan.cached:
        lines.append(f"cached: {', '.join(plan.cached)}")
    lines.append(f"to download: {', '.join(plan.downloads) or 'nothing'}")
    return lines


def duration(seconds: float) -> str:
    """Write seconds as hours and minutes where there are many."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
