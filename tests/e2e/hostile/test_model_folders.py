"""Model folders that are missing, damaged, of another kind or with code to run are refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import ViTConfig, ViTModel

from goft_cli.config import ModelConfig
from goft_cli.models.backbone import load_backbone
from tests.support import small_runs
from tests.support.refusals import (
    Change,
    a_file,
    absent,
    at,
    both,
    cut,
    dangle,
    emptied,
    link,
    listen,
    refusal,
    remove,
    substitute,
    write,
)
from tests.support.small_runs import Head

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
PICKLE = "pytorch_model.bin"
HEAD = ["pooler", "classifier"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_model(tmp_path_factory.mktemp("model"))


def of_vision(folder: Path) -> None:
    emptied(folder)
    vision = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8)
    ViTModel(vision).save_pretrained(folder)


class Burglar:
    """An object whose pickle creates the file `burgled` when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("burgled"),)


def as_pickle(name: str, *, burglar: bool = False) -> Change:
    """Store the weights as a pickle under a name; if asked, with a Burglar among the tensors."""

    def change(folder: Path) -> None:
        content: dict[str, object] = {**load_file(folder / WEIGHTS)}
        (folder / WEIGHTS).unlink()
        torch.save({**content, "more": Burglar()} if burglar else content, folder / name)

    return change


def index_to(name: str) -> Change:
    """Rename the weights and write an index which says that they are in the file `name`."""

    def change(folder: Path) -> None:
        names = dict.fromkeys(load_file(folder / WEIGHTS), name)
        index = {"metadata": {"total_size": 1}, "weight_map": names}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")

    return change


def set_config(**entries: object) -> Change:
    """Change entries of config.json."""

    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **entries}))

    return change


CODE = {"auto_map": {"AutoConfig": "code.Config"}, "model_type": "burglar"}

CASES: dict[str, tuple[Change, str]] = {
    "absent": (absent, "no such folder; pass the folder that holds a model"),
    "a file": (a_file, "is a file; pass the folder"),
    "empty": (emptied, "the folder is empty; expected a model in it"),
    "no config": (remove(CONFIG), "but no config.json"),
    "config cut": (cut(CONFIG), "is not a valid JSON file"),
    "config empty": (write(CONFIG, ""), "JSON"),
    "config not utf-8": (write(CONFIG, b"\xff\xfe{}"), "model.path="),
    "config a list": (write(CONFIG, "[]"), "model.path="),
    "config a number": (write(CONFIG, "3"), "model.path="),
    "config empty object": (write(CONFIG, "{}"), "model.path="),
    "config null type": (set_config(model_type=None), "model.path="),
    "config a dangling link": (dangle(CONFIG), "no config.json"),
    "architecture unknown": (set_config(model_type="nonesuch", architectures=["X"]), "nonesuch"),
    "architecture without the head": (of_vision, "found the architecture vit, which has no Seq"),
    "heads do not divide": (set_config(num_attention_heads=3), "multiple of the number of att"),
    "width a word": (set_config(hidden_size="wide"), "hidden_size"),
    "width zero": (set_config(hidden_size=0), "model.path="),
    "layers negative": (set_config(num_hidden_layers=-1), "16 tensors more than"),
    "layers by the million": (set_config(num_hidden_layers=10**6), "num_hidden_layers=1000000"),
    "layers too few": (set_config(num_hidden_layers=1), "its weights have 8 tensors more than"),
    "layers too many": (set_config(num_hidden_layers=3), "its weights lack 16 tensors"),
    "vocabulary of another model": (set_config(vocab_size=99), "its weights lack 1 tensors"),
    "blocks wider": (set_config(intermediate_size=64), "its weights lack 6 tensors"),
    "activation unknown": (set_config(hidden_act="nonesuch"), "nonesuch"),
    "weights absent": (remove(WEIGHTS), "model.safetensors"),
    "weights empty": (write(WEIGHTS, b""), "model.safetensors is damaged"),
    "weights cut": (cut(WEIGHTS), "model.safetensors is damaged"),
    "weights a huge header": (write(WEIGHTS, b"\xff" * 64), "model.safetensors is damaged"),
    "weights a text": (write(WEIGHTS, "version https://git-lfs.github.com/spec/v1\n"), "damaged"),
    "weights of another model": (write(WEIGHTS, b"\x02\0\0\0\0\0\0\0{}"), "model.path="),
    "weights a dangling link": (dangle(WEIGHTS), "model.path="),
    "weights pickled under another name": (as_pickle(WEIGHTS), "model.safetensors is damaged"),
    "weights that burgle": (
        both(remove(WEIGHTS), write(PICKLE, pickle.dumps(Burglar(), protocol=2))),
        PICKLE,
    ),
    "weights with a burglar among them": (as_pickle(PICKLE, burglar=True), PICKLE),
    "pickle cut": (both(as_pickle(PICKLE), cut(PICKLE)), PICKLE),
    "pickle empty": (both(remove(WEIGHTS), write(PICKLE, "")), PICKLE),
    "index out of the folder": (index_to("../elsewhere.safetensors"), "elsewhere"),
    "shards missing": (index_to("model-00002-of-00002.safetensors"), "model-00002-of-00002"),
    "tokenizer absent": (remove(TOKENIZER), "tokenizer"),
    "tokenizer and settings absent": (
        both(remove(TOKENIZER), remove("tokenizer_config.json")),
        "found no vocabulary",
    ),
    "tokenizer cut": (cut(TOKENIZER), "model.path="),
    "tokenizer empty object": (write(TOKENIZER, "{}"), "model.path="),
    "tokenizer settings a list": (write("tokenizer_config.json", "[]"), "model.path="),
    "tokenizer of a larger vocabulary": (
        substitute(TOKENIZER, r'"well": ?14', '"well": 20'),
        "tokenizer has 21 tokens, but the model's embedding has 16 rows",
    ),
    "tokenizer of a smaller vocabulary": (
        both(substitute(TOKENIZER, r',\s*"\.": 15', ""), set_config(eos_token_id=15)),
        "tokenizer has 15 tokens, but the model's embedding has 16 rows",
    ),
    "tokenizer that panics": (
        substitute(TOKENIZER, r'"special_tokens": (?s:\{.*?\n    \})', '"special_tokens": {}'),
        "no entry found",
    ),
    "config a pipe": (both(remove(CONFIG), at(CONFIG, os.mkfifo)), "config.json"),
    "config a device": (both(remove(CONFIG), link(CONFIG, "/dev/zero")), "config.json"),
    "weights a pipe": (both(remove(WEIGHTS), at(WEIGHTS, os.mkfifo)), "is a named pipe"),
    "weights a socket": (both(remove(WEIGHTS), at(WEIGHTS, listen)), "is a socket"),
    "tokenizer endless": (both(remove(TOKENIZER), link(TOKENIZER, "/dev/zero")), "is a device"),
    "code of its own": (
        both(set_config(**CODE), write("code.py", "open('burgled', 'w')")),
        "trust_remote_code",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_model_folder_is_refused(
    case: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, said = CASES[case]
    folder = tmp_path / "model"
    shutil.copytree(good, folder)
    change(folder)
    cfg = ModelConfig("small", str(folder), target_modules=["query"], head_modules=HEAD)
    sentence = refusal(lambda: load_backbone(cfg, Head()), tmp_path)
    assert str(folder) in sentence
    assert said in sentence


def test_foreign_code_runs_only_on_the_users_own_word() -> None:
    assert ModelConfig.trust_remote_code is False
    shipped = [path.read_text() for path in (small_runs.data_root() / "configs").rglob("*.yaml")]
    assert not any("trust_remote_code" in text for text in shipped)
