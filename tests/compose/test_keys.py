"""The keys read from schemas and YAML files equal the keys of the composed configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from goft_cli.compose.keys import PRESETS, UnreadableError, known_keys, verb_choices
from goft_cli.compose.store import verb_groups
from goft_cli.compose.suggest import CommandLine, composed_keys
from goft_cli.compose.words import VERBS, WITHOUT_CONFIG
from goft_cli.config import SCHEMAS
from goft_cli.system.locations import data_root
from tests.support.recipe_cells import data_of

COMPOSING = [verb for verb in VERBS if verb not in WITHOUT_CONFIG]
CHOICES = [
    f"{group}={choice}"
    for group, choices in verb_choices("train").items()
    if group != PRESETS
    for choice in choices
]


@pytest.mark.parametrize("verb", COMPOSING)
def test_keys_of_a_verb_are_those_that_hydra_composes(verb: str) -> None:
    line = CommandLine(verb, ())
    assert sorted(known_keys(verb, (), ())) == sorted(composed_keys(line.compose([])))


@pytest.mark.parametrize("verb", [verb for verb in COMPOSING if "task" in verb_groups(verb)])
def test_every_verb_takes_the_model_that_a_task_chooses(verb: str) -> None:
    words = ["task=own/classification", *data_of("own/classification")]
    assert CommandLine(verb, tuple(words)).compose(words).model.name == "minilm-l6"


@pytest.mark.slow
@pytest.mark.parametrize("word", CHOICES)
def test_keys_of_a_choice_are_those_that_hydra_composes(word: str) -> None:
    composed = CommandLine("train", (word,)).compose([word])
    assert sorted(known_keys("train", (word,), ())) == sorted(composed_keys(composed))


def test_a_users_own_choice_has_its_own_keys(tmp_path: Path) -> None:
    own = tmp_path / "task" / "reviews.yaml"
    own.parent.mkdir()
    own.write_text(
        "defaults: [/schema/task/text_classification@_here_, _self_]\n"
        "recipe: {by_adapter: {mine: {learning_rate: 1.0}}}\n"
    )
    keys = known_keys("train", ("task=reviews",), (tmp_path,))
    assert "task.recipe.by_adapter.mine.learning_rate" in keys
    assert "task.text_columns" in keys


@pytest.mark.parametrize("defaults", ["[other]", "[{/model: minilm-l6}]", "[../x@_here_]"])
def test_what_only_hydra_can_follow_is_left_to_it(defaults: str, tmp_path: Path) -> None:
    own = tmp_path / "task" / "reviews.yaml"
    own.parent.mkdir()
    own.write_text(f"defaults: {defaults}\n")
    with pytest.raises(UnreadableError):
        known_keys("train", ("task=reviews",), (tmp_path,))


def test_a_deferred_schema_is_the_one_that_hydra_would_have_stored() -> None:
    CommandLine("train", ()).compose([])
    deferred = ConfigStore.instance()
    for path, schema in SCHEMAS.items():
        assert deferred.load(f"schema/{path}.yaml").node == OmegaConf.structured(schema)
        again = deferred.load(f"schema/{path}.yaml").node
        again._set_flag("struct", False)
        again["surplus"] = 1
        assert "surplus" not in deferred.load(f"schema/{path}.yaml").node, "each load is a copy"


def test_deferred_files_are_those_of_the_folder() -> None:
    CommandLine("eval", ()).compose([])
    store, configs = ConfigStore.instance(), data_root() / "configs"
    for file in (configs / "task").rglob("*.yaml"):
        path = file.relative_to(configs).as_posix()
        assert store.load(path).node == OmegaConf.load(file)
