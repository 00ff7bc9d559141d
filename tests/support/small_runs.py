"""A model folder and a data folder, both small enough to train in a second."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    set_seed,
)

from goft_cli.compose.composition import freeze, register
from goft_cli.config import TrainConfig
from goft_cli.run.configuration import written_sha256
from goft_cli.run.folder import RunFolder
from goft_cli.system.files import read_json, write_json
from goft_cli.system.locations import data_root

WORDS = ["the", "a", "dog", "cat", "bird", "runs", "sleeps", "sings", "not", "well", "."]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class Head:
    """The part of a task that a backbone uses, for text classification."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    processor_class: ClassVar[str] = "AutoTokenizer"
    labels: ClassVar[int] = 2

    def model_options(self) -> dict[str, Any]:
        return {"num_labels": self.labels}

    def processor_options(self) -> dict[str, Any]:
        return {}

    def fit_processor(self, processor: object) -> None:
        return


def write_model(folder: Path, *, seed: int = 0, width: int = 16) -> Path:
    """Save a BERT of two blocks with random weights, and a word tokenizer."""
    set_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=32,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = dict(
        zip(
            ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], SPECIAL, strict=True
        )
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=32,
        **names,
    )
    fast.save_pretrained(folder)
    return folder


def write_data(folder: Path, *, rows: int = 48) -> Path:
    """Write train.tsv and dev.tsv; a sentence with `not` is unacceptable."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", rows), ("dev", rows // 2)):
        lines = ["sentence\tlabel"]
        for index in range(count):
            subject, verb = WORDS[2 + index % 3], WORDS[5 + index % 2]
            negated = index % 2
            lines.append(f"the {subject} {'not ' if negated else ''}{verb} .\t{1 - negated}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_place(root: Path) -> Path:
    """Write `data`, and `model` without its weights, which a plan does not read."""
    write_data(root / "data")
    (write_model(root / "model") / "model.safetensors").unlink()
    return root


def overrides(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    """Return the overrides of a short run on the two folders."""
    return [
        "task=glue/cola",
        "model=minilm-l6",
        f"model.path={model}",
        f"task.data_dir={data}",
        f"output_dir={output}",
        "trainer.num_train_epochs=2",
        "trainer.per_device_train_batch_size=8",
        "trainer.warmup_steps=0",
        "trainer.use_cpu=true",
        *more,
    ]


def composed(words: Sequence[str]) -> TrainConfig:
    """Compose the config of `goft train` with these overrides, as the command does."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(data_root() / "configs"), version_base="1.3"):
        cfg = compose("train", [*words, "run_name=test"])
    return freeze(cfg, TrainConfig)


TRAINED = ["adapter=qgoft", "trainer.learning_rate=0.02"]
"""Overrides of the fixture `trained`."""


@dataclass(frozen=True)
class Ground:
    """Folders `model`, `data` and `run` below one root."""

    root: Path

    @property
    def run(self) -> RunFolder:
        """The folder of the run."""
        return RunFolder(self.root / "run")

    def cfg(self, *more: str) -> TrainConfig:
        """Compose the config of the command that made the run."""
        places = (self.root / "model", self.root / "data", self.run.path)
        return composed(overrides(*places, *TRAINED, *more))


def copied(trained: Path, root: Path) -> Ground:
    """Copy the folders of the fixture `trained`, and make the copied run refer to the copies."""
    shutil.copytree(trained.parent, root)
    ground = Ground(root)
    refer(ground.run, trained.parent, root)
    return ground


def refer(run: RunFolder, before: Path, after: Path | str) -> None:
    """Make a copied run refer to another folder, as if it had been trained there."""
    text = run.config.read_text(encoding="utf-8")
    assert str(before) in text
    run.config.write_text(text.replace(str(before), str(after)), encoding="utf-8")
    digest = {"config_sha256": written_sha256(run.config)}
    write_json(run.manifest, read_json(run.manifest) | digest)
