"""Fine-tuning on chats: the loss of the assistant's turns, in the model's own chat template."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
from datasets import Dataset, Features
from torch import Tensor

from goft_cli.config import ChatConfig, LossOn, Overlong
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Collator, Inputs, Split, Tensors
from goft_cli.tasks.chat.packing import pack
from goft_cli.tasks.chat.rows import ASSISTANT, FEATURES, SYSTEM, USER, Turns, checked_chats
from goft_cli.tasks.chat.templates import (
    OTHER_TEMPLATE,
    Template,
    UnclearError,
    give_template,
    in_spans,
)
from goft_cli.tasks.instruction import Answers, collator, row_losses
from goft_cli.tasks.instruction.rows import end_id
from goft_cli.tasks.tokens import IGNORED, Batch, Tokenizer, lengths, tokenized

SHOWN = 40
"""Characters of a chat's first turn that an error shows."""
CUT = "turns_cut"

Example = tuple[list[int], list[int]]
"""Token ids and labels."""

logger = logging.getLogger(__name__)


class Chat(Answers[ChatConfig]):
    """Chats of a user and an assistant; the model generates the assistant's next turn."""

    packed_rows: ClassVar[int] = 2

    def checked(self, table: Table, *, answered: bool) -> Dataset:
        """Return the chats of a table, or their prompts."""
        return checked_chats(table, self.config, answered=answered)

    @property
    def line_column(self) -> str:
        """A prompt of one turn."""
        return "prompt"

    def read_turn(self, before: Sequence[Mapping[str, str]], text: str) -> Dataset:
        """Make a chat of earlier turns and one of the user."""
        chat = [*before, {"role": USER, "content": text}]
        return Dataset.from_dict({"prompt": [chat]}, features=Features({"prompt": FEATURES}))

    def fit_processor(self, processor: Tokenizer) -> None:
        """Give the tokenizer the template of `task.template`, or one if it has none."""
        if not processor.is_fast:
            raise GoftError(
                f"{processor.name_or_path}: its tokenizer returns no character offsets of tokens",
                "choose a model with a tokenizer.json",
            )
        if self.config.template is None and processor.chat_template is None:
            end_id(processor)
        give_template(processor, self.config.template)

    def encode(self, rows: Dataset, processor: Tokenizer) -> Dataset:
        """Tokenize chats, with the label -100 for unscored tokens; or prompts, up to the answer.

        A chat that is dropped because it is too long has no tokens.
        """
        template = Template(processor)
        options: dict[str, Any] = {"template": template.source}
        if "prompt" in rows.column_names:

            def prompts(batch: Batch, places: Sequence[int]) -> Batch:
                asked = zip(batch["prompt"], places, strict=True)
                texts = [_of(chat, place, template.text, asks=True) for chat, place in asked]
                return {"input_ids": processor(texts, add_special_tokens=False)["input_ids"]}

            return tokenized(rows, prompts, tokenizer=processor, options=options, with_indices=True)
        length = self._most(processor)

        def examples(batch: Batch, places: Sequence[int]) -> Batch:
            chats = zip(batch["messages"], places, strict=True)
            found = [_of(chat, place, self._fitting, template, length) for chat, place in chats]
            return {
                "input_ids": [ids for (ids, _), _ in found],
                "labels": [labels for (_, labels), _ in found],
                CUT: [cut for _, cut in found],
            }

        for key in ("loss_on", "overlong"):
            options[key] = str(getattr(self.config, key))
        options |= {"length": length}
        return tokenized(rows, examples, tokenizer=processor, options=options, with_indices=True)

    def _most(self, processor: Tokenizer) -> int:
        """Return the most tokens that a chat may have."""
        return min(self.config.max_length, processor.model_max_length)

    def _fitting(self, chat: Turns, template: Template, length: int) -> tuple[Example, int]:
        """Return a chat's example and its number of dropped turns; empty if it is too long."""
        cuts = self.config.overlong is Overlong.cut_oldest
        for cut, rest in shortened(chat) if cuts else [(0, chat)]:
            ids, labels = self._example(rest, template)
            if len(ids) <= length:
                return (ids, labels), cut
        return ([], []), 0

    def _example(self, chat: Turns, template: Template) -> Example:
        """Return a chat's ids, and as labels the ids with a loss; the first token has none."""
        on = self.config.loss_on
        if on is LossOn.all:
            text, spans = template.text(chat), []
        else:
            text, spans = template.answers(chat, last=on is LossOn.last)
        found = template.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ids = np.array(found["input_ids"], dtype=np.int64)
        scored = in_spans(found["offset_mapping"], spans or [(0, len(text))])
        scored[:1] = False
        return ids.tolist(), np.where(scored, ids, IGNORED).tolist()

    def split(self, rows: Dataset, processor: Tokenizer) -> Split:
        """Encode rows; chats that are too long are dropped and counted."""
        inputs = self.encode(rows, processor)
        sizes, length = lengths(inputs), self._most(processor)
        kept, cut = np.flatnonzero(sizes), np.count_nonzero(inputs[CUT])
        inputs = inputs.remove_columns(CUT)
        if cut:
            logger.warning(
                "%d of %d chats have more than %d tokens and lose their oldest turns "
                "(task.overlong=cut_oldest)",
                *(cut, len(rows), length),
            )
        if len(kept) == len(rows):
            return Split(rows, inputs)
        whole = self.config.overlong is Overlong.drop
        said = f"{len(rows) - len(kept)} of {len(rows)} chats have more than {length} tokens"
        said += "" if whole else " in their last turns"
        if not len(kept):
            raise GoftError(f"task.max_length={length}: {said}", "pass task.max_length=TOKENS")
        other = "; task.overlong=cut_oldest would keep their last turns" if whole else ""
        logger.warning("%s and are left out%s", said, other)
        return Split(rows.select(kept), inputs.select(kept))

    def training_inputs(self, inputs: Inputs) -> Inputs:
        """Fill rows with whole chats, if the task packs."""
        if not self.config.packing or not isinstance(inputs, Dataset):
            return inputs
        return pack(inputs, self.config.max_length)

    def collate(self, processor: Tokenizer) -> Collator:
        """Pad each batch to its longest row, of one chat or several."""
        return collator(processor, packing=False)

    def reduce(self, outputs: Tensors, batch: Mapping[str, Tensor]) -> Tensor:
        """Keep the summed loss of each chat and the number of its scored tokens."""
        if isinstance(outputs, tuple):
            raise TypeError("expected a causal language model that returns only logits")
        return row_losses(outputs, batch["labels"])

    def stops(self, processor: Tokenizer) -> list[int]:
        """Return the tokens that end an answer: the template's, and the end of a text."""
        found = Template(processor).end_ids()
        end = cast("int | None", processor.eos_token_id)
        return sorted(found | ({end} if end is not None else set())) or [end_id(processor)]


def shortened(chat: Turns) -> Iterator[tuple[int, Turns]]:
    """Yield a chat and its number of dropped turns: first 0, then more and more of the oldest."""
    system = [turn for turn in chat[:1] if turn["role"] == SYSTEM]
    turns = chat[len(system) :]
    for cut in range(0, len(turns), 2):
        if any(turn["role"] == ASSISTANT for turn in turns[cut:]):
            yield cut, [*system, *turns[cut:]]


def _of(chat: Turns, place: int, read: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
    """Call `read` on a chat; the error of a template names the chat by number and first words."""
    try:
        return read(chat, *args, **options)
    except UnclearError as error:
        words = next((turn["content"] for turn in chat if turn["role"] == USER), "")
        begin = words if len(words) <= SHOWN else f"{words[:SHOWN]}..."
        raise GoftError(f"chat {place + 1} ({begin!r}): {error}", OTHER_TEMPLATE) from None


__all__ = ["Chat"]
