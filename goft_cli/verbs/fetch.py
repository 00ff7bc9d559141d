"""`goft fetch`: model and data of a run or benchmark, in a folder for machines without network."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.compose.recomposition import words_of_groups
from goft_cli.compose.words import spelled
from goft_cli.config import BenchmarkConfig, DatasetConfig, FetchConfig, ModelConfig, TaskConfig
from goft_cli.config.model import check_tokenizer
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.files import write_json, write_text
from goft_cli.system.locations import ASSET_SCHEME, check_target, whole_folder

if TYPE_CHECKING:
    from goft_cli.models.backbone import Head


def main() -> None:
    """Compose `configs/fetch.yaml` and fetch."""
    run_composed("fetch", FetchConfig, fetch)


def fetch(cfg: FetchConfig) -> None:
    """Write the folder, and print the command that uses it on another machine."""
    from goft_cli.run.summary import screen
    from goft_cli.system.screen import quiet_libraries

    target = Path(cfg.output_dir)
    check_target(target)
    with quiet_libraries():
        fetched = fetch_run(cfg, target)
    lines = ["nothing to fetch: model and data come with goft-cli, or are in folders of yours"]
    if fetched:
        lines = [f"copy {target} to the other machine, and there:"]
        lines.append(f"  (cd {shlex.quote(str(target))} && sha256sum -c SHA256SUMS)")
    for line in [*lines, f"  {command_there(cfg, target, fetched)}"]:
        screen.print(line, soft_wrap=True, highlight=False, markup=False)


def fetch_run(cfg: FetchConfig, target: Path) -> set[str]:
    """Write `model/`, `data/` and `SHA256SUMS`; return which of "model" and "data" were written.

    What comes with this package is not written; with neither, there is no folder.
    """
    from goft_cli.tasks.families import build_benchmark, build_task

    dataset = cfg.task.remote_dataset
    wanted = {"model"} if not cfg.model.path.startswith(ASSET_SCHEME) else set[str]()
    wanted |= {"data"} if dataset else set()
    if not wanted:
        return wanted
    with whole_folder(target) as folder:
        if "model" in wanted:
            build = build_benchmark if isinstance(cfg.task, BenchmarkConfig) else build_task
            fetch_model(cfg.model, build(cfg.task), folder / "model")
        if dataset:
            fetch_data(dataset, stored_splits(cfg.task, dataset), folder / "data")
        write_text(folder / "SHA256SUMS", checksums(folder))
    return wanted


def fetch_model(cfg: ModelConfig, head: Head, folder: Path) -> None:
    """Save weights as safetensors, with the head they were published with, and the processor.

    A tokenizer is saved in its fast form, which needs no sentencepiece to be read again.
    """
    import transformers

    from goft_cli.data.model_files import FETCHED, revision_of
    from goft_cli.models.backbone import check_architecture, model_folder, reading
    from goft_cli.models.weights import find_weights, reading_of

    check_tokenizer(cfg)
    source = model_folder(cfg)
    with reading(cfg.path):
        config = transformers.AutoConfig.from_pretrained(source, **cfg.source)
        check_architecture(config, head.auto_class, cfg)
        published = (getattr(config, "architectures", None) or [""])[0]
        kind = getattr(transformers, published, transformers.AutoModel)
        options = reading_of(find_weights(source, cfg))
        model = kind.from_pretrained(source, dtype="auto", **options, **cfg.source)
        processor_class = getattr(transformers, head.processor_class)
        processor = processor_class.from_pretrained(source, **cfg.source)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_json(folder / FETCHED, {"source": cfg.path, "revision": revision_of(source)})


def stored_splits(task: TaskConfig, dataset: DatasetConfig) -> list[str]:
    """Return the splits of a task that the hub has; a user's task may split one of them."""
    if task.own is None:
        return task.splits
    from goft_cli.data.sources import split_names

    return [name for name in split_names(dataset) if name in task.splits]


def fetch_data(dataset: DatasetConfig, splits: Sequence[str], folder: Path) -> None:
    """Save the splits of a hub dataset, unchanged, where `task.data_dir` finds them."""
    from goft_cli.data import dataset_files
    from goft_cli.data.model_files import FETCHED
    from goft_cli.data.sources import LABEL_NAMES, find_parquet, load_all

    folder.mkdir()
    name, found = dataset_files.named(dataset), find_parquet(dataset, splits)
    names: dict[str, list[str]] = {}
    if found is not None:
        revision, names = found.folder.name, dataset_files.label_names(found.folder, dataset)
        for split in splits:
            paths = found.paths(split)
            for number, path in enumerate(paths):
                shard = f"{split}-{number:05d}-of-{len(paths):05d}.parquet"
                shutil.copyfile(path, folder / shard)
    else:
        loaded, revision = load_all(dataset)
        dataset_files.require_splits(splits, [str(split) for split in loaded], name)
        for split in splits:
            loaded[split].save_to_disk(str(folder / split))
    origin = {"source": name, "revision": revision}
    write_json(folder / FETCHED, origin | ({LABEL_NAMES: names} if names else {}))


def checksums(folder: Path) -> str:
    """Return the SHA-256 of every file below a folder, in the form of `sha256sum`."""
    from goft_cli.system.digests import file_sha256

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(
        f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files
    )


def command_there(cfg: FetchConfig, target: Path, fetched: set[str]) -> str:
    """Return the command that uses the folder."""
    sources = (getattr(cfg.task, "dataset", None), getattr(cfg.task, "generator", None))
    verb = "eval" if isinstance(cfg.task, BenchmarkConfig) else "train"
    placed, replaced = list[str](), list[str]()
    if "model" in fetched:
        placed.append(f"model.path={spelled(target / 'model')}")
        replaced += ["model.path=", "model.revision="]
    if "data" in fetched:
        placed.append(f"task.data_dir={spelled(target / 'data')}")
        replaced.append("task.dataset.")
    elif cfg.task.data_dir is None and not any(sources):  # rows of the user's own
        placed.append("task.data_dir=DIR")
    words = words_of_groups("task", "model")
    kept = [word for word in words if not word.startswith(tuple(replaced))]
    return shlex.join(["goft", verb, *kept, *placed])
