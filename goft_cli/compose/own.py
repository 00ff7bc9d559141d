"""Task settings detected in the user's own file: columns, labels, splits, epochs.

A YAML below `configs/task/own` reads them by resolvers such as `${own:labels}`, so that a key on
the command line replaces the detected value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from goft_cli.config import HELD_OUT, ImageClassificationConfig, QuestionAnsweringConfig, TaskConfig
from goft_cli.config.families import ENTITY_TAG
from goft_cli.config.task import LESS_IS_BETTER, DatasetConfig, OwnDataConfig
from goft_cli.system.errors import GoftError
from goft_cli.system.files import LABEL

UPDATES = 750
"""About how many updates to train."""
BATCH = 32
"""Rows of an update."""
MOST_EPOCHS = 20
FEW_EPOCHS = 3
"""The most epochs of a language model, which overfits sooner."""
SHARED: dict[str, Any] = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 32,
    "warmup_steps": 0.1,
    "weight_decay": 0.0,
}
INSTRUCTIONS = {
    "instruction": ("instruction", "prompt", "question", "query", "input"),
    "output": ("output", "response", "completion", "answer", "target"),
    "input": ("input", "context"),
}
"""Names of instruction columns in users' files, the most specific first."""
RATES = {
    "goft": 5e-3,
    "qgoft": 5e-3,
    "goft-scaled": 5e-3,
    "lora": 1e-3,
    "adalora": 1e-3,
    "oft": 1e-3,
    "boft": 1e-3,
    "hra": 1e-3,
    "bitfit": 1e-3,
    "full": 2e-5,
    "linear": 1e-2,
}
"""Learning rates that train small encoders, not tuned for the user's data."""


def untuned(adapter: str) -> dict[str, Any]:
    """Return the hyperparameters of an adapter for a task whose recipe states none."""
    return SHARED | ({"learning_rate": RATES[adapter]} if adapter in RATES else {})


def own(what: str, *, _parent_: DictConfig) -> Any:  # noqa: ANN401 - a text, a list or a number
    """Return a setting detected in a task's file, by a name in `FOUND`; for `${own:NAME}`."""
    node: Any = _parent_
    while not issubclass(OmegaConf.get_type(node) or dict, TaskConfig):
        node = node._get_parent()
    return FOUND[what](node)


def dataset_of(task: DictConfig) -> DatasetConfig | None:
    """Return the dataset of the hub that the user named in place of a file, if any."""
    found = None if task.data_dir is not None or "dataset" not in task else task.dataset
    return DatasetConfig(found.id, found.config, found.revision) if found and found.id else None


def place_of(task: DictConfig) -> Path:
    """Return the path of a task's data, which the user has to pass."""
    if dataset := dataset_of(task):
        return Path(dataset.id)
    if task.data_dir is None:
        raise GoftError(
            "task=own/...: it names no data",
            "pass data=FILE or data=FOLDER, such as data=reviews.csv",
        )
    return Path(task.data_dir).expanduser()


def own_data(task: DictConfig) -> OwnDataConfig:
    """Return how the files become splits."""
    found = OmegaConf.to_object(task.own)
    if not isinstance(found, OwnDataConfig):
        raise TypeError(f"task.own is a {type(found).__name__}")
    return found


def given(task: DictConfig, key: str) -> Any:  # noqa: ANN401 - the key's own type
    """Return the user's value of a key that is detected by default, or None."""
    asks = OmegaConf.is_interpolation(task, key)
    return None if asks or OmegaConf.is_missing(task, key) else task[key]


def table_of(task: DictConfig) -> Any:  # noqa: ANN401 - a Table, whose module is heavy
    """Return the training rows of a task, read once."""
    if dataset := dataset_of(task):
        return read_dataset(dataset.id, dataset.config, dataset.revision)
    place, settings, kind = place_of(task), own_data(task), OmegaConf.get_type(task)
    if kind is ImageClassificationConfig:
        from goft_cli.data.own_images import find_images

        folder = find_images(place, settings)["train"]
        return read_image_table(str(folder), folder.stat().st_mtime_ns)
    from goft_cli.data.own import find_files

    paths = find_files(place, settings)["train"]
    if streams(task):
        from goft_cli.data.streamed import head_of

        return head_of(paths[0])
    marks = tuple((str(path), path.stat().st_mtime_ns) for path in paths)
    return read_table(marks, documents=kind is QuestionAnsweringConfig)


@lru_cache(maxsize=1)
def read_dataset(identity: str, config: str | None, revision: str | None) -> Any:  # noqa: ANN401 - a Table, whose module is heavy
    """Read the training rows of a dataset of the hub, by its id, configuration and revision."""
    from goft_cli.data.formats import Layout
    from goft_cli.data.sources import read_splits

    dataset = DatasetConfig(identity, config, revision)
    return read_splits(dataset, ["train"], None, Layout())[0]["train"]


@lru_cache(maxsize=1)
def read_image_table(folder: str, _: int) -> Any:  # noqa: ANN401 - a Table, whose module is heavy
    """Read a folder or table of images, known by its path and the time of its last change."""
    from goft_cli.data.own_images import read_images

    return read_images(Path(folder))


@lru_cache(maxsize=2)
def read_table(files: tuple[tuple[str, int], ...], *, documents: bool) -> Any:  # noqa: ANN401 - as above
    """Read files of rows, each known by its path and the time of its last change.

    With `documents`, one that is a single JSON value is SQuAD's.
    """
    from goft_cli.data.files import read_shards
    from goft_cli.data.formats import Layout
    from goft_cli.data.squad import read_document

    layout = Layout(document=read_document if documents else None)
    return read_shards([Path(path) for path, _ in files], layout)[0]


def name(task: DictConfig) -> str:
    """Return the name of the task in tables and folders, after its file or folder."""
    return f"own/{place_of(task).resolve().stem}"


def text(task: DictConfig) -> list[str]:
    """Return the columns of text: the user's, or the detected ones."""
    from goft_cli.data.columns import find_text

    table, label = table_of(task), given(task, "label_column")
    require(table, [label] if label else [], "label")
    return find_text(table, label)


def label(task: DictConfig) -> str:
    """Return the column of the label: the user's, or the detected one."""
    from goft_cli.data.columns import find_label

    table, chosen = table_of(task), given(task, "text_columns")
    require(table, chosen or [], "text")
    return find_label(table, chosen or text(task))


def require(table: Any, columns: list[str], key: str) -> None:  # noqa: ANN401 - a Table
    """Refuse columns that the user named and the file does not have."""
    from goft_cli.data.columns import require_column

    for column in columns:
        require_column(table, column, key)


def labels(task: DictConfig) -> list[str]:
    """Return the names of the classes, in an order that does not depend on the rows'."""
    from goft_cli.data.cells import label_set, words_in
    from goft_cli.data.columns import label_names, one_label_each, require_column

    table, column = table_of(task), task.label_column
    require_column(table, column, "label")
    if task.family == "token_classification":
        table = one_label_each(table, column, words_in)
    elif task.get("multi_label"):
        table = one_label_each(table, column, label_set)
    return label_names(table, column)


def tokens(task: DictConfig) -> list[str]:
    """Return the column of words."""
    from goft_cli.data.columns import TOKENS, find_named

    return [find_named(table_of(task), TOKENS, "text")]


def tags(task: DictConfig) -> str:
    """Return the column of the words' tags."""
    from goft_cli.data.columns import TAGS, find_named

    return find_named(table_of(task), TAGS, "label")


def tag_metrics(task: DictConfig) -> list[str]:
    """Return the metrics of entities, or of other tags."""
    is_bio = all(ENTITY_TAG.fullmatch(name) for name in task.labels)
    return ["f1", "precision", "recall", "accuracy"] if is_bio else ["accuracy", "macro_f1"]


def classes(task: DictConfig) -> list[str]:
    """Return the names of the classes of images."""
    from goft_cli.data.columns import label_names

    return label_names(table_of(task), LABEL, "expected a folder for each of two classes or more")


def aliases(task: DictConfig) -> dict[str, str]:
    """Return the file's names of instruction columns where they are not the standard ones."""
    from goft_cli.data.columns import aliases_of

    return aliases_of(table_of(task), INSTRUCTIONS)


def splits(task: DictConfig) -> list[str]:
    """Return the splits to score: `validation`, held out or in its own files, and `test`."""
    from goft_cli.data.own import TEST, find_files
    from goft_cli.data.own_images import find_images
    from goft_cli.data.sources import split_names

    if dataset := dataset_of(task):
        return [HELD_OUT, *([TEST] if TEST in split_names(dataset) else [])]
    of_images = OmegaConf.get_type(task) is ImageClassificationConfig
    found = (find_images if of_images else find_files)(place_of(task), own_data(task))
    return [HELD_OUT, *([TEST] if TEST in found else [])]


def epochs(task: DictConfig) -> int:
    """Return how many epochs make about `UPDATES` updates."""
    passes = math.ceil(UPDATES * BATCH / max(1, row_count(task)))
    return max(1, min(MOST_EPOCHS, passes))


def few_epochs(task: DictConfig) -> int:
    """Return how many epochs a language model trains: as `epochs`, with a lower limit."""
    return min(FEW_EPOCHS, epochs(task))


def row_count(task: DictConfig) -> int:
    """Return how many training rows there are."""
    if not streams(task):
        return len(table_of(task))
    from goft_cli.data.own import find_files
    from goft_cli.data.streamed import count

    return count(find_files(place_of(task), own_data(task))["train"])


def streams(task: DictConfig) -> bool:
    """Tell whether a task's file is streamed instead of read whole."""
    return bool("streaming" in task and task.streaming)


FOUND: dict[str, Callable[[DictConfig], Any]] = {
    "name": name,
    "text": text,
    "label": label,
    "labels": labels,
    "tokens": tokens,
    "tags": tags,
    "tag_metrics": tag_metrics,
    "headline": lambda task: task.metrics[0],
    "greater_is_better": lambda task: task.headline not in LESS_IS_BETTER,
    "classes": classes,
    "class_count": lambda task: len(task.labels),
    "aliases": aliases,
    "splits": splits,
    "epochs": epochs,
    "few_epochs": few_epochs,
}
"""The values of `${own:NAME}`."""
