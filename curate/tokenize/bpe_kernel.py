"""Byte-level BPE on UTF-8 bytes: the ids of one pre-token, by one lookup or by merges.

The ids of ranks are those of ``tiktoken``: a pre-token that is in the vocabulary is one token even where no merge leads
to it; any other is merged from its bytes by rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.text.compiled import Bytes, Spans, as_int, compiled
from curate.tokenize import pairs, pretokens
from curate.tokenize.merges import merge
from curate.tokenize.pairs import find

FILE: Final = "tokenize/bpe_kernel.py"


class Tables(NamedTuple):
    """What encoding reads.

    ``singles``: the ids of the 256 bytes; ``first``: the merges of two bytes int32 [65536] at first << 8 | second;
    ``whole``: the strings that are one token without merges, with their ids for numbers; ``known``: the pairs of ids;
    ``digits``: a value of `pretokens.PATTERNS`.
    """

    singles: Spans
    first: Spans
    whole: pairs.Vocabulary
    known: pairs.Pairs
    digits: int


def supports(ranks: Mapping[bytes, int], pattern: str) -> bool:
    """Return whether there are tables with these ranks (0, 1, 2, …, all single bytes among them) and pattern."""
    return (
        pattern in pretokens.PATTERNS
        and len(ranks) <= pairs.MAX_SYMBOLS
        and max(map(len, ranks)) <= pairs.MAX_TOKEN_BYTES
    )


def tables_of_ranks(ranks: Mapping[bytes, int], pattern: str) -> Tables:
    """Return the tables of ranks that are supported: about 12 MB for 128,000 of them."""
    vocabulary = pairs.vocabulary(sorted(ranks, key=lambda token: ranks[token]))
    singles = np.array([ranks[bytes([byte])] for byte in range(256)], dtype=np.int32)
    return tables(singles, vocabulary, pairs.spelled(vocabulary), pattern)


def tables(singles: NDArray[np.int32], whole: pairs.Vocabulary, known: pairs.Pairs, pattern: str) -> Tables:
    """Return the tables of ids, as `Tables` says of each."""
    first = pairs.merges_of(known, np.repeat(singles, 256), np.tile(singles, 256))
    return Tables(singles, first, whole, known, pretokens.PATTERNS[pattern])


@compiled
def encode_piece(data: Bytes, at: int, stop: int, tables: Any, room: Any, out: Any, filled: int) -> int:
    """Write the ids of the pre-token ``data[at:stop]``, which the scratch has room for; return where they end."""
    singles, first, vocabulary, known = tables[0], tables[1], tables[2], tables[3]
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
