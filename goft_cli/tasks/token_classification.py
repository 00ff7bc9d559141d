"""Token classification: a tag for each word, such as entities in BIO tags or parts of speech."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from goft_cli.config import TokenClassificationConfig
from goft_cli.config.choices import ClassWeights, Target
from goft_cli.data.formats import Layout
from goft_cli.data.own import remarks
from goft_cli.data.sources import read_data
from goft_cli.data.table import Table
from goft_cli.data.tagged import checked_rows, refuse_single_words
from goft_cli.system.errors import GoftError
from goft_cli.tasks import metrics
from goft_cli.tasks.base import (
    Arrays,
    Collator,
    RowScorer,
    Split,
    Task,
    TaskData,
    Tensors,
)
from goft_cli.tasks.classes import (
    ABSENT,
    OUTSIDE,
    balanced_weights,
    by_class,
    class_options,
    entities,
    figures,
)
from goft_cli.tasks.tokens import (
    IGNORED,
    MISSED,
    Batch,
    Tokenizer,
    first_tokens,
    tokenized,
    usable_length,
)

logger = logging.getLogger(__name__)

ENTITY_SCORES = ("precision", "recall", "f1")


class TokenClassification(Task[TokenClassificationConfig, Tokenizer]):
    """The first token of each word is tagged; words beyond the longest input count as missed."""

    auto_class: ClassVar[str] = "AutoModelForTokenClassification"

    def __init__(self, config: TokenClassificationConfig) -> None:
        super().__init__(config)
        metrics.check_names(config.metrics, headline=config.headline, target=config.target)
        self.ids = {name: index for index, name in enumerate(config.labels)}

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check the named splits; tags become the task's own names."""
        config = self.config
        tables, provenance = read_data(config, names, self.layout)
        rows = {name: checked_rows(table, config, tagged=True) for name, table in tables.items()}
        if config.own is not None and config.train_split in rows:
            refuse_single_words(rows[config.train_split][self._words], tables[config.train_split])
            texts = {
                name: Dataset.from_dict({"text": list(map(" ".join, split[self._words]))})
                for name, split in rows.items()
            }
            for remark in remarks(texts, ["text"], None):
                logger.warning(remark)
        return TaskData(rows, provenance)

    @property
    def layout(self) -> Layout:
        """The layout of the files, whose columns may have other names."""
        return Layout(aliases=self.config.column_aliases)

    @property
    def asked(self) -> Sequence[str]:
        """The words."""
        return self.config.text_columns

    @property
    def line_column(self) -> str:
        """The words, with blanks between them."""
        return self._words

    def unlabelled(self, table: Table) -> Dataset:
        """Return the words; tags, if any, are left out."""
        return checked_rows(table, self.config, tagged=False)

    def encode(self, rows: Dataset, processor: Tokenizer) -> Dataset:
        """Tokenize the words of a row, joined by blanks; store the index of each first token."""
        if not processor.is_fast:
            raise GoftError(
                "this model has no fast tokenizer, which is needed to assign tokens to words",
                "choose a model with a tokenizer.json",
            )
        config, length = self.config, usable_length(self.config.max_length, processor)

        def tokenize(batch: Batch) -> dict[str, Any]:
            words = batch[self._words]
            texts = [" ".join(row) for row in words]
            encoded = dict(
                processor(texts, truncation=True, max_length=length, return_offsets_mapping=True)
            )
            offsets = encoded.pop("offset_mapping")
            places = [first_tokens(row, at) for row, at in zip(words, offsets, strict=True)]
            if config.label_column in batch:
                rows = zip(encoded["input_ids"], places, batch[config.label_column], strict=True)
                encoded["labels"] = [self._labels(len(ids), at, tags) for ids, at, tags in rows]
            return encoded | {"places": places}

        read: dict[str, Any] = {"columns": [self._words, config.label_column]}
        read |= {"length": length, "labels": list(config.labels)}
        encoded = tokenized(rows, tokenize, tokenizer=processor, options=read)
        count = sum(place == MISSED for row in encoded["places"] for place in row)
        if count:
            logger.warning(
                "%d words are beyond task.max_length=%d tokens of their row, or without a token: "
                "they get no tag, and count as missed",
                *(count, length),
            )
        return encoded

    def collate(self, processor: Tokenizer) -> Collator:
        """Pad each batch on the right, so that the indices of words do not change."""
        return PadWords(processor)

    def reduce(self, outputs: Tensors, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the (rows, tokens) likeliest tags and their probabilities."""
        shares, tags = cast("Tensor", outputs).float().softmax(dim=-1).max(dim=-1)
        padding = batch["attention_mask"] == 0
        return tags.masked_fill(padding, IGNORED), shares.masked_fill(padding, IGNORED)

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute precision, recall and F1 of whole entities, and metrics of single tags."""
        wanted, of_entities = self.config.metrics, self.config.target is Target.entities
        whole = [name for name in wanted if of_entities and name in ENTITY_SCORES]
        found = metrics.compute([n for n in wanted if n not in whole], *self._tags(outputs, split))
        if whole:
            counts = self._counts(outputs, split)
            found |= figures(*map(sum, zip(*counts.values(), strict=True))) if counts else ABSENT
        return {name: found[name] for name in wanted}

    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        """Return a function that computes the headline on some rows, from counts or tags."""
        headline, true = self.config.headline, split.rows[self.config.label_column]
        if self.config.target is Target.entities and headline in ENTITY_SCORES:
            pairs = zip(self._rows(outputs, split), true, strict=True)
            counts = np.array([entity_counts(tags, right) for (*_, tags), right in pairs])
            return lambda rows: figures(*counts[rows].sum(axis=0).tolist())[headline]
        ends = np.cumsum([len(tags) for tags in true])
        words = np.split(np.arange(ends[-1]), ends[:-1])
        of_words = metrics.on_rows(headline, *self._tags(outputs, split))
        return lambda rows: of_words(np.concatenate([words[row] for row in rows]))

    def by_class(self, outputs: Arrays, split: Split) -> dict[str, Any]:
        """Return the scores of each type of entity, or scores and confusions of the tags."""
        if self.config.target is not Target.entities:
            return by_class(self.config.labels, *self._tags(outputs, split))
        counts = sorted(self._counts(outputs, split).items())
        numbers = {kind: figures(*one) | {"support": one[2]} for kind, one in counts}
        return {"classes": numbers, "confusion": {}}

    def constant(self, train: Dataset, split: Split) -> tuple[str, Arrays]:
        """Return the most frequent tag of the training words."""
        ((most, _),) = Counter(
            tag for row in train[self.config.label_column] for tag in row
        ).most_common(1)
        width = max(len(row) for row in cast("Dataset", split.inputs)["input_ids"])
        shape = (len(split.rows), width)
        return most, (np.full(shape, self.ids[most]), np.ones(shape, dtype=np.float32))

    def class_weights(self, train: Dataset) -> np.ndarray | None:
        """Return the (tags,) weights of the training words' tags."""
        if self.config.class_weights is ClassWeights.none:
            return None
        tags = [self.ids[tag] for row in train[self.config.label_column] for tag in row]
        return balanced_weights(tags, len(self.ids))

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        """Return `{"tags", "scores"}` per row, one per word, None for words without a token.

        Entities are `{"type", "start", "end", "text"}`, with indices of words; `end` is the index
        after the last word.
        """
        _, shares = cast("tuple[np.ndarray, np.ndarray]", outputs)
        found = []
        for index, (words, places, tags) in enumerate(self._rows(outputs, split)):
            scores = [float(shares[index, place]) if place != MISSED else None for place in places]
            one: dict[str, Any] = {"tags": tags, "scores": scores}
            if self.config.target is Target.entities:
                one["entities"] = [
                    {"type": kind, "start": a, "end": b, "text": " ".join(words[a:b])}
                    for kind, a, b in entities([tag or OUTSIDE for tag in tags])
                ]
            found.append(one)
        return found

    def model_options(self) -> dict[str, Any]:
        """Return config entries for a head of one output per tag."""
        return class_options(self.config.labels)

    def _labels(self, tokens: int, places: Sequence[int], tags: Sequence[str]) -> list[int]:
        """Return the target of each token: the tag of the word that it begins, or none."""
        targets = [IGNORED] * tokens
        for place, tag in zip(places, tags, strict=True):
            if place != MISSED:
                targets[place] = self.ids[tag]
        return targets

    def _rows(self, outputs: Arrays, split: Split) -> list[tuple[list[str], list[int], list[Any]]]:
        """Return words, places and tags of each row; a word that was not seen has the tag None."""
        tags, _ = cast("tuple[np.ndarray, np.ndarray]", outputs)
        rows = zip(split.rows[self._words], cast("Dataset", split.inputs)["places"], strict=True)
        names = self.config.labels
        return [
            (words, places, [names[tags[index, at]] if at != MISSED else None for at in places])
            for index, (words, places) in enumerate(rows)
        ]

    def _tags(self, outputs: Arrays, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of predicted and true tags, (words,) of all rows; `MISSED` for None."""
        rows = self._rows(outputs, split)
        found = [self.ids.get(tag, MISSED) for *_, tags in rows for tag in tags]
        true = [self.ids[tag] for row in split.rows[self.config.label_column] for tag in row]
        return np.array(found), np.array(true)

    def _counts(self, outputs: Arrays, split: Split) -> dict[str, list[int]]:
        """Return by type the numbers of correct, predicted and true entities."""
        counts: dict[str, list[int]] = {}
        pairs = zip(self._rows(outputs, split), split.rows[self.config.label_column], strict=True)
        for (*_, tags), true in pairs:
            found, there = entities([tag or OUTSIDE for tag in tags]), entities(true)
            for at, some in enumerate((set(found) & set(there), found, there)):
                for kind, *_ in some:
                    counts.setdefault(kind, [0, 0, 0])[at] += 1
        return counts

    @property
    def _words(self) -> str:
        return self.config.text_columns[0]


def entity_counts(tags: Sequence[str | None], true: Sequence[str]) -> tuple[int, int, int]:
    """Return the numbers of correct, predicted and true entities of a row."""
    found, there = entities([tag or OUTSIDE for tag in tags]), entities(true)
    return len(set(found) & set(there)), len(found), len(there)


@dataclass(frozen=True)
class PadWords:
    """Pads on the right, whatever the tokenizer's side is."""

    tokenizer: Tokenizer

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return what the model takes, and `labels` where there are any, each (rows, longest)."""
        token: Any = self.tokenizer
        filled = {"input_ids": token.pad_token_id, "labels": IGNORED}
        filled |= {"token_type_ids": token.pad_token_type_id}
        names = [name for name in rows[0] if name in {*token.model_input_names, "labels"}]
        return {
            name: pad_sequence([torch.tensor(row[name]) for row in rows], True, filled.get(name, 0))
            for name in names
        }
