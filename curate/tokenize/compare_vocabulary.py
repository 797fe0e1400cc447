"""What a tokenizer's vocabulary is used for: tokens that a text gives often, rarely or never, and those that none can.

An id of the vocabulary is one of: *special* (spells nothing), *frequent* (at least `RARE` times on the text), *rare*
(fewer times), and among those that the text never gives: *unreachable* (its own text, alone, after a line break or a
letter, or before a letter, is encoded without it: Land & Bartolo 2024, arXiv:2405.05417), *partial* (bytes
that are no whole characters; not tried) and *dead* (the rest).

A *glitch candidate* is never given although the text spells it at least `OFTEN_SPELLED` times: every time it was only
a step on the way to a longer token, so that a model trained on the text would never learn it (the "scaffold tokens" of
Lian et al. 2024, arXiv:2404.17808). How often is counted in the tokens that are given: a lower bound. Whether a model
has learned a token is told by its embeddings only, which are not looked at.

Rényi efficiency is the entropy of order 2.5 of the tokens' frequencies over the logarithm of the vocabulary's size
(Zouhar et al. 2023, arXiv:2306.16842), specials left out of that size.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.tokenize.compare_intervals import rounded
from curate.tokenize.tokenizer import Tokenizer

RARE: Final = 10
OFTEN_SPELLED: Final = 100
RENYI_ORDER: Final = 2.5
EXAMPLES: Final = 20
SPECIAL, BLANK, FALLBACK, PARTIAL = 1, 2, 4, 8
_LEAD: Final = "x"
_CONTEXTS: Final = (("", ""), ("\n", ""), ("x", ""), ("", "x"), ("\n", "x"), ("x", "x"))


def spellings(tokenizer: Tokenizer) -> list[bytes]:
    """Return the bytes of every id inside a text, b"" for special ones and the unknown token."""
    # behind a letter: what begins a text may lose a space that SentencePiece put there
    lead = [int(i) for i in tokenizer.encode_text(_LEAD)]
    skip = len(tokenizer.token_bytes(lead))
    spelled = [tokenizer.token_bytes([*lead, i])[skip:] for i in range(tokenizer.vocab_size)]
    if tokenizer.unk_id is not None:
        spelled[tokenizer.unk_id] = b""  # it stands for any text
    return spelled


def token_flags(spelled: list[bytes]) -> npt.NDArray[np.uint8]:
    """Return for each id, uint8 [ids], which of these it is: SPECIAL, BLANK (nothing but white space), FALLBACK (one
    byte that is no character), PARTIAL (bytes that are no whole characters)."""
    flags = np.zeros(len(spelled), dtype=np.uint8)
    for i, token in enumerate(spelled):
        text = _whole(token)
        if not token:
            flags[i] = SPECIAL
        elif text is None:
            flags[i] = PARTIAL | (FALLBACK if len(token) == 1 else 0)
        elif text.isspace():
            flags[i] = BLANK
    return flags


def vocabulary_use(
    tokenizer: Tokenizer, spelled: list[bytes], flags: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Return how the ids of `tokenizer` are used on a text that gave each of them `counts` times (int64 [ids])."""
    special = (flags & SPECIAL) != 0
    never = (counts == 0) & ~special
    partial = never & ((flags & PARTIAL) != 0)
    tried = np.flatnonzero(never & ~partial)
    unreachable = [int(i) for i in tried if not _reachable(tokenizer, int(i), spelled[i].decode())]
    candidates = _glitch_candidates(spelled, counts, set(tried.tolist()) - set(unreachable))
    size = len(spelled) - int(special.sum())
    return {
        "ids": len(spelled),
        "special": int(special.sum()),
        "frequent": int(np.count_nonzero((counts >= RARE) & ~special)),
        "rare": int(np.count_nonzero((counts > 0) & (counts < RARE) & ~special)),
        "dead": len(tried) - len(unreachable),
        "partial": int(partial.sum()),
        "unreachable": len(unreachable),
        "unreachable_tokens": [{"id": i, "text": spelled[i].decode()} for i in unreachable[:EXAMPLES]],
        "glitch_candidates": len(candidates),
        "glitch_tokens": [
            {"id": i, "text": spelled[i].decode(), "spelled": times} for i, times in candidates[:EXAMPLES]
        ],
        "renyi_efficiency": renyi_efficiency(counts, size),
    }


def renyi_efficiency(counts: npt.NDArray[np.int64], vocabulary: int) -> float | None:
    """Return the Rényi efficiency, 0 to 1, of tokens given `counts` times from a `vocabulary` of that size; None
    without tokens or with fewer than two of them to choose from."""
    given = counts[counts > 0].tolist()
    if not given or vocabulary < 2:
        return None
    total = sum(given)
    powers = math.fsum((count / total) ** RENYI_ORDER for count in given)
    entropy = math.log(powers) / (1 - RENYI_ORDER)
    # one token alone has an entropy of -0.0
    return rounded(max(0.0, entropy) / math.log(vocabulary))


def _whole(token: bytes) -> str | None:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return None


def _reachable(tokenizer: Tokenizer, token: int, text: str) -> bool:
    return any(token in tokenizer.encode_text(before + text + after) for before, after in _CONTEXTS)


def _glitch_candidates(spelled: list[bytes], counts: npt.NDArray[np.int64], dead: set[int]) -> list[tuple[int, int]]:
    """Return (id, times) of `dead` tokens that longer ones spelled at least `OFTEN_SPELLED` times, most often first."""
    wanted = {spelled[i]: i for i in sorted(dead, reverse=True)}
    lengths = sorted({len(token) for token in wanted})
    times: dict[int, int] = {}
    for i in np.flatnonzero(counts):
        token, count = spelled[i], int(counts[i])
        for length in lengths:
            if length >= len(token):
                break
            for start in range(len(token) - length + 1):
                inner = wanted.get(token[start : start + length])
                if inner is not None:
                    times[inner] = times.get(inner, 0) + count
    found = [(i, number) for i, number in times.items() if number >= OFTEN_SPELLED]
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))
