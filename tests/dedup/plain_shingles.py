"""The readable definition of shingles in plain Python. The kernel must agree with it on any bytes.

Nothing is shared with the kernel but the table of characters and the hash of a shingle, which is plain Python itself.
"""

from __future__ import annotations

import re
import unicodedata

from curate.dedup import fold_table
from curate.dedup.shingles import hash_shingle

NUMBER = re.compile(f"0+([{fold_table.SEPARATORS}]0+)?")


def comparable(text: str) -> str:
    """A text as it is compared: words of letters and digits, one space between them."""
    some = [character for character in text if kind_of(character) != fold_table.NOTHING]
    digits = "".join("0" if kind_of(character) == fold_table.DIGIT else character for character in some)
    return " ".join("".join(fold(character) for character in NUMBER.sub("0", digits)).split())


def kind_of(character: str) -> int:
    return fold_table.entry_of(character) & fold_table.KIND


def fold(character: str) -> str:
    kind = kind_of(character)
    payload = fold_table.entry_of(character) & fold_table.PAYLOAD
    if kind == fold_table.LETTER:
        return chr(payload) if payload else character
    if kind == fold_table.PAIR:
        return "".join(map(chr, fold_table.load()[2][payload].tolist()))
    if kind == fold_table.HANGUL:
        return unicodedata.normalize("NFD", character)
    return {fold_table.DIGIT: "0", fold_table.GAP: " ", fold_table.NOTHING: ""}[kind]


def units(text: str, unit: str) -> list[str]:
    """The words or characters that n-grams are made of."""
    words = comparable(text).split()
    characters = list("".join(words))
    unspaced = sum(bool(fold_table.entry_of(character) & fold_table.UNSPACED) for character in characters)
    if unit == "characters" or (unit == "auto" and unspaced and unspaced / len(characters) >= 0.2):
        return characters
    return words


def ngrams(text: str, n: int, unit: str) -> list[tuple[str, ...]]:
    """Every n-gram of a text, in order and with repetitions."""
    found = units(text, unit)
    return [tuple(found[start : start + n]) for start in range(len(found) - n + 1)]


def shingles(text: str, n: int, unit: str) -> list[int]:
    """The hashes of the n-grams of a text, ascending, each once."""
    return sorted({hash_shingle(ngram) for ngram in ngrams(text, n, unit)})
