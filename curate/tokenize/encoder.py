"""The encoder of batches: texts in pieces, most of them looked up in `words`, the others encoded by a vocabulary's own
rules, `bpe_kernel`'s or `spm_kernel`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from curate.text.compiled import Bytes, Ints, Words, as_int, cached, compiled, source_digest
from curate.tokenize import bpe_kernel, merges, pairs, pretokens, spm_kernel, words
from curate.tokenize.batches import BEGINS, DONE, ENDS, FULL, ROOM, Kernel, Room
from curate.tokenize.pretokens import pretoken_end
from curate.tokenize.words import MAX_WORD_BYTES, copy, key, look_up, place, remember

KERNELS: Final = (bpe_kernel.FILE, spm_kernel.FILE, merges.FILE, pairs.FILE, words.FILE, *pretokens.FILES)
FILES: Final = ("tokenize/encoder.py", "tokenize/batches.py", *KERNELS)


def kernel(
    tables: bpe_kernel.Tables | spm_kernel.Tables, cut: Callable[[str], Iterator[str]], cut_bytes: int
) -> Kernel:
    """Return the encoder of a vocabulary, with a cache of `words.CACHE_BYTES`; `cut` and `cut_bytes` as in `Kernel`."""
    cache = words.empty()
    tokens = tables if isinstance(tables, bpe_kernel.Tables) else None
    pieces = tables if isinstance(tables, spm_kernel.Tables) else None

    def step(text: Any, room: Room, out: Any, state: Ints) -> int:
        return _ENCODE(*text, tokens, pieces, cache, room, out, state)

    return Kernel(step, cut, cut_bytes)


# One of `tokens` and `pieces` is None, and the compiler leaves out what is behind a test for that.


@compiled
def _piece_end(data: Bytes, at: int, end: int, tokens: Any, pieces: Any) -> int:
    if tokens is not None:
        return pretoken_end(data, at, end, tokens[4])
    if pieces is not None:
        return spm_kernel.piece_end(data, at, end, pieces[3], pieces[4])
    return end


@compiled
def _single(byte: int, tokens: Any, pieces: Any) -> int:
    """The id of a byte that is a piece of its own."""
    if tokens is not None:
        return as_int(tokens[0][byte])
    if pieces is not None:
        return as_int(pieces[5][byte])
    return as_int(-1)


@compiled
def _prefix(pieces: Any) -> int:
    """The symbol of the space that is put before a text, -1 if none is."""
    if pieces is not None:
        return as_int(pieces[6])
    return as_int(-1)


@compiled
def _encode_piece(span: Any, prefix: int, tokens: Any, pieces: Any, room: Any, out: Any, filled: int) -> int:
    data, at, stop = span
    if tokens is not None:
        return bpe_kernel.encode_piece(data, at, stop, tokens, room, out, filled)
    if pieces is not None:
        return spm_kernel.encode_piece(data, at, stop, prefix, pieces, room, out, filled)
    return filled


def _compile(sources: str) -> Any:
    """Return the compiled loop over texts; `sources` is a `source_digest`."""

    @cached
    def encode(
        data: Bytes,
        bounds: Ints,
        flags: Bytes,
        frame: Ints,
        ends: Ints,
        tokens: Any,
        pieces: Any,
        cache: Words,
        room: Any,
        out: Any,
        state: Ints,
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        row, at, filled = state[0], state[1], state[2]
        symbols = room[0]
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
                stop = _piece_end(data, at, end, tokens, pieces)
                size = stop - at
                # two more: room for the space before a text, and for the token that ends it
                if filled + size + 1 >= out.size:
                    state[0], state[1], state[2], state[3] = row, at, filled, size + 2
                    return FULL
                if size + 1 > symbols.size:
                    state[0], state[1], state[2], state[3] = row, at, filled, size + 1
                    return ROOM
                prefix = _prefix(pieces) if at == bounds[row] and flags[row] & BEGINS else as_int(-1)
                if prefix >= 0:
                    filled = _encode_piece((data, at, stop), prefix, tokens, pieces, room, out, filled)
                elif size == 1:
                    out[filled] = _single(as_int(data[at]), tokens, pieces)
                    filled += 1
                elif size <= MAX_WORD_BYTES:
                    word = key(data, at, size)
                    slot = place(word)
                    entry = look_up(cache, slot, word)
                    if entry >= 0:
                        filled = copy(cache, entry, out, filled)
                    else:
                        begin = filled
                        filled = _encode_piece((data, at, stop), prefix, tokens, pieces, room, out, filled)
                        remember(cache, slot, word, out, begin, filled)
                else:
                    filled = _encode_piece((data, at, stop), prefix, tokens, pieces, room, out, filled)
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
