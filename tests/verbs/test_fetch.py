"""`goft fetch` copies a model and data from the caches to a folder that is all a run needs."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from datasets import Dataset

from goft_cli.compose.words import in_full, spelled
from goft_cli.config import TrainConfig
from goft_cli.data.sources import read_demo
from goft_cli.models.backbone import load_backbone
from goft_cli.tasks.families import build_task
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.hub_caches import cache_dataset, cache_model, turn_to

HUB = ["task=glue/cola", "model=minilm-l6"]
TINY = ["model=tiny-deberta-v3"]
SOURCES = ["model.path=me/mini", "task.dataset.id=me/sentences", "task.dataset.config=cola"]


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of this test's own hub caches, which hold a model and a dataset."""
    root = tmp_path / "caches"
    turn_to(root, monkeypatch)
    small_runs.write_model(cache_model(root, "me/mini"))
    cache_dataset(root, "me/sentences", "cola")
    return root


def inputs(cfg: TrainConfig) -> tuple[str, list[list[list[int]]]]:
    """Return the fingerprint of the backbone, and the token ids of every row of each split."""
    task = build_task(cfg.task)
    backbone = load_backbone(cfg.model, task)
    encoded = [task.encode(rows, backbone.processor) for rows in task.load().splits.values()]
    return backbone.fingerprint, [list(cast("Dataset", rows)["input_ids"]) for rows in encoded]


@pytest.mark.slow
def test_the_folder_is_the_hub_for_a_run(goft: Goft, caches: Path, tmp_path: Path) -> None:
    answer = goft("fetch", *HUB, *SOURCES, "output_dir=away")
    assert answer.code == 0, answer.err
    folder = tmp_path / "away"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    names = {path.name for path in (folder / "model").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json"}

    said = answer.out.splitlines()[-1].split("goft train ")[1]
    words = shlex.split(said)
    assert words[:2] == HUB
    there = inputs(small_runs.composed(words))
    assert there == inputs(small_runs.composed([*HUB, *SOURCES]))
    for cache in caches.iterdir():
        cache.rename(cache.with_name(f"{cache.name}-gone"))
    assert inputs(small_runs.composed(words)) == there

    refused = goft("fetch", *HUB, *SOURCES, "output_dir=away")
    assert refused.code == 2
    assert "output_dir=away is already there and not empty" in refused.err


@pytest.mark.parametrize("target", ["away", "away (1)"])
def test_data_of_ones_own_on_the_hub_is_fetched(target: str, goft: Goft, caches: Path) -> None:
    rows = [{"text": f"so {kind} {number}", "label": kind} for number in range(8) for kind in "ab"]
    cache_dataset(caches, "me/reviews", "default", {"train": rows})
    own = ["task=own/classification", *TINY]
    fetched = goft("fetch", *own, "data=me/reviews", f"output_dir={spelled(target)}")
    assert fetched.code == 0, fetched.err
    words = shlex.split(fetched.out.splitlines()[-1].split("goft train ")[1])
    assert words == [*own, f"task.data_dir={spelled(f'{target}/data')}"]
    cfg = small_runs.composed(words)
    assert (cfg.task.eval_splits, len(build_task(cfg.task).load().splits["train"])) == (
        ["validation"],
        14,
    )


def test_the_command_there_trains_on_the_same_columns(goft: Goft, tmp_path: Path) -> None:
    rows = [f"so {number},{number % 2},{'ab'[number % 2]}\n" for number in range(16)]
    (tmp_path / "two.csv").write_text("".join(["first,label,stars\n", *rows]))
    (mine := tmp_path / "mine").mkdir()
    model = f"model.path={small_runs.write_model(tmp_path / 'elsewhere' / 'minilm-l6')}"
    own = ["task=own/classification", "data=two.csv", "label=stars", "text=[first]"]
    fetched = goft(
        "fetch",
        *own,
        "model=auto",
        model,
        "output_dir=away",
        "--config-dir",
        str(tmp_path / "mine"),
    )
    assert fetched.code == 0, fetched.err
    flag, folder, *words = shlex.split(fetched.out.splitlines()[-1].split("goft train ")[1])
    assert (flag, folder) == ("--config-dir", str(mine))
    here = small_runs.composed([in_full("train", word) for word in [*own, "model=auto", model]])
    there = small_runs.composed(words)
    assert there.task == here.task
    assert there.model == replace(here.model, path="away/model")


@pytest.mark.slow
def test_a_benchmark_is_fetched_to_be_scored(goft: Goft, caches: Path) -> None:
    rows = {split: read_demo("demo:choices", split)[:4] for split in ("dev", "test")}
    cache_dataset(caches, "me/questions", "all", rows)
    words = ["task=mmlu/full", "model=tiny-llama", "task.dataset.id=me/questions"]
    fetched = goft("fetch", *words, "output_dir=away")
    assert fetched.code == 0, fetched.err
    said = fetched.out.split()[-4:]
    assert said == ["eval", *words[:2], "task.data_dir=away/data"]
    for cache in caches.iterdir():
        cache.rename(cache.with_name(f"{cache.name}-gone"))
    scored = goft(*said, "shots=1")
    assert scored.code == 0, scored.err
    assert "test has 4 rows" in " ".join(scored.out.split())


@pytest.mark.usefixtures("caches")
def test_what_is_not_to_be_had_leaves_no_folder(goft: Goft, tmp_path: Path) -> None:
    answer = goft("fetch", *HUB, "model.path=me/mini", "output_dir=away")
    assert answer.code == 2
    assert "dataset nyu-mll/glue cannot be loaded" in answer.err
    assert {path.name for path in tmp_path.iterdir()} == {"caches"}


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("", "goft train task=demo/acceptability model=tiny-deberta-v3"),
        ("task=demo/choices model=tiny-llama", "goft eval task=demo/choices model=tiny-llama"),
        ("task=vicuna", "goft eval task=vicuna model=tiny-deberta-v3 task.data_dir=DIR"),
    ],
)
def test_nothing_is_fetched_that_comes_along(
    words: str, command: str, goft: Goft, tmp_path: Path
) -> None:
    answer = goft("fetch", *words.split(), "output_dir=away")
    assert (answer.code, list(tmp_path.iterdir())) == (0, [])
    assert "nothing to fetch: model and data come with goft-cli" in answer.out
    assert answer.out.rstrip().endswith(f"  {command}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fetch", "output_dir has no value; pass output_dir=VALUE"),
        ("fetch output_dir=x model.path=./no", "model.path=./no: no such folder"),
        ("fetch output_dir=x adapter=lora", "there is no key adapter"),
    ],
)
def test_a_mistake_gets_a_sentence(words: str, expected: str, goft: Goft) -> None:
    answer = goft(*words.split())
    assert answer.code == 2
    assert expected in answer.err
