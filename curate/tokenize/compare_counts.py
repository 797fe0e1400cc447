"""What is counted of each document for each tokenizer, and the ratios that are made of those counts.

The columns are integers that add up over documents; every figure of a comparison is one column over another
(`RATIOS`), so that each has a bootstrap interval. Fertility is the number of tokens that hold a byte of a word, and
continued words are those of more than one token (Rust et al. 2021, arXiv:2012.15613).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.tokenize.compare_spans import Shape, cuts_inside, tokens_within
from curate.tokenize.compare_vocabulary import BLANK, FALLBACK, PARTIAL, spellings, token_flags
from curate.tokenize.tokenizer import Tokenizer

COLUMNS: Final = (
    *("documents", "bytes", "characters", "tokens", "fits", "blank", "fallback", "partial"),
    *("words", "worded_tokens", "word_tokens", "continued"),
    *("numbers", "digits", "number_tokens", "levels", "indent_tokens"),
)
COLUMN: Final[Mapping[str, int]] = {name: number for number, name in enumerate(COLUMNS)}
"""``worded_tokens`` are the tokens of documents that have words; from ``words`` on, documents whose tokens do not give
back their bytes count as nothing."""

RATIOS: Final[Mapping[str, tuple[str, str]]] = {
    "bytes_per_token": ("bytes", "tokens"),
    "characters_per_token": ("characters", "tokens"),
    "words_per_token": ("words", "worded_tokens"),
    "fertility": ("word_tokens", "words"),
    "continued_words_share": ("continued", "words"),
    "byte_fallback_share": ("fallback", "tokens"),
    "partial_characters_share": ("partial", "tokens"),
    "white_space_share": ("blank", "tokens"),
    "tokens_per_number": ("number_tokens", "numbers"),
    "tokens_per_digit": ("number_tokens", "digits"),
    "tokens_per_indent_level": ("indent_tokens", "levels"),
    "tokens_per_document": ("tokens", "documents"),
    "documents_that_fit_share": ("fits", "documents"),
}
"""Name of each figure: (column above, column below)."""


class Vocabulary(NamedTuple):
    """A tokenizer to compare: the bytes of each id, their lengths (int64 [ids]) and flags (uint8 [ids])."""

    name: str
    tokenizer: Tokenizer
    spelled: list[bytes]
    lengths: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]


class Encoded(NamedTuple):
    """A document's tokens: ids, the end of each in bytes of the text (int64 [tokens]), and the bytes that come back."""

    ids: npt.NDArray[Any]
    ends: npt.NDArray[np.int64]
    decoded: bytes


def vocabulary(name: str, tokenizer: Tokenizer) -> Vocabulary:
    """Return what the counts need to know of a tokenizer."""
    spelled = spellings(tokenizer)
    lengths = np.array([len(token) for token in spelled], dtype=np.int64)
    return Vocabulary(name, tokenizer, spelled, lengths, token_flags(spelled))


def encode(vocabulary: Vocabulary, text: str) -> Encoded:
    """Return the tokens of a text. A space that the tokenizer puts before the text has no byte of it."""
    ids = vocabulary.tokenizer.encode_text(text)
    decoded = vocabulary.tokenizer.decode_bytes(ids)
    ends = np.cumsum(vocabulary.lengths[ids])
    added = int(ends[-1]) - len(decoded) if len(ends) else 0
    return Encoded(ids, ends - added, decoded)


def count(found: Encoded, shape: Shape, flags: npt.NDArray[np.uint8], *, context_length: int, exact: bool) -> list[int]:
    """Return the `COLUMNS` of one document; `exact` says that its tokens gave back its bytes."""
    of_tokens = flags[found.ids]
    shares = [int(np.count_nonzero(of_tokens & flag)) for flag in (BLANK, FALLBACK, PARTIAL)]
    tokens = len(found.ids)
    row = [1, shape.bytes, shape.characters, tokens, int(tokens <= context_length), *shares]
    if not exact:
        return row + [0] * (len(COLUMNS) - len(row))
    cuts = cuts_inside(shape.words, found.ends)
    words = len(cuts)
    row += [words, tokens if words else 0, int(cuts.sum()) + words, int(np.count_nonzero(cuts))]
    numbers = len(shape.numbers.starts)
    row += [numbers, shape.digits, int(cuts_inside(shape.numbers, found.ends).sum()) + numbers]
    return [*row, shape.levels, int(tokens_within(shape.indents, found.ends).sum())]
