"""The task: load, encode, collate, reduce, score, decode, and answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.config import HELD_OUT, InstructionConfig
from goft_cli.data.files import read_file
from goft_cli.data.formats import Layout
from goft_cli.data.sources import read_splits
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import AnsweringTask, Arrays, Collator, Split, TaskData, Tensors
from goft_cli.tasks.generation import write
from goft_cli.tasks.instruction.batches import collator, keeps_apart
from goft_cli.tasks.instruction.loss import IGNORED, example_losses
from goft_cli.tasks.instruction.rows import checked_rows, divide
from goft_cli.tasks.instruction.template import (
    cut,
    encode_answers,
    encode_prompts,
    end_id,
    query_of,
)
from goft_cli.tokens import Batch, tokenized, usable_length


class Instruction(AnsweringTask[InstructionConfig, PreTrainedTokenizerBase]):
    """An instruction and perhaps an input in, an answer out; the loss is the answer's alone."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check the named splits; `validation` is a share of the rows, if there is one."""
        config = self.config
        stored = [config.train_split if self._is_share(name) else name for name in names]
        tables, provenance = read_splits(
            config.dataset, list(dict.fromkeys(stored)), data_dir=config.data_dir, layout=Layout()
        )
        splits = {
            name: checked_rows(table.renamed(config.column_aliases), answered=True)
            for name, table in tables.items()
        }
        if config.holdout and config.train_split in splits:
            rest, share = divide(splits[config.train_split], config.holdout)
            splits |= {config.train_split: rest, HELD_OUT: share}
        return TaskData({name: splits[name] for name in names}, provenance)

    def read(self, path: Path) -> Dataset:
        """Read one file of instructions; answers, if any, are left out."""
        table = read_file(path, Layout()).renamed(self.config.column_aliases)
        return checked_rows(table, answered=False)

    def read_text(self, text: str) -> Dataset:
        """Make one instruction without input."""
        return Dataset.from_dict({"instruction": [text], "input": [""]})

    def encode(self, rows: Dataset, processor: PreTrainedTokenizerBase) -> Dataset:
        """Tokenize prompt and answer, cut to length, the prompt unscored; or the prompt alone."""

        def prompts(batch: Batch) -> Batch:
            queries = map(query_of, batch["instruction"], batch["input"])
            return {"input_ids": encode_prompts(list(queries), processor)}

        def examples(batch: Batch) -> Batch:
            answers = encode_answers(batch["output"], processor)
            asked = zip(prompts(batch)["input_ids"], answers, strict=True)
            pairs = [cut(prompt, answer, length) for prompt, answer in asked]
            return {
                "input_ids": [prompt + answer for prompt, answer in pairs],
                "labels": [[IGNORED] * len(prompt) + answer for prompt, answer in pairs],
            }

        if "output" not in rows.column_names:
            return tokenized(rows, prompts)
        length = usable_length(self.config.max_length, processor)
        return tokenized(rows, examples)

    def collate(self, processor: PreTrainedTokenizerBase) -> Collator:
        """Pad each batch to its own longest row, or with `packing` lay its rows end to end."""
        return collator(processor, packing=self.config.packing)

    def reduce(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Keep each example's summed loss and number of scored tokens, (examples, 2)."""
        if isinstance(outputs, tuple) or isinstance(targets, tuple):
            raise TypeError("a causal language model returns logits alone, and has labels alone")
        return example_losses(outputs, targets)

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute the mean loss of all scored tokens, in nats, and its exponential."""
        total, tokens = np.asarray(outputs, dtype=np.float64).sum(axis=0)
        with np.errstate(over="ignore"):  # a ruined model's perplexity is infinite, not an error
            return {"loss": float(total / tokens), "perplexity": float(np.exp(total / tokens))}

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        """Return `{"loss", "tokens"}` per row: the answer's mean loss, and its length."""
        return [
            {"loss": float(loss / tokens), "tokens": int(tokens)}
            for loss, tokens in np.asarray(outputs, dtype=np.float64)
        ]

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse to pack for a model whose attention takes no notice of it."""
        if self.config.packing and not keeps_apart(model):
            raise GoftError(
                f"task.packing=true: {type(model).__name__} would let packed examples see one "
                "another",
                "pass task.packing=false",
            )

    def model_options(self) -> dict[str, Any]:
        """Return no entries: a causal language model is taken as it is."""
        return {}

    def answer(
        self,
        model: Any,  # noqa: ANN401 - of transformers or PEFT
        rows: Dataset,
        processor: PreTrainedTokenizerBase,
        *,
        batch_size: int,
        max_new_tokens: int,
    ) -> list[dict[str, Any]]:
        """Return `{"output"}` per row: what the model answers, always the likeliest token."""
        prompts = list(self.encode(rows, processor)["input_ids"])
        answers = write(
            model,
            prompts,
            processor,
            stops=[end_id(processor)],
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
        )
        return [{"output": text} for text in answers]

    def _is_share(self, name: str) -> bool:
        return name == HELD_OUT and self.config.holdout > 0
