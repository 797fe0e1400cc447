"""How each tokenizer cuts the shipped texts: the pieces that a page colours side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from curate.tokenize.compare_counts import Vocabulary
from curate.tokenize.compare_samples import ENGLISH, parallel_sentences, programs

CODE_LINES: Final = 8
SENTENCE: Final = 0
UNKNOWN: Final = "unknown"


def segments(vocabularies: Sequence[Vocabulary]) -> list[dict[str, Any]]:
    """Return for the first shipped sentence in each language, English first, and the first lines of each program
    {language, text, pieces}: the pieces of each tokenizer in order. A piece that is no whole characters is a list of
    one string, its bytes in hexadecimal; for the unknown token it is ``unknown``."""
    languages = sorted(parallel_sentences(), key=lambda code: (code != ENGLISH, code))
    texts = [(code, parallel_sentences()[code][SENTENCE]) for code in languages]
    texts += [(name, "".join(text.splitlines(keepends=True)[:CODE_LINES])) for name, text in programs().items()]
    return [
        {"language": name, "text": text, "pieces": [pieces(item, text) for item in vocabularies]}
        for name, text in texts
    ]


def pieces(vocabulary: Vocabulary, text: str) -> list[str | list[str]]:
    """Return the tokens of `text`: see `segments`."""
    shown: list[str | list[str]] = []
    for token in vocabulary.tokenizer.encode_text(text):
        spelled = vocabulary.spelled[int(token)]
        try:
            shown.append(spelled.decode() if spelled else [UNKNOWN])
        except UnicodeDecodeError:
            shown.append([spelled.hex(" ")])
    return shown
