"""SHA-1 (FIPS 180-4, section 6.1) of many short byte strings in a row, without a Python object for each.

It serves to tell texts apart as hashlib's does, bit for bit, and for nothing that must be secret. Sixteen strings are
hashed at a time, a block of each in a lane of vectors; a lane whose string has ended takes the next one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types

from curate.text.compiled import (
    WORD,
    Bytes,
    Hashes,
    Ints,
    Words,
    as_hash,
    cached,
    compiled,
    load_part,
    pointer,
    source_digest,
    splat,
    typed_intrinsic,
)

BLOCK: Final = 64
LANES: Final = 16
LANE_WORDS: Final = ir.VectorType(ir.IntType(32), LANES)
START: Final = tuple(np.uint32(word) for word in (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0))
CONSTANTS: Final = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)
U8, U32 = np.uint64(8), np.uint64(32)
EVEN_BYTES, EVEN_PAIRS, PAIR_BITS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(16)


def _rounds(builder: Any, words: list[Any], state: list[Any]) -> list[Any]:
    """Return the sums of `state` (five vectors) and what the 80 rounds over 16 words (vectors) make of it."""

    def rotated(value: Any, count: int) -> Any:
        left = builder.shl(value, splat(LANE_WORDS, count))
        return builder.or_(left, builder.lshr(value, splat(LANE_WORDS, 32 - count)))

    def mixed(turn: int, b: Any, c: Any, d: Any) -> Any:
        if turn < 20:
            return builder.xor(d, builder.and_(b, builder.xor(c, d)))
        if 40 <= turn < 60:
            return builder.or_(builder.and_(b, c), builder.and_(d, builder.or_(b, c)))
        return builder.xor(builder.xor(b, c), d)

    a, b, c, d, e = state
    for turn in range(80):
        if turn >= 16:
            both = [builder.xor(words[turn - one], words[turn - other]) for one, other in ((3, 8), (14, 16))]
            words.append(rotated(builder.xor(*both), 1))
        fixed = builder.add(builder.add(e, words[turn]), splat(LANE_WORDS, CONSTANTS[turn // 20]))
        total = builder.add(builder.add(rotated(a, 5), mixed(turn, b, c, d)), fixed)
        a, b, c, d, e = total, a, rotated(b, 30), c, d
    return [builder.add(before, after) for before, after in zip(state, (a, b, c, d, e), strict=True)]


@typed_intrinsic
def _add_blocks(typing_context: Any, schedule: Any, state: Any) -> Any:
    """Take a block of each lane, uint32 [16, LANES] of big-endian words, into its state, uint32 [5, LANES]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def rows(argument: int, count: int) -> list[Any]:
            array, kind = args[argument], signature.args[argument]
            places = [ir.Constant(WORD, row * LANES) for row in range(count)]
            return [pointer(context, builder, array, kind, place, LANE_WORDS) for place in places]

        words = [builder.load(row, align=4) for row in rows(0, 16)]
        found = _rounds(builder, words, [builder.load(row, align=4) for row in rows(1, 5)])
        for row, value in zip(rows(1, 5), found, strict=True):
            builder.store(value, row, align=4)
        return context.get_dummy_value()

    return types.void(schedule, state), codegen


@compiled
def _swapped(value: Any) -> Any:
    """Eight bytes in the other order."""
    value = ((value & EVEN_BYTES) << U8) | ((value >> U8) & EVEN_BYTES)
    value = ((value & EVEN_PAIRS) << PAIR_BITS) | ((value >> PAIR_BITS) & EVEN_PAIRS)
    return (value << U32) | (value >> U32)


@compiled
def _fill(data: Bytes, start: int, end: int, at: int, schedule: Hashes, lane: int) -> bool:
    """Write the block of data[start:end] that begins at `at` to a lane; return whether it is the last one. Behind the
    data there is a one and, in the last eight bytes of the last block, the number of bits."""
    last = end - at < BLOCK - 8
    for word in range(8):
        place = at + 8 * word
        value = load_part(data, place, end - place)
        if place <= end < place + 8:
            value |= np.uint64(0x80) << (np.uint64(end - place) * U8)
        value = _swapped(value)
        if last and word == 7:
            value = np.uint64(8 * (end - start))
        schedule[2 * word * LANES + lane] = as_hash(value >> U32)
        schedule[(2 * word + 1) * LANES + lane] = as_hash(value)
    return last


def _compile(sources: str) -> Any:
    """Return the compiled loop over strings; `sources` is a `source_digest`."""

    @cached
    def _digests(
        data: Bytes, starts: Ints, ends: Ints, rows: Ints, places: Ints, schedule: Hashes, state: Hashes, words: Words
    ) -> None:
        """`rows` and `places` are of a lane: the string in it, and how far that is done."""
        sources  # noqa: B018 - part of the key of the cache on disk
        following = 0
        for lane in range(LANES):
            rows[lane] = starts.size  # none
        while True:
            ended = 0  # a bit for each lane whose string ends with this block
            idle = 0
            for lane in range(LANES):
                if rows[lane] == starts.size and following < starts.size:
                    rows[lane], places[lane] = following, starts[following]
                    following += 1
                    for word in range(5):
                        state[word * LANES + lane] = START[word]
                row = rows[lane]
                if row == starts.size:
                    idle += 1
                elif _fill(data, starts[row], ends[row], places[lane], schedule, lane):
                    ended |= 1 << lane
                else:
                    places[lane] += BLOCK
            if idle == LANES:
                break
            _add_blocks(schedule, state)
            for lane in range(LANES):
                if ended >> lane & 1:
                    for half in range(2):
                        high = np.uint64(state[2 * half * LANES + lane])
                        words[rows[lane], half] = (high << U32) | np.uint64(state[(2 * half + 1) * LANES + lane])
                    rows[lane] = starts.size

    return _digests


_DIGESTS = _compile(source_digest("dedup/sha1_kernel.py"))


def sha1_words(data: Bytes, starts: Ints, ends: Ints) -> Words:
    """Return the first 128 bits of the SHA-1 of each data[start:end] as big-endian words, uint64 [strings, 2].

    data: uint8; starts, ends: int64 [strings]. Cost: about 30 ns a string and 0.6 ns a byte on one core.
    """
    words = np.empty((len(starts), 2), dtype=np.uint64)
    rows, places = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    schedule, state = np.zeros(16 * LANES, np.uint32), np.zeros(5 * LANES, np.uint32)
    _DIGESTS(data, starts, ends, rows, places, schedule, state, words)
    return words
