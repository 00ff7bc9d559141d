"""Loads a model's tokenizer or image processor, and checks vocabulary, padding and length."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import transformers
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.config import ModelConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.tokens import usable_positions

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """The parts of a `Task` that describe the processor it needs."""

    processor_class: ClassVar[str]

    def processor_options(self) -> dict[str, Any]:
        """Return the entries of the processor's configuration that the task fixes."""
        ...

    def fit_processor(self, processor: Any) -> None:  # noqa: ANN401 - a tokenizer or an image processor
        """Set up a loaded processor for the task."""
        ...


def load_processor(folder: Path, cfg: ModelConfig, reader: Reader) -> Any:  # noqa: ANN401 - a tokenizer or an image processor
    """Load the tokenizer or image processor; a tokenizer gets a padding token if it has none."""
    processor = getattr(transformers, reader.processor_class).from_pretrained(
        folder, **cfg.source, **reader.processor_options()
    )
    if isinstance(processor, PreTrainedTokenizerBase):
        check_vocabulary(processor, cfg.path)
        processor("a", "b")  # a broken tokenizer fails on any text
        give_padding(processor, cfg.path)
    reader.fit_processor(processor)
    return processor


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, path: str) -> None:
    """Refuse a tokenizer without vocabulary, which transformers makes if the files are missing."""
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise GoftError(
            f"model.path={path}: found no vocabulary, expected a file such as tokenizer.json",
            "save the model's tokenizer into the same folder",
        )


def give_padding(tokenizer: PreTrainedTokenizerBase, path: str) -> None:
    """Set the padding token of a tokenizer that has none to one of its other tokens.

    LLaMA 2 pads with its unknown token, which occurs in no text; LLaMA 3, GPT-2 and SmolLM2 with
    the end-of-text token. A new token would need a new row of the embedding.
    """
    if tokenizer.pad_token is not None:
        return
    token = cast("str | None", tokenizer.unk_token or tokenizer.eos_token)
    if token is None:
        raise GoftError(
            f"model.path={path}: its tokenizer has no pad_token, and no unk_token or eos_token to "
            "use instead",
            "set pad_token in tokenizer_config.json",
        )
    tokenizer.pad_token = token
    logger.info("%s: the tokenizer has no pad_token; texts are padded with %s", path, token)


def fit_together(processor: Any, model: PreTrainedModel, path: str) -> None:  # noqa: ANN401 - as above
    """Set the tokenizer's maximum length from the model, and the model's padding id from it."""
    if not isinstance(processor, PreTrainedTokenizerBase):
        return
    check_fit(processor, model, path)
    check_end(processor, model, path)
    positions = usable_positions(model)
    if positions is not None:  # many tokenizers do not state the model's length
        processor.model_max_length = min(processor.model_max_length, positions)
    padding = cast("int", processor.pad_token_id)
    model.config.pad_token_id = padding
    if model.can_generate() and model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = padding


def check_fit(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, path: str) -> None:
    """Refuse a tokenizer that is not the model's own."""
    rows, known = embedding_rows(model), 1 + max(tokenizer.get_vocab().values())
    if rows is None:
        return
    named = [known_id for known_id in special_ids(model.config) if known <= known_id < rows]
    if known > rows or named:
        more = f", and its config.json names token {named[0]}" if named else ""
        raise GoftError(
            f"model.path={path}: its tokenizer has {known} tokens, but the model's embedding has "
            f"{rows} rows{more}",
            "save the model's own tokenizer into the same folder",
        )


def check_end(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, path: str) -> None:
    """Refuse a tokenizer without end token for an encoder-decoder, which classifies that token."""
    kind, last = type(model).__name__, tokenizer("a")["input_ids"][-1:]
    classifies = model.config.is_encoder_decoder and kind.endswith("SequenceClassification")
    if classifies and last != [model.config.eos_token_id]:
        raise GoftError(
            f"model.path={path}: a {kind} needs an end token after each text, and its tokenizer "
            "adds none",
            "save the model's own tokenizer into the same folder",
        )


def embedding_rows(model: PreTrainedModel) -> int | None:
    """Return the rows of a model's token embedding; None for a model without one."""
    try:
        return getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:
        return None


def special_ids(config: PretrainedConfig) -> list[int]:
    """Return the tokens that a model's configuration names."""
    values = [getattr(config, f"{kind}_token_id", None) for kind in ("bos", "eos", "pad")]
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one for one in flat if isinstance(one, int)]
