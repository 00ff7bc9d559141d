"""Secrets of the environment are refused in every key and never shown; other variables work."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from goft_cli.compose.composition import register
from goft_cli.system.errors import USAGE_ERROR, GoftError
from goft_cli.system.secrets import SECRET_NAME, redact, stored_token
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.refusals import described, snapshot

SECRET = "hf_aSecretThatNobodyMaySee"
KEYS = ("tracker.project", "task.recipe.source", "output_dir", "model.path")
NAMED = ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "HF_TOKEN_2", "my_key"]
INNOCENT = ["SCRATCH", "HF_TOKEN_PATH", "TOKENIZERS_PARALLELISM", "KEYBOARD", "MAX_TOKENS"]

words = st.text("ABCDEFGHIJ", min_size=1, max_size=5)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder; HF_HOME has no stored token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    return tmp_path


def resolved(text: str) -> str:
    """Return the value that a key of a configuration has if it is set to a text."""
    register()
    return OmegaConf.create({"section": {"key": text}}).section.key


@pytest.mark.parametrize("name", NAMED)
def test_a_secret_is_refused_by_its_name(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(InterpolationResolutionError) as caught:
        resolved(f"a-${{oc.env:{name}}}")
    sentence = described(caught.value)
    assert "section.key" in sentence
    assert name in sentence
    assert SECRET not in sentence


@pytest.mark.parametrize("key", KEYS)
def test_a_secret_is_refused_in_every_key(
    key: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(GoftError) as caught:
        small_runs.composed([f"{key}=${{oc.env:HF_TOKEN}}"])
    assert key in described(caught.value)
    assert SECRET not in described(caught.value)


@pytest.mark.parametrize("flags", [["--cfg", "job", "--resolve"], ["--help"], ["-m"], []])
@pytest.mark.parametrize("word", ["run_name=${oc.env:HF_TOKEN}", f"run_name=x{SECRET}"])
def test_no_flag_prints_or_writes_it(
    word: str, flags: list[str], place: Path, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    answer = goft("train", word, *flags)
    assert answer.code == (0 if flags == ["--help"] and "oc.env" in word else answer.code)
    assert flags == ["--help"] or answer.code != 0
    assert SECRET not in answer.out + answer.err
    assert not any(SECRET in path.name for path in place.rglob("*"))


def test_it_is_refused_in_a_file_of_the_users_own(
    place: Path, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    values = {"asked": "${oc.env:HF_TOKEN}", "typed": SECRET}
    for name, value in values.items():
        file = place / "own" / "tracker" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"defaults: [none, _self_]\nproject: {value}\n", encoding="utf-8")
    before = snapshot(place)
    for name in values:
        answer = goft("train", "--config-dir", str(place / "own"), f"tracker={name}")
        assert answer.code == USAGE_ERROR
        assert "tracker.project" in answer.err
        assert SECRET not in answer.out + answer.err
        assert snapshot(place) == before


def test_another_name_for_a_token_is_no_way_around(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = place / "token"
    token.write_text(f"{SECRET}\n", encoding="utf-8")
    stored_token.cache_clear()
    monkeypatch.setenv("HF_TOKEN_PATH", str(token))
    monkeypatch.setenv("COPY", SECRET)
    with pytest.raises(InterpolationResolutionError, match="COPY"):
        resolved("${oc.env:COPY}")
    assert SECRET not in redact(f"401 for {SECRET}")


def test_a_place_that_a_variable_names_is_no_secret(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY_CACHE", str(place))
    assert small_runs.composed([f"output_dir={place}/run"]).output_dir == f"{place}/run"
    assert str(place) in redact(f"output in {place}")


@pytest.mark.parametrize("name", INNOCENT)
def test_other_variables_work(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/some/where")
    assert resolved(f"${{oc.env:{name}}}/x") == "/some/where/x"


def test_a_variable_that_is_not_set_is_named_and_may_have_a_default(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    assert resolved("${oc.env:NOWHERE,here}") == "here"
    with pytest.raises(InterpolationResolutionError, match="NOWHERE"):
        resolved("${oc.env:NOWHERE}")


def test_values_that_work_are_printed(
    place: Path, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", "/some/where")
    answer = goft("train", "output_dir=${oc.env:SCRATCH}", "--cfg", "job", "--resolve")
    assert yaml.safe_load(answer.out)["output_dir"] == "/some/where"


@given(st.lists(words), st.sampled_from(["TOKEN", "API_KEY", "SECRET", "PASSWORD"]))
def test_a_name_that_ends_in_one_of_the_words_is_a_secrets(before: list[str], last: str) -> None:
    assert SECRET_NAME.search("_".join([*before, last]))
