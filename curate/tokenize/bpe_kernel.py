"""Byte-level BPE on Arrow buffers: pre-tokens by `pretokens`, most of them looked up in `words`, the others merged.

The ids of ranks are those of ``tiktoken``: a pre-token that is in the vocabulary is one token even where no merge leads
to it; any other is merged from its bytes by rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curate.tokenize import merges, pairs, pretokens, words
from curate.tokenize.batches import BEGINS, DONE, ENDS, FULL, ROOM, Kernel, Room
from curate.tokenize.compiled import Bytes, Ints, Words, as_int, cached, compiled, source_digest
from curate.tokenize.merges import merge
from curate.tokenize.pairs import find
from curate.tokenize.pretokens import pretoken_end
from curate.tokenize.words import MAX_WORD_BYTES, copy, key, look_up, place, remember

FILES: Final = ("bpe_kernel.py", "batches.py", merges.FILE, pairs.FILE, words.FILE, *pretokens.FILES)


def supports(ranks: Mapping[bytes, int], pattern: str) -> bool:
    """Return whether `of_ranks` can encode with these ranks (0, 1, 2, …, all single bytes among them) and pattern."""
    return (
        pattern in pretokens.PATTERNS
        and len(ranks) <= pairs.MAX_SYMBOLS
        and max(map(len, ranks)) <= pairs.MAX_TOKEN_BYTES
    )


def of_ranks(ranks: Mapping[bytes, int], pattern: str, cut: Callable[[str], Iterator[str]], cut_bytes: int) -> Kernel:
    """Return the encoder of ranks that it `supports`: about 12 MB for 128,000 of them, and the cache of `words`."""
    vocabulary = pairs.vocabulary(sorted(ranks, key=lambda token: ranks[token]))
    singles = np.array([ranks[bytes([byte])] for byte in range(256)], dtype=np.int32)
    return kernel(singles, vocabulary, pairs.spelled(vocabulary), pretokens.PATTERNS[pattern], cut, cut_bytes)


def kernel(
    singles: NDArray[np.int32],
    whole: pairs.Vocabulary,
    known: pairs.Pairs,
    digits: int,
    cut: Callable[[str], Iterator[str]],
    cut_bytes: int,
) -> Kernel:
    """Return an encoder: `singles` are the ids of the 256 bytes, `whole` the strings that are one token without merges,
    with their ids for numbers, and `known` the pairs of ids. `digits` is a value of `pretokens.PATTERNS`."""
    first = pairs.merges_of(known, np.repeat(singles, 256), np.tile(singles, 256))
    tables = (singles, first, whole, known)
    cache = words.empty()

    def step(text: Any, room: Room, out: Any, state: Ints) -> int:
        return _ENCODE(*text, digits, tables, cache, room, out, state)

    return Kernel(step, cut, cut_bytes)


@compiled
def _encode_piece(data: Bytes, at: int, stop: int, tables: Any, room: Any, out: Any, filled: int) -> int:
    """Write the ids of the pre-token ``data[at:stop]``, which the scratch has room for; return where they end."""
    singles, first, vocabulary, known = tables
    number = find(vocabulary[0], vocabulary[1], vocabulary[2], data, at, stop)
    if number >= 0:
        out[filled] = number
        return filled + 1
    symbols, merged = room[0], room[1]
    size = stop - at
    for byte in range(size):
        symbols[byte] = singles[data[at + byte]]
        if byte + 1 < size:
            merged[byte] = first[as_int(data[at + byte]) << 8 | as_int(data[at + byte + 1])]
    count = merge(room, size, known)
    for symbol in range(count):
        out[filled + symbol] = symbols[symbol]
    return filled + count


def _compile(sources: str) -> Any:
    """Return the compiled loop over texts; `sources` is a `source_digest`."""

    @cached
    def encode(
        data: Bytes,
        bounds: Ints,
        flags: Bytes,
        frame: Ints,
        ends: Ints,
        digits: int,
        tables: Any,
        cache: Words,
        room: Any,
        out: Any,
        state: Ints,
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        row, at, filled = state[0], state[1], state[2]
        singles, symbols = tables[0], room[0]
        while row < flags.size:
            if at < 0:
                if filled + 2 > out.size:
                    state[0], state[1], state[2], state[3] = row, at, filled, 2
                    return FULL
                at = bounds[row]
                if flags[row] & BEGINS and frame[0] >= 0:
                    out[filled] = frame[0]
                    filled += 1
            end = bounds[row + 1]
            while at < end:
                stop = pretoken_end(data, at, end, digits)
                size = stop - at
                # one more: room for the token that ends a document
                if filled + size >= out.size:
                    state[0], state[1], state[2], state[3] = row, at, filled, size + 1
                    return FULL
                if size > symbols.size:
                    state[0], state[1], state[2], state[3] = row, at, filled, size
                    return ROOM
                if size == 1:
                    out[filled] = singles[data[at]]
                    filled += 1
                elif size <= MAX_WORD_BYTES:
                    word = key(data, at, size)
                    slot = place(word)
                    entry = look_up(cache, slot, word)
                    if entry >= 0:
                        filled = copy(cache, entry, out, filled)
                    else:
                        begin = filled
                        filled = _encode_piece(data, at, stop, tables, room, out, filled)
                        remember(cache, slot, word, out, begin, filled)
                else:
                    filled = _encode_piece(data, at, stop, tables, room, out, filled)
                at = stop
            if flags[row] & ENDS and frame[1] >= 0:
                out[filled] = frame[1]
                filled += 1
            ends[row] = filled
            row += 1
            at = as_int(-1)
        state[0], state[1], state[2] = row, at, filled
        return DONE

    return encode


_ENCODE: Final = _compile(source_digest(*FILES))
