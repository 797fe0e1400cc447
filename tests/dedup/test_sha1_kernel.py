"""SHA-1 of many strings at once is that of hashlib."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup.sha1_kernel import sha1_words


def plain(strings: list[bytes]) -> list[list[int]]:
    digests = [hashlib.sha1(one, usedforsecurity=False).digest() for one in strings]
    return [[int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")] for digest in digests]


def together(strings: list[bytes]) -> list[list[int]]:
    bounds = np.cumsum([0, *map(len, strings)])
    data = np.frombuffer(b"".join(strings), dtype=np.uint8)
    return sha1_words(data, bounds[:-1], bounds[1:]).tolist()


def test_strings_of_every_length_around_blocks() -> None:
    strings = [bytes(number % 251 for number in range(length)) for length in range(200)]
    assert together(strings) == plain(strings)


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_strings(strings: list[bytes]) -> None:
    assert together(strings) == plain(strings)


@pytest.mark.parametrize(
    ("text", "digest"),
    [(b"abc", "a9993e364706816aba3e25717850c26c"), (b"a" * 1_000_000, "34aa973cd4c4daa4f61eeb2bdbad2731")],
)
def test_examples_of_the_standard(text: bytes, digest: str) -> None:
    assert "".join(f"{word:016x}" for word in together([text])[0]) == digest
