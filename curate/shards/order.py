"""The order in which samples are seen: a pure function of (fingerprint, seed, epoch).

A keyed permutation of 0 … size-1 by an alternating Feistel network over ceil(log2 size) bits with cycle walking (Black
and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002), so that no index array is ever stored: the row of any
sample of any epoch costs the same. Eight rounds of splitmix64 mixing; for shuffling, not for secrets.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.errors import ShardError

ROUNDS: Final = 8
Words = npt.NDArray[np.uint64]


def mix64(words: Words) -> Words:
    """Return the splitmix64 finaliser of each uint64 (Steele, Lea and Flood, 2014): a bijection on 64 bits."""
    mixed = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def order_key(fingerprint: str, seed: int, epoch: int) -> Words:
    """Return the round keys, uint64 [8], of one epoch's permutation."""
    digest = hashlib.sha512(f"{fingerprint}:{seed}:{epoch}".encode()).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def permute(positions: npt.NDArray[Any], size: int, key: Words) -> npt.NDArray[np.int64]:
    """Return the row, int64, at each of `positions` (integers in [0, size)) of the permutation that `key` selects."""
    if size < 1:
        raise ShardError("an empty set has no order")
    values = np.asarray(positions).astype(np.uint64)
    if len(values) and int(values.max()) >= size:
        raise ShardError(f"position {int(values.max())} is outside an epoch of {size} samples")
    bits = max(2, (size - 1).bit_length())
    values = _encrypt(values, bits, key)
    # the domain is below twice the size, so a walk takes two steps on average
    outside = np.flatnonzero(values >= size)
    while len(outside):
        values[outside] = _encrypt(values[outside], bits, key)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _encrypt(values: Words, bits: int, key: Words) -> Words:
    low_bits = np.uint64(bits // 2)
    low_mask = np.uint64((1 << (bits // 2)) - 1)
    high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
    high, low = values >> low_bits, values & low_mask
    for turn in range(0, ROUNDS, 2):
        high = high ^ (mix64(low + key[turn]) & high_mask)
        low = low ^ (mix64(high + key[turn + 1]) & low_mask)
    return np.asarray((high << low_bits) | low, dtype=np.uint64)
