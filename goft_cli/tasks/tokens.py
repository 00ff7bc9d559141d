"""Texts into token ids: how they begin, how many a model takes, and what is kept of them."""

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
MISSED = -1
"""The place of a word of which the model sees no token, and the id of its tag."""
FEW = 500
"""Rows below this number are encoded sooner than found again."""
LIBRARIES = ("datasets", "tokenizers", "transformers")
SETTINGS = (
    *("padding_side", "truncation_side", "split_special_tokens", "model_input_names"),
    *("special_tokens_map", "eos_token_id"),
)
"""What tokenizers of transformers have beside their serialisation, and encoding reads."""

Model = PreTrainedModel
AnyModel = Any  # of transformers or PEFT, which share no type that generates
Tokenizer = PreTrainedTokenizerBase
Batch = dict[str, list[Any]]


def usable_positions(model: nn.Module) -> int | None:
    """Return the most tokens that a text may have, or None where nothing limits it.

    Models in RoBERTa's manner number the tokens from `padding_idx + 1` on, so that the first rows
    of their table are never a token's; of those that count from 0, no table has a `padding_idx`.
    """
    config: Any = model.config
    positions = getattr(config, "max_position_embeddings", None) or 0
    # XLNet, which says -1, and DeBERTaV3 attend by distance alone
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
    """Return the ids that the tokenizer itself puts before a text: its bos, or nothing.

    Neither `bos_token_id` nor `add_bos_token` tells: Qwen2.5 and SmolLM2 add none though they may
    have one, and transformers 5 shows `add_bos_token=False` on tokenizers whose file adds it.
    """
    encoded = tokenizer("a", return_special_tokens_mask=True)
    pairs = zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    return [token for token, _ in takewhile(itemgetter(1), pairs)]


def first_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return the place of each word's first token, `MISSED` where it has none.

    `offsets` are the characters of each token in the words joined by blanks. A token is of the word
    that its last character is in: it may begin with the blank before.
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
    """Replace the columns of rows by what `tokenize` makes of a `Batch`, or has made before.

    What it makes is kept in the user's cache folder and mapped into memory by later starts, unless
    the rows are few, the tokenizer is not transformers' own, or nothing can be kept.

    `tokenizer` is what `tokenize` calls; its truncation and padding are left as they were. The
    `options` are whatever else `tokenize` depends on and the sources of this folder do not say.
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
                _warn_once(f"{kept.folder()}: tokens cannot be kept for the next start ({error})")
        return encode(keep_in_memory=True, new_fingerprint=generate_random_fingerprint())


def _kept(digest: str, encode: Callable[..., Dataset]) -> Dataset:
    """Map the encoded rows of this digest into memory; make them first where they are not there.

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
    """Digest the rows, the tokenizer, the options, and what turns the ones into the others."""
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
    """A file that digests what is written to it."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()

    def writable(self) -> bool:
        """Tell Arrow that this file is written to."""
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - bytes, or a buffer of Arrow
        """Digest some bytes and return their number."""
        self.sha.update(data)
        return len(data)


def _write_content(table: pa.Table, file: io.RawIOBase) -> None:
    """Write columns and their types, without the metadata, in which `datasets` has random names."""
    plain = table.replace_schema_metadata(None)
    with pa.ipc.new_stream(file, plain.schema) as stream:
        stream.write_table(plain)


@cache
def _sources() -> str:
    """Digest the sources of the families: templates, and the order in which things are joined."""
    folder = Path(__file__).parent
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")}
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


@cache
def _warn_once(sentence: str) -> None:
    logger.warning(sentence)


@contextmanager
def _settings_restored(tokenizer: Any) -> Iterator[None]:  # noqa: ANN401 - of any kind
    """Take truncation and padding from a fast tokenizer for a time.

    Each call leaves its own in it, and `save_pretrained` would write those of the last one.
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
