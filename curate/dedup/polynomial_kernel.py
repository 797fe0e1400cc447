"""The numba code of a rolling hash of bytes: a polynomial modulo the prime 2^61 - 1 (Karp and Rabin 1987).

Modulo 2^64 it would cost a third, but all Thue-Morse words of one length would share a hash, whatever the base is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.text.compiled import Bytes, compiled, multiply_61

BASE = np.uint64(0x1E3779B97F4A7C15)  # under 2^61
PRIME = np.uint64((1 << 61) - 1)
U1 = np.uint64(1)


@compiled
def leaving(size: int) -> Any:
    """What a byte counts for once `size` bytes have come after it."""
    power = U1
    for _ in range(size):
        power = multiply_61(power, BASE)
    return power


@compiled
def _sum(left: Any, right: Any) -> Any:
    total = left + right
    return total - PRIME if total >= PRIME else total


@compiled
def _appended(polynomial: Any, factor: Any, byte: Any) -> Any:
    return _sum(multiply_61(polynomial, factor), np.uint64(byte) + U1)


@compiled
def _hash(data: Bytes, start: int, size: int) -> Any:
    """The polynomial of `size` bytes from `start` on, in four that do not wait for each other."""
    square = multiply_61(BASE, BASE)
    fourth = multiply_61(square, square)
    first, second, third, last = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    at = start + (size & 3)
    for place in range(start, at):
        last = _appended(last, BASE, data[place])
    while at < start + size:
        first = _appended(first, fourth, data[at])
        second = _appended(second, fourth, data[at + 1])
        third = _appended(third, fourth, data[at + 2])
        last = _appended(last, fourth, data[at + 3])
        at += 4
    upper = multiply_61(_sum(multiply_61(first, BASE), second), square)
    return _sum(upper, _sum(multiply_61(third, BASE), last))


@compiled
def advanced(polynomial: Any, data: Bytes, known: int, wanted: int, size: int, leaves: Any) -> tuple[Any, int]:
    """Return (the hash of the `size` bytes at `wanted`, how many bytes were looked at), from that of those at `known`,
    a place before it, or negative if there is none; `leaves` is `leaving(size)`. A step costs about four bytes of a
    whole one."""
    if known < 0 or 4 * (wanted - known) > size:
        return _hash(data, wanted, size), size
    for at in range(known, wanted):
        gone = PRIME - multiply_61(np.uint64(data[at]) + U1, leaves)
        polynomial = _sum(_appended(polynomial, BASE, data[at + size]), gone)
    return polynomial, wanted - known
