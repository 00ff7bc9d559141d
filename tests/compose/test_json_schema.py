"""The JSON Schemas accept every YAML of this package and refuse mistyped keys and values."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

from goft_cli.compose.composition import loader
from goft_cli.compose.json_schema import json_schemas
from goft_cli.compose.suggest import CommandLine
from goft_cli.studies.recipes import recipe_names
from goft_cli.system.locations import data_root
from tests.conftest import Goft

REVIEWS = """
defaults: [/schema/task/text_classification@_here_, override /model@_global_.model: minilm-l6]
name: reviews
text_columns: [review]
labels: [no, yes]
metrics: ["${.headline}"]
headline: accuracy
max_length: 64
class_weights: balanced
own: {split: 0.2}
recipe: {source: ours, shared: {num_train_epochs: 3}}
"""
MINE = """
defaults: [/schema/model@_here_]
name: mine
path: ./mine
dtype: bfloat16
target_modules: [query]
head_modules: null
"""
SMALL = """
defaults: [/adapter/lora@_here_]
name: small
r: 1
lora_alpha: "${mul:2,${.r}}"
use_rslora: true
layers_to_transform: [0, 1]
"""
TURNED = """
defaults: [/schema/adapter/goft@_here_]
name: turned
method: qgoft
penalty_weight: 1.0e-2
"""
PRESET = """
defaults: [override /adapter: qgoft]
hydra: {sweeper: {params: {seed: "1,2"}}}
trainer: {optim: adafactor, learning_rate: 1.0e-3}
tracker: {name: comet}
verify: full
task: {family: text_classification, max_length: 32}
"""
CELL = """
source: Table 1
task: glue/cola
model: deberta-v3-base
seeds: [1, 2]
measures: {score: {key: headline.value, paper: {goft: 70.1, qgoft: null}}}
"""
MISTYPED = [
    ("task", REVIEWS, "labels:", "label:"),
    ("task", REVIEWS, "balanced", "balance"),
    ("task", REVIEWS, "max_length: 64", "max_length: long"),
    ("task", REVIEWS, "max_length: 64", "max_length: [64]"),
    ("task", REVIEWS, "max_length: 64", "doc_stride: 64"),
    ("task", REVIEWS, "[review]", "review"),
    ("task", REVIEWS, "{split:", "{splits:"),
    ("task", REVIEWS, "text_classification@", "question_answering@"),
    ("model", MINE, "bfloat16", "bf16"),
    ("model", MINE, "dtype", "d_type"),
    ("adapter", SMALL, "r: 1", "rank: 1"),
    ("adapter", SMALL, "true", "maybe"),
    ("adapter", SMALL, "[0, 1]", "[first]"),
    ("adapter", TURNED, "qgoft", "qoft"),
    ("adapter", TURNED, "penalty_weight", "r"),
    ("train", PRESET, "learning_rate", "learning_rat"),
    ("train", PRESET, "adafactor", "adafacto"),
    ("train", PRESET, "comet", "comets"),
    ("train", PRESET, "verify: full", "verify: all"),
    ("train", PRESET, "verify: full", "seed: many"),
    ("train", PRESET, "{family: text_classification, max_length: 32}", "glue/cola"),
    ("recipe", CELL, "seeds: [1, 2]", "seeds: 2"),
    ("recipe", CELL, "measures", "measure"),
    ("recipe", CELL, "70.1", "high"),
]


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json_schemas_once()[name])


@cache
def json_schemas_once() -> dict[str, Any]:
    return json.loads(json.dumps(json_schemas()))


def faults(name: str, text: str) -> list[str]:
    """Return the errors that a schema finds in a YAML text, parsed with goft's loader."""
    content = yaml.load(text, Loader=loader()) or {}
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(content)]


def name_of(file: Path) -> str:
    """Return the name of the schema for a file of `configs/`."""
    group = file.relative_to(data_root() / "configs").parts[0].removesuffix(".yaml")
    is_global = file.read_text(encoding="utf-8").startswith("# @package _global_")
    return "train" if is_global else group


@pytest.mark.slow
def test_each_schema_is_one() -> None:
    for schema in json_schemas_once().values():
        Draft202012Validator.check_schema(schema)


def test_each_configuration_is_valid() -> None:
    files = sorted((data_root() / "configs").rglob("*.yaml"))
    found = {file: faults(name_of(file), file.read_text(encoding="utf-8")) for file in files}
    assert {file: texts for file, texts in found.items() if texts} == {}
    assert len(found) > 100


def test_each_recipe_is_valid() -> None:
    for name in recipe_names():
        file = data_root() / "recipes" / f"{name}.yaml"
        assert faults("recipe", file.read_text(encoding="utf-8")) == [], name


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["task=squad/v1", "adapter=adalora", "model=bert-base"],
        ["task=vtab/dtd", "model=vit-b16", "adapter=road"],
        ["task=instruct/alpaca", "model=llama2-7b", "adapter=bitfit", "benchmark=mmlu"],
    ],
)
def test_a_composed_configuration_is_valid(words: list[str]) -> None:
    cfg = CommandLine("train", ()).compose(words)
    assert faults("train", OmegaConf.to_yaml(cfg)) == []


@pytest.mark.parametrize(("name", "text", "right", "wrong"), MISTYPED)
def test_what_is_mistyped_is_refused(name: str, text: str, right: str, wrong: str) -> None:
    assert right in text
    assert faults(name, text) == []
    assert faults(name, text.replace(right, wrong)) != []


def test_a_key_has_its_meaning_and_its_default() -> None:
    key = json_schemas_once()["trainer"]["properties"]["max_steps"]
    assert key["default"] == -1
    assert "updates" in key["description"]


def test_the_verb_writes_them_and_says_how_to_name_one(goft: Goft, tmp_path: Path) -> None:
    answer = goft("schema", "output_dir=mine")
    assert answer.code == 0, answer.err
    written = {file.stem: json.loads(file.read_bytes()) for file in Path("mine").iterdir()}
    assert written == json_schemas_once()
    assert f"# yaml-language-server: $schema={tmp_path / 'mine' / 'task.json'}" in answer.out
    again = goft("schema", "output_dir=mine")
    assert (again.code, "already there" in again.err) == (2, True)
    assert goft("schema", "output_dir=mine", "overwrite=true").code == 0
