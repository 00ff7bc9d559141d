"""Fine-tuning on instructions in Alpaca's format; the loss is that of the answers."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorWithFlattening

from goft_cli.config import HELD_OUT, Decoding, InstructionConfig
from goft_cli.data.formats import Layout
from goft_cli.data.own import remarks
from goft_cli.data.sources import read_data
from goft_cli.data.streamed import read_streamed
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import (
    AnsweringTask,
    Arrays,
    Collator,
    RowScorer,
    Split,
    TaskData,
    Tensors,
    chunks,
)
from goft_cli.tasks.generation import too_long, write
from goft_cli.tasks.instruction.apart import keeps_apart
from goft_cli.tasks.instruction.rows import (
    COLUMNS,
    PREAMBLE,
    QUESTION,
    SEPARATOR,
    checked_rows,
    cut,
    divide,
    encode_answers,
    encode_prompts,
    end_id,
    query_of,
)
from goft_cli.tasks.tokens import (
    IGNORED,
    AnyModel,
    Batch,
    Model,
    Tokenizer,
    tokenized,
    usable_length,
    usable_positions,
)

CHECKED_ROWS = 1000
"""Rows that a check encodes at a time."""

logger = logging.getLogger(__name__)
AnswersT = TypeVar("AnswersT", bound=InstructionConfig)


def example_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (examples, 2) float32: summed negative log-likelihood in nats, and number of tokens.

    An example is one run of scored labels, because an unscored prompt precedes each answer. This is
    true for padded rows and for concatenated examples.

    Args:
        logits: (rows, length, vocabulary) in any precision; those at i predict the label at i + 1.
        labels: (rows, length), `IGNORED` where a token is not scored, which the first one is not.
    """
    scored = labels != IGNORED
    begins = scored & ~pad(scored, (1, 0))[:, :-1]
    run = begins.flatten().cumsum(0)[scored.flatten()]
    return summed_losses(logits, labels, run.unique_consecutive(return_counts=True)[1])


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed loss and the number of scored tokens of each row, as one example."""
    return summed_losses(logits, labels, (labels[:, 1:] != IGNORED).sum(dim=1))


def summed_losses(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Return the summed loss and the number of scored tokens of each example.

    `counts` are those numbers, by which the scored tokens of all rows are split.
    """
    answers = labels[:, 1:] != IGNORED
    # Only the scored logits go to float32: there are vocabulary times more of them than tokens.
    losses = cross_entropy(
        logits[:, :-1][answers].float(), labels[:, 1:][answers], reduction="none"
    )
    sums = [part.sum() for part in losses.split(counts.tolist())]
    return torch.stack([torch.stack(sums), counts.float()], dim=1)


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Stack rows of numbers into (rows, longest), filled up with `value` on the right."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


@dataclass(frozen=True)
class PadRight:
    """Pads on the right, whatever the tokenizer's side is, because positions count from 0."""

    padding: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, each (rows, longest).

        Rows of several examples have `position_ids` in place of the mask; each 0 there begins one.
        """
        ids = [row["input_ids"] for row in rows]
        batch = {
            "input_ids": padded(ids, self.padding),
            "labels": padded([row["labels"] for row in rows], IGNORED),
        }
        if "position_ids" in rows[0]:
            return batch | {"position_ids": padded([row["position_ids"] for row in rows], 0)}
        return batch | {"attention_mask": padded([[1] * len(row) for row in ids], 0)}


def collator(tokenizer: Tokenizer, *, packing: bool) -> Collator:
    """Return the collator of the examples, which pads or concatenates them.

    Concatenated examples, (1, tokens), have position ids that restart at 0 with each example. From
    these the model makes a mask that separates the examples, if it gets no attention mask and uses
    no cache; Trainer switches the cache off.
    """
    if packing:
        return DataCollatorWithFlattening()
    padding = cast("int | None", tokenizer.pad_token_id)
    # LLaMA 2 has no such id. Any id works, because the attention mask is made from the lengths.
    return PadRight(end_id(tokenizer) if padding is None else padding)


class Answers(AnsweringTask[AnswersT, Tokenizer]):
    """A task that generates an answer to a prompt; only the answer has a loss."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    packed_rows: ClassVar[int] = 1
    """Rows of a packed batch: 1, or more than 1 for several."""

    @abstractmethod
    def checked(self, table: Table, *, answered: bool) -> Dataset:
        """Return the rows of a table, checked; unless `answered`, without their answers."""

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check the named splits; with `holdout`, `validation` is a share of the rows."""
        config = self.config

        def answered(table: Table) -> Dataset:
            return self.checked(table.renamed(config.column_aliases), answered=True)

        if config.streaming and config.own is not None:
            return TaskData(*read_streamed(config, config.own, names, answered))
        shared = {HELD_OUT: config.train_split} if config.holdout > 0 else {}
        wanted = list(dict.fromkeys(shared.get(name, name) for name in names))
        tables, provenance = read_data(config, wanted, Layout())
        splits = {name: answered(table) for name, table in tables.items()}
        if config.holdout and config.train_split in splits:
            rest, share = divide(splits[config.train_split], config.holdout)
            splits |= {config.train_split: rest, HELD_OUT: share}
        if config.own is not None and config.train_split in splits:
            for remark in remarks(splits, splits[config.train_split].column_names, None):
                logger.warning(remark)
        return TaskData({name: splits[name] for name in names}, provenance)

    def unlabelled(self, table: Table) -> Dataset:
        """Return the prompts of a table; answers, if any, are left out."""
        return self.checked(table.renamed(self.config.column_aliases), answered=False)

    def collate(self, processor: Tokenizer) -> Collator:
        """Pad each batch to its own longest row, or with `packing` lay its rows end to end."""
        return collator(processor, packing=self.config.packing)

    def reduce(self, outputs: Tensors, batch: Mapping[str, Tensor]) -> Tensor:
        """Keep what `example_losses` returns."""
        if isinstance(outputs, tuple):
            raise TypeError("a causal language model returns logits alone")
        return example_losses(outputs, batch["labels"])

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute the mean loss of all scored tokens, in nats, and its exponential."""
        total, tokens = np.asarray(outputs, dtype=np.float64).sum(axis=0)
        with np.errstate(over="ignore"):  # a diverged model's perplexity is infinite, not an error
            return {"loss": float(total / tokens), "perplexity": float(np.exp(total / tokens))}

    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        """Return what computes the headline of some rows' losses."""
        return lambda rows: self.score(np.asarray(outputs)[rows], split)[self.config.headline]

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        """Return `{"loss", "tokens"}` per row: the answer's mean loss, and its length."""
        return [
            {"loss": float(loss / tokens), "tokens": int(tokens)}
            for loss, tokens in np.asarray(outputs, dtype=np.float64)
        ]

    def check_model(self, model: Model) -> None:
        """Refuse to pack for a model whose attention does not separate packed examples."""
        if self.config.packing and not keeps_apart(model, self.packed_rows):
            raise GoftError(
                f"task.packing=true: {type(model).__name__} lets packed examples attend to "
                "one another",
                "pass task.packing=false",
            )

    def unfit_rows(self, rows: Dataset, model: AnyModel, processor: Tokenizer) -> dict[int, str]:
        """Return the prompts that leave no position for an answer."""
        positions, found = usable_positions(model), {}
        for part in chunks(len(rows), CHECKED_ROWS) if positions else ():
            prompts = self.encode(rows.select(part), processor)["input_ids"]
            for place, prompt in zip(part, prompts, strict=True):
                if reason := too_long(prompt, positions):
                    found[place] = reason
        return found

    def model_options(self) -> dict[str, Any]:
        """Return no entries: a causal language model is taken as it is."""
        return {}

    def answer(
        self,
        model: AnyModel,
        rows: Dataset,
        processor: Tokenizer,
        *,
        batch_size: int,
        decoding: Decoding,
        numbers: Sequence[int] = (),
    ) -> list[dict[str, Any]]:
        """Return `{"output"}` per row: what the model answers."""
        prompts = list(self.encode(rows, processor)["input_ids"])
        answers = write(
            model,
            prompts,
            processor,
            stops=self.stops(processor),
            batch_size=batch_size,
            decoding=decoding,
            numbers=numbers,
        )
        return [{"output": text} for text in answers]

    def stops(self, processor: Tokenizer) -> list[int]:
        """Return the tokens that end an answer."""
        return [end_id(processor)]


class Instruction(Answers[InstructionConfig]):
    """Answers to an instruction and an optional input; only the answer has a loss."""

    def checked(self, table: Table, *, answered: bool) -> Dataset:
        """Return Alpaca's columns, checked."""
        return checked_rows(table, answered=answered)

    @property
    def asked(self) -> Sequence[str]:
        """The instruction."""
        return COLUMNS[:1]

    @property
    def line_column(self) -> str:
        """The instruction; it has no input then."""
        return COLUMNS[0]

    def encode(self, rows: Dataset, processor: Tokenizer) -> Dataset:
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

        template: dict[str, Any] = {"template": [PREAMBLE, SEPARATOR, QUESTION]}
        if "output" not in rows.column_names:
            return tokenized(rows, prompts, tokenizer=processor, options=template)
        length = usable_length(self.config.max_length, processor)
        options = template | {"length": length}
        return tokenized(rows, examples, tokenizer=processor, options=options)


__all__ = ["Instruction"]
