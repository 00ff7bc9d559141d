"""Token ids of texts: their start tokens, a model's limit, and the cache of encoded rows."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.system import kept

logger = logging.getLogger(__name__)

READ_ROWS = 10_000
"""Rows whose lengths are read at a time."""
IGNORED = -100
"""The label of a token that has no loss."""
MISSED = -1
"""Index, and tag id, of a word without a token in the model's input."""
FEW = 500
"""Below this number of rows encoding is faster than reading the cache."""
LIBRARIES = ("datasets", "tokenizers", "transformers")
SETTINGS = (
    *("padding_side", "truncation_side", "split_special_tokens", "model_input_names"),
    *("special_tokens_map", "eos_token_id"),
)
"""Attributes of transformers' tokenizers that affect encoding and are not serialised."""

Model = PreTrainedModel
AnyModel = Any  # of transformers or PEFT, which share no type that generates
Tokenizer = PreTrainedTokenizerBase
Batch = dict[str, list[Any]]


def usable_positions(model: nn.Module) -> int | None:
    """Return the most tokens that a text may have; None if there is no limit.

    Models like RoBERTa number positions from `padding_idx + 1`, so the first rows of their table
    are not used; tables of models that count from 0 have no `padding_idx`.
    """
    config: Any = model.config
    positions = getattr(config, "max_position_embeddings", None) or 0
    # XLNet, which has -1, and DeBERTaV3 have only relative positions
    if positions <= 0 or not getattr(config, "position_biased_input", True):
        return None
    tables = [part for name, part in model.named_modules() if name.endswith("position_embeddings")]
    paddings = [getattr(table, "padding_idx", None) for table in tables]
    return positions - max((padding + 1 for padding in paddings if padding is not None), default=0)


def usable_length(wanted: int, tokenizer: Tokenizer) -> int:
    """Return the wanted number of tokens, or the tokenizer's own limit if that is smaller."""
    limit = tokenizer.model_max_length
    if wanted > limit:
        logger.warning(
            "task.max_length=%d, but the tokenizer stops at %d; texts are cut at %d tokens",
            *(wanted, limit, limit),
        )
    return min(wanted, limit)


def text_start(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that the tokenizer puts before a text: its bos token, or none.

    `bos_token_id` and `add_bos_token` are not reliable: Qwen2.5 and SmolLM2 may have a bos token
    but do not add it, and transformers 5 has `add_bos_token=False` on tokenizers that add it.
    """
    encoded = tokenizer("a", return_special_tokens_mask=True)
    pairs = zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    return [token for token, _ in takewhile(itemgetter(1), pairs)]


def first_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return the index of each word's first token; `MISSED` if it has none.

    `offsets` are the characters of each token in the words joined by blanks. A token belongs to the
    word of its last character, because it may begin with the blank before the word.
    """
    sizes = np.array([len(word) for word in words])
    begins = np.concatenate([[0], np.cumsum(sizes + 1)[:-1]])
    first, last = np.array(offsets).reshape(-1, 2).T
    index = np.searchsorted(begins, last - 1, side="right") - 1
    inside = (last > first) & (last <= (begins + sizes)[index])
    places = np.full(len(words), MISSED)
    at = np.flatnonzero(inside)[::-1]
    places[index[at]] = at  # of several tokens of a word, the first is written last
    return places.tolist()


def lengths(rows: Dataset) -> np.ndarray:
    """Return the (rows,) numbers of tokens, from Arrow's offsets, some rows at a time."""
    tables = rows.select_columns("input_ids").with_format("arrow").iter(READ_ROWS)
    columns = (cast("Any", table)["input_ids"].combine_chunks() for table in tables)
    return np.concatenate([column.value_lengths().to_numpy() for column in columns])


def tokenized(
    rows: Dataset,
    tokenize: Callable[..., Mapping[str, Any]],
    *,
    tokenizer: Tokenizer,
    options: Mapping[str, Any],
    with_indices: bool = False,
) -> Dataset:
    """Replace the columns of rows by the results of `tokenize`, new or from the cache.

    The results are stored in the user's cache folder, and later runs memory-map them, unless there
    are few rows, the tokenizer is not transformers' own, or the folder is not writable.

    `tokenizer` is the one that `tokenize` uses; its truncation and padding are not changed.
    `options` are all other values that `tokenize` depends on.
    """
    encode = partial(
        rows.map,
        tokenize,
        batched=True,
        with_indices=with_indices,
        remove_columns=rows.column_names,
        load_from_cache_file=False,
        desc="tokenize",
    )
    with _settings_restored(tokenizer):
        if len(rows) >= FEW and kept.limit() and _is_known(tokenizer):
            try:
                made_by = {**options, "by": f"{tokenize.__module__}.{tokenize.__qualname__}"}
                return _kept(_digest(rows, tokenizer, made_by), encode)
            except OSError as error:
                _warn_once(f"{kept.folder()}: tokens cannot be cached for later runs ({error})")
        return encode(keep_in_memory=True, new_fingerprint=generate_random_fingerprint())


def _kept(digest: str, encode: Callable[..., Dataset]) -> Dataset:
    """Memory-map the encoded rows of this digest; encode them first if they are not cached.

    Raises:
        OSError: nothing can be read or written in the cache folder.
    """
    path = kept.find(digest)
    if path is None:
        with kept.making(digest) as folder:
            path = kept.find(digest)  # another process may have made them in the meantime
            if path is None:
                made = folder / "made.arrow"
                encode(cache_file_name=str(made), new_fingerprint=digest)
                path = kept.keep(digest, made)
                if path is None:
                    return Dataset.from_file(str(made), in_memory=True)
    return Dataset.from_file(str(path))


def _is_known(tokenizer: Tokenizer) -> bool:
    """Tell whether a tokenizer's behaviour follows from its serialisation and its version."""
    is_own = type(tokenizer).__module__.partition(".")[0] == "transformers"
    return is_own and getattr(tokenizer, "backend_tokenizer", None) is not None


def _digest(rows: Dataset, tokenizer: Any, options: Mapping[str, Any]) -> str:  # noqa: ANN401 - a fast one
    """Return the digest of the rows, the tokenizer, the options, and the code that encodes."""
    settings = {name: getattr(tokenizer, name, None) for name in SETTINGS}
    serialised = tokenizer.backend_tokenizer.to_str().encode()
    words = {
        "tokenizer": [str(type(tokenizer)), settings, hashlib.sha256(serialised).hexdigest()],
        "options": options,
        "versions": [_sources(), *(version(name) for name in LIBRARIES)],
    }
    sink = _Sha256()
    sink.write(json.dumps(words, sort_keys=True, default=repr).encode())  # of added tokens
    for part in (rows.data, rows._indices):  # pyright: ignore[reportPrivateUsage]
        if part is not None:
            _write_content(part.table, sink)
    return sink.sha.hexdigest()[:32]


class _Sha256(io.RawIOBase):
    """A file object that hashes the bytes written to it."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()

    def writable(self) -> bool:
        """Tell Arrow that this file is written to."""
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - bytes, or a buffer of Arrow
        """Hash some bytes and return their number."""
        self.sha.update(data)
        return len(data)


def _write_content(table: pa.Table, file: io.RawIOBase) -> None:
    """Write columns and their types, without the metadata, in which `datasets` has random names."""
    plain = table.replace_schema_metadata(None)
    with pa.ipc.new_stream(file, plain.schema) as stream:
        stream.write_table(plain)


@cache
def _sources() -> str:
    """Return the digest of this folder's source files, which contain the templates."""
    folder = Path(__file__).parent
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")}
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


@cache
def _warn_once(sentence: str) -> None:
    logger.warning(sentence)


@contextmanager
def _settings_restored(tokenizer: Any) -> Iterator[None]:  # noqa: ANN401 - of any kind
    """Remove truncation and padding from a fast tokenizer within a block, and restore them.

    Each call stores its own settings, and `save_pretrained` would write those of the last call.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield
        return
    truncation, padding = backend.truncation, backend.padding

    def take_away() -> None:
        backend.no_truncation()
        backend.no_padding()

    take_away()
    try:
        yield
    finally:
        take_away()
        if truncation:
            backend.enable_truncation(**truncation)
        if padding:
            backend.enable_padding(**padding)
