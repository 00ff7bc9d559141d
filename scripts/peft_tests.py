"""Run PEFT's own tests with GOFT and qGOFT added to their lists of methods.

Downloads the source distribution of the installed PEFT version and edits its tests: adds the cases
of `peft_cases.py`, replaces models of the hub by random ones of the same kind, leaves out a library
that only other methods need, and lowers a learning rate at which free blocks become NaN, as PEFT
does for methods of its own. Passes its arguments to pytest.

    python scripts/peft_tests.py -n 2
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from peft import LoraConfig

from scripts.peft_cases import CASES

ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 300,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
DEBERTA = {**ENCODER, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
DECODER = {**ENCODER, "num_key_value_heads": 2}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 300, "n_positions": 64}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4, "vocab_size": 300}
SIDES = {"layers": 2, "attention_heads": 4, "ffn_dim": 20}
BART = {f"{side}_{key}": size for side in ("encoder", "decoder") for key, size in SIDES.items()}

MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "peft-internal-testing/tiny-random-BertModel": (tf.BertModel, ENCODER),
    "peft-internal-testing/tiny-random-RobertaModel": (tf.RobertaModel, ENCODER),
    "peft-internal-testing/tiny-random-DebertaModel": (tf.DebertaModel, DEBERTA),
    "peft-internal-testing/tiny-random-DebertaV2Model": (tf.DebertaV2Model, DEBERTA),
    "peft-internal-testing/tiny-random-BertForSequenceClassification": (
        tf.BertForSequenceClassification,
        ENCODER,
    ),
    "peft-internal-testing/tiny-random-RobertaForSequenceClassification": (
        tf.RobertaForSequenceClassification,
        ENCODER,
    ),
    "trl-internal-testing/tiny-LlamaForSequenceClassification-3.2": (
        tf.LlamaForSequenceClassification,
        ENCODER,
    ),
    "peft-internal-testing/tiny-random-OPTForCausalLM": (
        tf.OPTForCausalLM,
        {**ENCODER, "ffn_dim": 37, "word_embed_proj_dim": 32, "pad_token_id": 1},
    ),
    "peft-internal-testing/tiny-random-GPT2LMHeadModel": (tf.GPT2LMHeadModel, GPT),
    "peft-internal-testing/tiny-random-GPTJForCausalLM": (
        tf.GPTJForCausalLM,
        {**GPT, "rotary_dim": 4},
    ),
    "trl-internal-testing/tiny-random-LlamaForCausalLM": (tf.LlamaForCausalLM, DECODER),
    "peft-internal-testing/tiny-dummy-qwen2": (tf.Qwen2ForCausalLM, DECODER),
    "hf-internal-testing/tiny-random-Gemma3ForCausalLM": (
        tf.Gemma3ForCausalLM,
        {**DECODER, "head_dim": 8},
    ),
    "peft-internal-testing/tiny-random-T5ForConditionalGeneration-calibrated": (
        tf.T5ForConditionalGeneration,
        {**T5, "decoder_start_token_id": 0},
    ),
    "peft-internal-testing/tiny-random-BartForConditionalGeneration": (
        tf.BartForConditionalGeneration,
        {**BART, "d_model": 16, "vocab_size": 300, "max_position_embeddings": 64, "init_std": 0.3},
    ),
}
"""Class and configuration of the random model that replaces each model of the hub."""
HIGH_RATE = r"(def test_parameters_after_loading_model\([\s\S]*?)lr = 0\.5$"
MIXED = ("(LoraConfig, RoadConfig)", "(LoraConfig),")
"""Lists of methods whose batches may have an adapter per row: without and with beam search."""
MIXED_DECODERS = r'config_cls != LoraConfig(:\n +pytest.skip\("Mixed)'
"""The condition on these methods in the tests of decoders."""
ADAPTER = "peft-internal-testing/tiny-opt-lora-revision"


def main() -> int:
    """Download, edit and run the tests; return pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        tests = unpack(Path(folder))
        models = write_models(Path(folder) / "models")
        for name in CASES:
            extend(tests / name, models)
        edit(tests / "test_custom_models.py", HIGH_RATE, r"\g<1>lr = 0.01")
        common, ours = tests / "testing_common.py", "from .peft_cases import GoftConfig\n"
        edit(common, r"from diffusers import (\w+)\n", rf"{ours}class \1: ...\n")
        for methods in MIXED:
            edit(common, rf"not in \({methods}\)", r"not in (\g<1>, GoftConfig)")
        both = r"config_cls not in (LoraConfig, GoftConfig)\1"
        edit(tests / "test_decoder_models.py", MIXED_DECODERS, both, times=2)
        shutil.copy(Path(__file__).with_name("peft_cases.py"), tests)
        (tests / "__init__.py").touch()
        files = [str(tests / name) for name in CASES]
        words = ["-c", os.devnull, "-p", "no:cacheprovider", "-q", "-k", "GoftConfig"]
        command = [sys.executable, "-m", "pytest", *words, *files, *sys.argv[1:]]
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        return subprocess.run(command, cwd=tests.parent, env=offline, check=False).returncode


def unpack(folder: Path) -> Path:
    """Download PEFT's source distribution and return the folder of its tests."""
    wanted = f"peft=={version('peft')}"
    options = ["--quiet", "--no-deps", "--no-binary", "peft", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, wanted], check=True)
    [archive] = folder.glob("peft-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz") / "tests"


def write_models(folder: Path) -> dict[str, Path]:
    """Save the random models; return their folders by name of the model on the hub."""
    torch.manual_seed(0)
    places = {name: folder / name.partition("/")[2] for name in (*MODELS, ADAPTER)}
    for name, (kind, shape) in MODELS.items():
        kind(kind.config_class(**shape)).save_pretrained(places[name])
    LoraConfig(target_modules=["q_proj"]).save_pretrained(str(places[ADAPTER]))
    return places


def extend(file: Path, models: dict[str, Path]) -> None:
    """Add our cases to the lists of a file, and replace names of models by their folders."""
    for name in CASES[file.name]:
        ours = f'*CASES["{file.name}"]["{name}"]'
        edit(file, rf"^{name} = ([\[(])\n", rf"{name} = \1\n    {ours},\n")
    edit(file, r"^import pytest$", "import pytest\nfrom .peft_cases import CASES, GoftConfig")
    text = file.read_text(encoding="utf-8")
    for name, place in models.items():
        text = text.replace(f'"{name}"', f'"{place}"')
    file.write_text(text, encoding="utf-8")


def edit(file: Path, pattern: str, replacement: str, times: int = 1) -> None:
    """Replace the matches of a pattern.

    Raises:
        ValueError: the matches are not `times` many, so the tests of this PEFT version differ.
    """
    text, count = re.subn(pattern, replacement, file.read_text(encoding="utf-8"), flags=re.M)
    if count != times:
        raise ValueError(f"{file.name}: found {pattern!r} {count} times, expected it {times}")
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
