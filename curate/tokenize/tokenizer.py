"""A tokenizer as the rest of ``curate`` sees it: text in, Arrow token lists out, and a fingerprint.

Text is always *plain* text: a special token that a page spells out (``<|end_of_text|>``, ``<s>``) becomes the tokens of
its characters, never the special id. Special ids come only from ``add_bos`` and ``add_eos``, and decode to nothing.
"""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import InputError, RecipeError
from curate.tokenize import batches
from curate.tokenize.batches import Kernel

UINT16_VOCABULARY: Final = 1 << 16

Ids = Sequence[int] | npt.NDArray[Any]


@dataclass(frozen=True)
class Tokenizer:
    """A loaded tokenizer.

    ``vocab_size`` counts every id, special ones included, so that all ids are below it. ``sha256`` covers the model
    bytes, the split pattern and the special tokens: two tokenizers of equal sha256 give equal ids.
    ``encode_text`` gives the ids of a text without special ones (any integer dtype); ``token_bytes`` gives the UTF-8
    bytes of ids that begin a document. ``kernel`` gives, if there is one, the encoder of whole batches, with the ids of
    ``encode_text``; it is built when it is first asked for. ``specials`` are the ids of special tokens by name, which
    text never gives.
    """

    name: str
    kind: str
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    unk_id: int | None
    sha256: str
    encode_text: Callable[[str], npt.NDArray[Any]]
    token_bytes: Callable[[Ids], bytes]
    kernel: Callable[[], Kernel] | None = None
    specials: Mapping[str, int] = field(default_factory=dict)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that holds every id: uint16 up to a vocabulary of 65,536, else uint32."""
        return token_dtype(self.vocab_size)

    def encode_batch(self, text: pa.Array, *, add_bos: bool = False, add_eos: bool = False) -> pa.ListArray:
        """Return the ids of each text: list<uint16 or uint32, not null>, [rows]. See `encode_batch`."""
        return encode_batch(self, text, add_bos=add_bos, add_eos=add_eos)

    def decode_bytes(self, ids: Ids) -> bytes:
        """Return the bytes of `ids`, which begin a document; special ids give none. Raises InputError("token_id")."""
        wrong = [int(i) for i in ids if not 0 <= i < self.vocab_size]
        if wrong:
            raise InputError("token_id", f"id {wrong[0]} is outside the vocabulary of {self.name} ({self.vocab_size})")
        return self.token_bytes(ids)

    def decode(self, ids: Ids) -> str:
        """Return the text of `ids`; bytes that are no UTF-8 (a character cut in two) become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def identity(self) -> dict[str, Any]:
        """Return what shards and manifests record of a tokenizer."""
        return {
            "name": self.name,
            "kind": self.kind,
            "sha256": self.sha256,
            "vocab_size": self.vocab_size,
            "bos_id": self.bos_id,
            "eos_id": self.eos_id,
            "pad_id": self.pad_id,
            "unk_id": self.unk_id,
        }


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return uint16 for a vocabulary of at most 65,536 ids, else uint32."""
    return np.dtype(np.uint16 if vocab_size <= UINT16_VOCABULARY else np.uint32)


def fingerprint(model: bytes, kind: str, pattern: str, specials: Mapping[str, int]) -> str:
    """Return the sha256, in hex, of everything that shapes the ids of a tokenizer."""
    header = json.dumps({"kind": kind, "pattern": pattern, "specials": dict(specials)}, sort_keys=True)
    return hashlib.sha256(header.encode() + b"\0" + model).hexdigest()


def encode_batch(tokenizer: Tokenizer, text: pa.Array, *, add_bos: bool, add_eos: bool) -> pa.ListArray:
    """Return the ids of each text as list<uint16 or uint32, not null>, [rows].

    Ids go straight into one growing buffer of the final dtype; where the tokenizer has no kernel, one text at a time
    exists as Python objects. Raises InputError("utf8", "null" or "tokens"), and RecipeError when the tokenizer has no
    such special id.
    """
    frame = (_required(tokenizer, "bos") if add_bos else None, _required(tokenizer, "eos") if add_eos else None)
    wide = checked(text)
    if tokenizer.kernel is None:
        offsets, ids = _encode_each(tokenizer, wide, frame)
    else:
        offsets, ids = batches.encode(tokenizer.kernel(), wide, tokenizer.dtype, frame)
    return token_lists(offsets.astype(np.int32), ids)


def _encode_each(
    tokenizer: Tokenizer, text: pa.Array, frame: tuple[int | None, int | None]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """`batches.encode` by ``encode_text``."""
    before, after = ([] if one is None else [one] for one in frame)
    offsets = np.zeros(len(text) + 1, dtype=np.int64)
    buffer = np.empty(text.nbytes // batches.GUESSED_BYTES_PER_TOKEN + 2 * len(text) + 1, dtype=tokenizer.dtype)
    filled = 0
    for row, document in enumerate(strings(text)):
        ids = tokenizer.encode_text(document)
        end = filled + len(before) + len(ids) + len(after)
        batches.check_tokens(end, len(text))
        if end > len(buffer):
            # in place where the allocator can: nothing else refers to the buffer yet
            buffer.resize(max(end, 2 * len(buffer)), refcheck=False)
        buffer[filled : filled + len(before)] = before
        buffer[filled + len(before) : end - len(after)] = ids
        buffer[end - len(after) : end] = after
        offsets[row + 1] = filled = end
    buffer.resize(filled, refcheck=False)
    return offsets, buffer


def token_lists(offsets: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> pa.ListArray:
    """Return list<uint16 or uint32, not null> over int32 `offsets` [rows + 1] and the flat ids `values`, zero-copy."""
    item = pa.field("item", pa.from_numpy_dtype(values.dtype), nullable=False)
    flat = pa.Array.from_buffers(item.type, len(values), [None, pa.py_buffer(values)])
    return pa.Array.from_buffers(
        pa.list_(item), len(offsets) - 1, [None, pa.py_buffer(offsets)], null_count=0, children=[flat]
    )


def checked(text: pa.Array) -> pa.Array:
    """Return a string or large_string array as large_string. Raises InputError("utf8" or "null")."""
    if text.null_count:
        raise InputError("null", f"{text.null_count} of {len(text)} texts are null; a document always has a text")
    wide = text if pa.types.is_large_string(text.type) else text.cast(pa.large_string())
    try:
        wide.validate(full=True)
    except pa.ArrowInvalid as error:
        # Arrow does not say where
        collections.deque(strings(wide), maxlen=0)
        raise InputError("utf8", f"a batch of {len(text)} texts is damaged: {error}") from error
    return wide


def strings(text: pa.Array) -> Iterator[str]:
    """Yield the texts of a large_string array, decoded one at a time. Raises InputError("utf8")."""
    data, ends = batches.buffers(text)
    for row in range(len(text)):
        try:
            yield data[ends[row] : ends[row + 1]].tobytes().decode()
        except UnicodeDecodeError as error:
            raise InputError("utf8", f"text {row} of the batch is not UTF-8 at byte {error.start}") from error


def _required(tokenizer: Tokenizer, role: str) -> int:
    special: int | None = getattr(tokenizer, f"{role}_id")
    if special is None:
        raise RecipeError(f"tokenizer {tokenizer.name} has no {role} token; set add_{role} = false")
    return special
