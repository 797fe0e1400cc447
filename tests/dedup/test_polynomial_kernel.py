"""The rolling hash equals the polynomial in Python's integers, however it is come by."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.polynomial_kernel import BASE, PRIME, advanced, leaving


def plain(data: bytes) -> int:
    """The polynomial of some bytes."""
    value = 0
    for byte in data:
        value = (value * int(BASE) + byte + 1) % int(PRIME)
    return value


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_whole_hash_and_one_after_steps_are_the_polynomial(data: bytes, draw: st.DataObject) -> None:
    size = draw.draw(st.integers(1, len(data)))
    buffer = np.frombuffer(data, dtype=np.uint8)
    polynomial, known = np.uint64(0), -1
    for place in sorted(draw.draw(st.sets(st.integers(0, len(data) - size)))):
        found, looked_at = advanced(polynomial, buffer, known, place, size, leaving(size))
        assert found == plain(data[place : place + size])
        assert looked_at <= size
        polynomial, known = np.uint64(found), place


def test_words_that_share_every_polynomial_modulo_a_power_of_two_are_apart() -> None:
    word = b"a"
    for _ in range(11):
        word += word.translate(bytes.maketrans(b"ab", b"ba"))
    other = word.translate(bytes.maketrans(b"ab", b"ba"))
    assert (plain(word) - plain(other)) % int(PRIME) != 0
    hashes = {
        int(advanced(np.uint64(0), np.frombuffer(one, np.uint8), -1, 0, 2048, leaving(2048))[0])
        for one in (word, other)
    }
    assert len(hashes) == 2
