"""Check `goft push` on a stand-in server for the hub: files, visibility and refusals."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from rich.prompt import Confirm
from safetensors.torch import load_file

from goft_cli.config import PushConfig
from goft_cli.run import pipeline
from goft_cli.system.errors import GoftError
from goft_cli.verbs.push import push
from tests.support import small_runs
from tests.support.hub_caches import turn_to
from tests.support.hub_downloads import files_of
from tests.support.hub_server import TOKEN, Hub


def card(hub: Hub, repo: str) -> str:
    return hub.files[repo]["README.md"].decode()


@pytest.mark.parametrize("form", [{}, {"merged": True}, {"as_lora": 4}], ids=str)
def test_the_card_loads_what_was_pushed(
    form: dict[str, Any],
    hub: Hub,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    push(PushConfig(adapter=str(trained), repo="model-of-mine", **form))
    repo = "me/model-of-mine"
    said = capsys.readouterr()
    assert f"{hub.url}/{repo} (private)" in said.out
    assert hub.private == {repo: True}
    for name, content in hub.files[repo].items():
        assert str(trained.parent).encode() not in content, f"{name} says where things lie here"
        assert TOKEN.encode() not in content
    assert TOKEN not in said.out + said.err
    text = card(hub, repo)
    score = json.loads((trained / "metrics.json").read_text())["headline"]["value"]
    assert f"| validation | matthews_correlation | {score:.4f} |" in text
    assert "learning_rate: 0.02" in text

    # folders with these names replace the repository and the base model
    hub.write(tmp_path)
    (tmp_path / "model").symlink_to(trained.parent / "model")
    monkeypatch.chdir(tmp_path)
    lines = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert lines
    scope: dict[str, Any] = {}
    exec(lines[1], scope)
    row = json.loads((trained / "predictions.validation.jsonl").read_text().splitlines()[0])
    with torch.no_grad():
        inputs = scope["processor"](row["sentence"], return_tensors="pt")
        found = scope["model"](**inputs).logits.softmax(-1).max()
    if "as_lora" not in form:
        assert float(found) == pytest.approx(row["prediction"]["score"], abs=1e-5)
    assert ("merge_report.json" in hub.files[repo]) == bool(form)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Could not find a config file:UserWarning")  # by PEFT, offline
@pytest.mark.parametrize("form", [{}, {"as_lora": 4}], ids=str)
def test_the_card_loads_the_revision_of_the_base_that_was_trained_on(
    form: dict[str, Any],
    hub: Hub,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    turn_to(tmp_path / "caches", monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # only PEFT reads it here: it would ask the hub
    old, new = trained.parent / "model", small_runs.write_model(tmp_path / "new", seed=9)
    for folder, commit in {old: "a" * 40, new: "b" * 40}.items():
        hub.shelf.publish("me/mini", files_of(folder), commit)
    pinned = ["model.path=me/mini", f"model.revision={'a' * 40}", "trainer.max_steps=1"]
    words = small_runs.overrides(old, trained.parent / "data", tmp_path / "run", *pinned)
    run = pipeline.run(small_runs.composed(words))
    push(PushConfig(adapter=str(run), repo="pinned", **form))
    hub.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    for settings in (run / "adapter", tmp_path / "me" / "pinned"):
        found = json.loads((settings / "adapter_config.json").read_text())
        assert found["revision"] == "a" * 40
    scope: dict[str, Any] = {}
    lines = re.search(r"```python\n(.*?)```", card(hub, "me/pinned"), re.DOTALL)
    assert lines
    exec(lines[1], scope)
    name = "bert.embeddings.word_embeddings.weight"
    loaded = scope["model"].get_base_model().get_parameter(name)
    assert torch.equal(loaded, load_file(old / "model.safetensors")[name])


@pytest.mark.parametrize("answer", [True, False])
def test_public_is_asked_for(
    answer: bool, hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Confirm, "ask", lambda text, **_: asked.append(text) or answer)
    push(PushConfig(adapter=str(trained), repo="me/open", public=True))
    assert asked == ["Upload to me/open, where everyone can read it?"]
    assert hub.private == ({"me/open": False} if answer else {})


def test_a_script_says_yes_beforehand(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(GoftError, match="yes=true"):
        push(PushConfig(adapter=str(trained), repo="open", public=True))
    assert hub.private == {}
    push(PushConfig(adapter=str(trained), repo="open", public=True, yes=True))
    assert hub.private == {"me/open": False}


@pytest.mark.parametrize(
    ("private", "options", "sentence"),
    [
        (False, {}, r"repo=me/there is public: everyone could read.*public=true"),
        (False, {"yes": True}, r"repo=me/there is public"),
        (True, {"public": True}, r"repo=me/there is private and push does not change that"),
    ],
)
def test_a_repository_with_other_readers_is_refused(
    private: bool, options: dict[str, Any], sentence: str, hub: Hub, trained: Path
) -> None:
    hub.private["me/there"] = private
    with pytest.raises(GoftError, match=sentence):
        push(PushConfig(adapter=str(trained), repo="there", **options))
    assert hub.files == {}


def test_an_update_goes_where_the_first_one_went(hub: Hub, trained: Path) -> None:
    hub.private["me/there"] = True
    push(PushConfig(adapter=str(trained), repo="there"))
    assert "adapter_model.safetensors" in hub.files["me/there"]


def test_what_stops_a_push_before_anything_is_loaded(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(sentence: str, adapter: Path = trained, repo: str = "there") -> None:
        with pytest.raises(GoftError, match=sentence) as caught:
            push(PushConfig(adapter=str(adapter), repo=repo))
        assert TOKEN not in str(caught.value)

    refused("holds no run of goft train", adapter=tmp_path)
    refused(r"repo=a b: .*pass repo=OWNER/NAME", repo="a b")
    hub.writable = False
    refused("the hub answers 403.*the token of hf auth login or HF_TOKEN may write there")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused("the hub answers 401")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    refused("no token for the hub; run hf auth login, or set HF_TOKEN")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(r"offline mode is on \(HF_HUB_OFFLINE\)")
    with pytest.raises(GoftError, match="merged and as_lora exclude each other"):
        PushConfig(adapter="x", repo="y", merged=True, as_lora=2)
