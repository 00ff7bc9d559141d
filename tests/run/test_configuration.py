"""config.yaml identifies a run; files of other versions are read, or refused with a sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from omegaconf import MISSING as MANDATORY

from goft_cli import __version__
from goft_cli.config import SCHEMAS, TrainerConfig
from goft_cli.run import configuration
from goft_cli.run.configuration import (
    FIRST_VERSION,
    WRITER,
    as_plain,
    config_sha256,
    differing,
    fitting,
    flatten,
    is_written,
    read_config,
    write_config,
)
from goft_cli.system.errors import GoftError
from tests.conftest import ROOT
from tests.support.recipe_cells import KINDS, cell

FIXTURES = ROOT / "tests" / "fixtures" / "runs"


def has_default(entry: Any) -> bool:  # noqa: ANN401 - a dataclass field
    return entry.default_factory is not MISSING or entry.default not in (MISSING, MANDATORY)


FROM_OTHERS = {"model.recipe", "adapter.recipe", "adapter.target_modules", "task.headline_split"}
"""Keys whose default comes from other keys; in the fixture `qgoft` all have that default."""


def defaults(cfg: object, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key that may be left out because its value is the default."""
    for entry in fields(cfg):  # pyright: ignore[reportArgumentType] - a dataclass
        value = getattr(cfg, entry.name)
        if is_dataclass(value):
            yield from defaults(value, f"{prefix}{entry.name}.")
        elif has_default(entry):
            factory = entry.default_factory
            made = entry.default if factory is MISSING else factory()
            if value == made or f"{prefix}{entry.name}" in FROM_OTHERS:
                yield f"{prefix}{entry.name}"


def without(plain: Mapping[str, Any], key: str) -> dict[str, Any]:
    head, _, rest = key.partition(".")
    if rest:
        return {**plain, head: without(plain[head], rest)}
    return {name: value for name, value in plain.items() if name != head}


def rewrite(path: Path, plain: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(plain), sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize(("task", "adapter"), KINDS)
def test_a_configuration_survives_the_disk(task: str, adapter: str, tmp_path: Path) -> None:
    cfg, path = cell(task, adapter), tmp_path / "config.yaml"
    write_config(path, cfg)
    assert read_config(path) == cfg
    assert is_written(path, cfg)
    writer = yaml.safe_load(path.read_text())[WRITER]
    assert writer["version"] == __version__
    for section, name in writer["schemas"].items():
        assert type(getattr(cfg, section)) is SCHEMAS[name]


@pytest.mark.parametrize(("task", "adapter"), KINDS)
def test_a_section_without_a_name_is_known_by_its_keys(task: str, adapter: str) -> None:
    cfg = cell(task, adapter)
    plain = as_plain(cfg)
    assert SCHEMAS[fitting("task", plain["task"])] is type(cfg.task)
    assert SCHEMAS[fitting("adapter", plain["adapter"])] is type(cfg.adapter)


@hypothesis_settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), named=st.booleans())
def test_a_key_that_an_earlier_version_did_not_have_takes_its_default(
    data: st.DataObject, named: bool, tmp_path: Path
) -> None:
    cfg, path = read_config(FIXTURES / "qgoft" / "config.yaml"), tmp_path / "config.yaml"
    removable = sorted({*defaults(cfg)} - {"adapter.peft_type", "task.family"})
    gone = data.draw(st.lists(st.sampled_from(removable), min_size=1, unique=True))
    write_config(path, cfg)
    plain = yaml.safe_load(path.read_text())
    for key in gone:
        plain = without(plain, key)
    read = read_config(rewrite(path, plain if named else without(plain, WRITER)))
    assert read == cfg
    assert not list(differing(read, cfg))
    assert config_sha256(read) == config_sha256(cfg)


@hypothesis_settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_file_with_another_value_is_read_before_it_is_taken_for_the_same(
    data: st.DataObject, tmp_path: Path
) -> None:
    cfg, path = read_config(FIXTURES / "qgoft" / "config.yaml"), tmp_path / "config.yaml"
    write_config(path, cfg)
    plain = yaml.safe_load(path.read_text())
    version = (WRITER, "version")
    places = [tuple(key.split(".")) for key in flatten(plain)]
    *outer, last = data.draw(st.sampled_from([place for place in places if place != version]))
    section = plain
    for name in outer:
        section = section[name]
    # 1, 1.0 and True are equal in Python but differ in YAML, as do a text and a number
    others = [1, 1.0, True, "1", "other", None, [], section[last]]
    value = section[last] = data.draw(st.sampled_from(others))
    rewrite(path, plain)
    write_config(tmp_path / "same.yaml", cfg)
    same = yaml.safe_load((tmp_path / "same.yaml").read_text())
    identical = repr(configuration.identity(plain)) == repr(configuration.identity(same))
    schemas = plain[WRITER]["schemas"] == same[WRITER]["schemas"]
    assert is_written(path, cfg) == (identical and schemas), (outer, last, value)


@dataclass
class LaterTrainerConfig(TrainerConfig):
    """The trainer's keys in a made-up later version."""

    patience: int = 3
    words: list[str] = field(default_factory=lambda: ["new"])


@pytest.mark.parametrize("run", ["qgoft", "lora"])
def test_a_new_key_makes_no_other_run(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = read_config(FIXTURES / run / "config.yaml")
    monkeypatch.setitem(configuration.SCHEMAS, "trainer", LaterTrainerConfig)
    later = read_config(FIXTURES / run / "config.yaml")
    assert isinstance(later.trainer, LaterTrainerConfig)
    assert (later.trainer.patience, later.trainer.words) == (3, ["new"])
    trainer = LaterTrainerConfig(**vars(now.trainer))
    assert not list(differing(later, replace(now, trainer=trainer)))
    other = replace(now, trainer=replace(trainer, patience=4))
    assert list(differing(later, other)) == ["trainer.patience is 3 there and 4 here"]


@pytest.mark.parametrize("run", ["qgoft", "lora"])
def test_the_first_versions_digests_hold(run: str) -> None:
    cfg = read_config(FIXTURES / run / "config.yaml")
    plain = yaml.safe_load((FIXTURES / run / "config.yaml").read_text())
    rest = {k: v for k, v in plain.items() if k not in configuration.NOT_IDENTITY}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    assert json.loads((FIXTURES / run / "manifest.json").read_text())["config_sha256"] == digest
    assert configuration.identity(as_plain(cfg)).keys() - {"init_adapter"} == rest.keys()


def test_a_row_more_in_a_recipe_makes_no_other_run() -> None:
    cfg = cell("glue/cola", "qgoft")
    recipe = replace(cfg.task.recipe, by_adapter={**cfg.task.recipe.by_adapter, "new": {"r": 1}})
    assert not list(differing(cfg, replace(cfg, task=replace(cfg.task, recipe=recipe))))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"trainer.weight_dacay": 0.1}, "trainer.weight_dacay"),
        ({"adapter.unheard": 1}, "adapter.unheard"),
        ({"task.recipe.unheard": 1}, "task.recipe.unheard"),
        ({"unheard": 1}, "unheard"),
        ({f"{WRITER}.schemas.adapter": "adapter/spin"}, "adapter/spin"),
    ],
)
@pytest.mark.parametrize("wrote", ["9.9.9", None])
def test_what_this_version_does_not_know_is_named_with_both_versions(
    change: dict[str, Any], named: str, wrote: str | None, tmp_path: Path
) -> None:
    path = changed(tmp_path, {f"{WRITER}.version": wrote or FIRST_VERSION, **change})
    if wrote is None and WRITER not in next(iter(change)):
        rewrite(path, without(yaml.safe_load(path.read_text()), WRITER))
    with pytest.raises(GoftError, match="goft-cli") as refused:
        read_config(path)
    sentence = str(refused.value)
    assert len(sentence.splitlines()) == 1
    assert all(word in sentence for word in (str(path), named, __version__, wrote or FIRST_VERSION))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"task": 3}, "config.yaml"),
        ({"task": {}}, "config.yaml"),
        ({WRITER: 7}, "config.yaml"),
        ({f"{WRITER}.schemas": ["model"]}, "config.yaml"),
        ({"trainer.learning_rate": "fast"}, "fast"),
        ({"trainer.learning_rate": -1}, "trainer.learning_rate=-1.0"),
        ({"adapter.method": "zzz"}, "zzz"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(GoftError, match=named) as refused:
        read_config(path)
    assert len(str(refused.value).splitlines()) == 1


def changed(folder: Path, changes: Mapping[str, Any]) -> Path:
    """Write a configuration with some keys set, by dotted path."""
    path = folder / "config.yaml"
    write_config(path, cell("demo/acceptability", "goft"))
    plain = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        node, *_, leaf = plain, *key.split(".")
        for part in key.split(".")[:-1]:
            node = node[part]
        node[leaf] = value
    return rewrite(path, plain)


@pytest.mark.parametrize("content", [b"", b"- 1\n- 2\n", b"a: [1", b"a: \xff\xfe", b"a: 1\n"])
def test_a_damaged_configuration_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(GoftError, match=r"config\.yaml") as refused:
        read_config(path)
    assert str(refused.value).startswith(str(path))
