"""The GLUE tasks have the published settings, and read files in GLUE's own layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from goft_cli.config import TaskConfig, TextClassificationConfig
from goft_cli.tasks.families import build_task

ConfigReader = Callable[..., TextClassificationConfig]

# AdaLoRA's scripts for DeBERTaV3-base: length, dropout of the head, weight decay, warm-up (steps,
# or below 1 the share of all), its learning rate.
ADALORA = {
    "mnli": (256, 0.15, 0.0, 1000, 5e-4),
    "sst2": (128, 0.0, 0.01, 1000, 8e-4),
    "cola": (64, 0.10, 0.0, 100, 8e-4),
    "qqp": (320, 0.15, 0.01, 2000, 8e-4),
    "qnli": (512, 0.10, 0.01, 500, 5e-4),
    "rte": (320, 0.20, 0.01, 200, 1.2e-3),
    "mrpc": (320, 0.0, 0.01, 0.1, 1e-3),
    "stsb": (128, 0.20, 0.10, 100, 2.2e-3),
}
# Rows of the training split, then of the evaluation splits in their order.
SIZES = {
    "mnli": [392702, 9815, 9832],
    "sst2": [67349, 872],
    "cola": [8551, 1043],
    "qqp": [363846, 40430],
    "qnli": [104743, 5463],
    "rte": [2490, 277],
    "mrpc": [3668, 408],
    "stsb": [5749, 1500],
}
# The metric that Table 1 reports for each task.
HEADLINES = dict.fromkeys(SIZES, "accuracy") | {
    "cola": "matthews_correlation",
    "stsb": "combined_score",
}
# The header and one row of GLUE's own files; the texts and the target that must be read.
PUBLISHED: dict[str, tuple[str, str, list[str], float]] = {
    "cola": ("", "gj04\t1\t\tA b.", ["A b."], 1),
    "sst2": ("sentence\tlabel", "a b \t0", ["a b "], 0),
    "mrpc": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '1\t7\t8\tA "b.\tC d.',
        ['A "b.', "C d."],
        1,
    ),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tg\tf\t2012\t1\tnone\tnone\tA b.\tC d.\t4.750",
        ["A b.", "C d."],
        4.75,
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "1\t2\t3\tA b?\tC d?\t1",
        ["A b?", "C d?"],
        1,
    ),
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label",
        "0\t1\t2\tg\tA b.\tC d.\tneutral\tcontradiction",
        ["A b.", "C d."],
        2,
    ),
    "qnli": ("index\tquestion\tsentence\tlabel", "0\tA b?\tC d.\tentailment", ["A b?", "C d."], 0),
    "rte": (
        "index\tsentence1\tsentence2\tlabel",
        "0\tA b.\tC d.\tnot_entailment",
        ["A b.", "C d."],
        1,
    ),
}


@pytest.fixture
def config_of(task_config: Callable[[str], TaskConfig]) -> ConfigReader:
    """Return a function that reads a GLUE task's configuration and sets its `data_dir`."""

    def read(task: str, data_dir: str | None = None) -> TextClassificationConfig:
        config = task_config(f"glue/{task}")
        assert isinstance(config, TextClassificationConfig)
        return replace(config, data_dir=data_dir)

    return read


@pytest.mark.parametrize("task", SIZES)
def test_what_the_task_fixes(task: str, config_of: ConfigReader) -> None:
    config = config_of(task)
    assert (config.dataset.id, config.dataset.config) == ("nyu-mll/glue", task)
    assert (config.max_length, config.classifier_dropout) == ADALORA[task][:2]
    splits = [config.train_split, *config.eval_splits]
    assert config.benchmark_sizes == dict(zip(splits, SIZES[task], strict=True))
    assert config.headline == HEADLINES[task]
    assert config.greater_is_better


@pytest.mark.parametrize("task", SIZES)
def test_what_the_paper_leaves_open_is_adaloras(task: str, config_of: ConfigReader) -> None:
    recipe = config_of(task).recipe
    _, _, weight_decay, warmup, adalora_rate = ADALORA[task]
    assert recipe.model == "deberta-v3-base"
    assert recipe.shared["warmup_steps"] == warmup
    assert recipe.shared["weight_decay"] == weight_decay
    assert recipe.by_adapter["lora"] == {"learning_rate": adalora_rate}
    assert set(recipe.by_adapter) == {"goft", "qgoft", "lora", "adalora"}


def test_mnli_trains_on_matched_and_reports_mismatched(config_of: ConfigReader) -> None:
    config = config_of("mnli")
    assert config.eval_splits == ["validation_matched", "validation_mismatched"]
    assert config.headline_split == "validation_mismatched"


@pytest.mark.parametrize("task", SIZES)
def test_heads_have_one_output_per_class(task: str, config_of: ConfigReader) -> None:
    options = build_task(config_of(task)).model_options()
    regression = task == "stsb"
    assert options["num_labels"] == (1 if regression else 3 if task == "mnli" else 2)
    assert (options["problem_type"] == "regression") is regression


@pytest.mark.parametrize("task", SIZES)
def test_glues_own_files_are_read_as_they_are(
    task: str, tmp_path: Path, config_of: ConfigReader
) -> None:
    header, row, texts, target = PUBLISHED[task]
    content = "".join(f"{line}\n" for line in (header, row) if line)
    config = config_of(task, data_dir=str(tmp_path))
    for split in [config.train_split, *config.eval_splits]:
        name = split.replace("validation", "dev") + ".tsv"
        (tmp_path / name).write_text(content, encoding="utf-8")
    built = build_task(config)
    data = built.load()
    for rows in data.splits.values():
        assert [rows[0][name] for name in config.text_columns] == texts
        assert rows[0][config.label_column] == target
    assert built.size_deviations(data).keys() == config.benchmark_sizes.keys()
