from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.tokenize import pretokens, pretokens_table
from curate.tokenize.pretokens import LLAMA3_PATTERN, PATTERNS, boundaries

EVERY_KIND = "a Z9éſÉ'sSdDlLrReEvVmMtT \t\n\r\x0b\x1c\x85\xa0\u2028\u3000.,!-_\u0301\u0915\u093f世界١½²🙂\x00\U0010ffff"


def oracle(text: str, pattern: str) -> list[int]:
    """Return where the matches of the pattern end, in bytes, by the ``regex`` module."""
    found = [match.group() for match in regex.finditer(pattern, text)]
    assert "".join(found) == text
    return np.cumsum([len(one.encode()) for one in found], dtype=np.int64).tolist()


def ours(texts: list[str], pattern: str) -> list[int]:
    data = [text.encode() for text in texts]
    bounds = np.cumsum([0, *map(len, data)], dtype=np.int64)
    return boundaries(b"".join(data), bounds, pattern).tolist()


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=EVERY_KIND, max_size=30))
@example("it's IT'S 'ſo 'Re 'VE 'll 'lx 'r")
@example("  \n \n\n  x   1234567 \t.\r\n\r\n")
def test_every_pattern_is_split_as_by_its_regular_expression(pattern: str, text: str) -> None:
    assert ours([text], pattern) == oracle(text, pattern)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40).filter(lambda text: not unlike(text)))
def test_any_text_is_split_as_by_the_regular_expression(text: str) -> None:
    assert ours([text], LLAMA3_PATTERN) == oracle(text, LLAMA3_PATTERN)


def unlike(text: str) -> bool:
    """Return whether the text has a character that the ``regex`` module's version of Unicode classes otherwise."""
    index, flags = pretokens_table.load()
    kinds = [flags[(int(index[ord(char) >> 8]) << 8) | (ord(char) & 255)] for char in text]
    return any(
        bool(kind & flag) != bool(regex.match(pattern, char))
        for char, kind in zip(text, kinds, strict=True)
        for flag, pattern in ((1, r"\p{L}"), (2, r"\p{N}"), (4, r"\s"))
    )


def test_a_text_never_reaches_into_the_next() -> None:
    texts = ["", "a", "b ", " ", "c", "12", "345", "'", "s", "\n"]
    starts = np.cumsum([0, *map(len, texts)])
    alone = [
        int(start) + end for start, text in zip(starts, texts, strict=False) for end in ours([text], LLAMA3_PATTERN)
    ]
    assert ours(texts, LLAMA3_PATTERN) == alone


def test_the_classes_are_those_of_the_installed_tiktoken() -> None:
    assert pretokens_table.FILE.read_bytes() == pretokens_table.build().astype("<u2").tobytes()


def test_white_space_is_pythons_in_the_guard_and_unicodes_in_the_pattern() -> None:
    index, flags = pretokens_table.load()
    every = flags.reshape(-1, 256)[index].reshape(-1)
    assert [chr(at) for at in np.flatnonzero(every & pretokens_table.PYTHON_SPACE)] == [
        chr(point) for point in range(0x110000) if chr(point).isspace()
    ]
    assert np.flatnonzero((every & pretokens_table.PYTHON_SPACE) & ~(every << 2)).tolist() == [0x1C, 0x1D, 0x1E, 0x1F]


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(KeyError):
        boundaries(b"a", np.array([0, 1]), r"\S+|\s+")
    assert pretokens.LLAMA3_PATTERN in PATTERNS


CRAWL_BYTES = 4_000_000
"""Of each file of the sample crawl: the raw archive, which is HTML in many languages, and some binary."""


@pytest.mark.slow
def test_the_sample_crawl_is_split_as_by_the_regular_expression(shared_data: Path) -> None:
    for path in sorted((shared_data / "sample-crawl").glob("*.gz")):
        with gzip.open(path, "rb") as stream:
            text = stream.read(CRAWL_BYTES).decode("utf-8", errors="replace")
        strange = [char for char in set(text) if unlike(char)]
        assert len(strange) < 20
        for char in strange:
            text = text.replace(char, "")
        assert ours([text], LLAMA3_PATTERN) == oracle(text, LLAMA3_PATTERN)
