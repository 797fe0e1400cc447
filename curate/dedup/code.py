"""Source files as symbols: what their shingles are made of, so that a copy with other names is still a near-duplicate.

The lexer knows no language, only what most of them share. Words that are reserved somewhere stay what they are; every
other word, whatever its name, is one symbol, every number another, every string in quotes a third; comments (``//``,
``/* */``, ``#`` after white space unless it is C's preprocessor or an attribute) and white space are nothing; each
mark is a symbol of its own. A string that is not closed ends with its line; one in three quotes may have many. Where
a language thinks otherwise (``//`` divides in Python, ``'`` begins a lifetime in Rust), the symbols are others than
its own lexer's, but the same for each copy.

After renaming, a copy has the very same symbols. Different files share more of them than of words: use longer
shingles than for text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.dedup.code_kernel import SOURCES, fold_code
from curate.dedup.fold_kernel import GROWTH, SLACK
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Ints, cached, source_digest


def code_symbols(text: pa.Array) -> pa.Array:
    """Return the symbols of each source file (large_string [rows]), a space after each: ``if i > 0 : ``. Null is
    empty."""
    data, bounds = text_buffers(text)
    longest = int(np.diff(bounds).max(initial=0))
    result = np.empty(2 * int(bounds[-1] - bounds[0]), dtype=np.uint8)
    ends = np.zeros(bounds.size, dtype=np.int64)
    used = _SYMBOLS(data, bounds, np.empty(GROWTH * longest + SLACK, dtype=np.uint8), ends, result)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(result[:used].tobytes())]
    return pa.Array.from_buffers(pa.large_string(), len(text), buffers)


def _compile(sources: str) -> Any:
    """Return the compiled loop over files; `sources` is a `source_digest`."""

    @cached
    def _symbols(data: Bytes, bounds: Ints, folded: Bytes, ends: Ints, result: Bytes) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            size = fold_code(data[bounds[row] : bounds[row + 1]], folded)
            for at in range(size):
                result[used + at] = folded[at]
            used += size
            ends[row + 1] = used
        return used

    return _symbols


_SYMBOLS = _compile(source_digest(*SOURCES, "dedup/fold_*"))
