"""The readable definition of the C4 line cleaner, in plain Python. The kernel must agree with it on any bytes."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from curate.filters import unicode_table as unicode

CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")
PHRASES = "javascript|terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
POLICY = re.compile(PHRASES.partition("|")[2], re.IGNORECASE | re.ASCII)
JAVASCRIPT = re.compile("javascript", re.IGNORECASE | re.ASCII)


class Outcome(NamedTuple):
    text: str
    lines: int
    causes: dict[str, int]
    citations: int


@functools.cache
def is_space(character: str) -> bool:
    return bool(unicode.flags_of(character) & unicode.SPACE)


def strip(text: str) -> str:
    while text and is_space(text[0]):
        text = text[1:]
    while text and is_space(text[-1]):
        text = text[:-1]
    return text


def split_words(text: str) -> list[str]:
    return "".join(" " if is_space(c) else c for c in text).split(" ")


def clean(text: str, end_marks: str, min_words: int, count_citations: bool) -> Outcome:
    kept: list[str] = []
    causes = dict.fromkeys(("long_word", "no_end_mark", "few_words", "javascript", "policy"), 0)
    lines = citations = 0
    for line in map(strip, text.split("\n")):
        if not line:
            continue
        lines += 1
        pieces = CITATION.split(line)
        bare = "".join(pieces)
        words = [word for word in split_words(line if count_citations else bare) if word]
        if any(len(word) > 1000 for word in split_words(line)):
            causes["long_word"] += 1
        elif end_marks and (not bare.endswith(tuple(end_marks)) or bare.endswith("...")):
            causes["no_end_mark"] += 1
        elif len(words) < min_words:
            causes["few_words"] += 1
        elif any(JAVASCRIPT.search(piece) for piece in pieces):
            causes["javascript"] += 1
        elif any(POLICY.search(piece) for piece in pieces):
            causes["policy"] += 1
        else:
            kept.append(bare)
            citations += len(pieces) - 1
    return Outcome(strip("\n".join(kept)), lines, causes, citations)
