"""Listed words in a text: the rule of C4 that removes pages with words of LDNOOBW (Raffel et al. 2020,
arXiv:1910.10683, section 2.2).

Signal ``bad_words.count``: the places of a text where a word of its language's list begins. Case does not count. A
listed word may hold spaces. It must not touch a letter, number or underscore on either side; in Japanese, Thai and
Chinese, which write no spaces, it may. Two listed words that begin at one place count once, one inside another counts
too. Null where the language has no list or is not known.

The language is ``language.code`` of the extracted text, also on the view of a cleaner. The lists are the asset
``bad-words``, or a user's JSON file of the same form: words by language code.

Presence agrees with C4's code (tensorflow/datasets, c4_utils.get_badwords_filter_fn) and datatrove's C4BadWordsFilter,
with the exceptions that they allow in Japanese and Chinese, but for this: listed words are put in lower case as texts
are. There they are not, so that what a list writes with a capital, such as most of its Spanish, is never found.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from curate.errors import AssetError
from curate.filters import unicode_table as unicode
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Flags, Ints, as_int, cached, compiled, source_digest
from curate.text.utf8 import decode, letters_end

ASSET: Final = "bad-words"
SIGNALS: Final[dict[str, str]] = {"bad_words.count": "int64"}
GIVEN: Final = ("language.code",)

UNSPACED: Final = frozenset({"ja", "th", "zh"})
"""Languages whose listed words are found inside of other words, too."""
# Common parts of harmless words: each of them alone would remove a tenth of the pages of its language. By the
# xxh3-64 of their UTF-8, since no listed word is written down here.
ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "ja": frozenset({"39280da7319b5227", "80da195926c4721c", "84911989b646ca5c"}),
    "zh": frozenset({"4c14a991bcc1446a"}),
}

WORD: Final = 0x8000
SYMBOL: Final = 0x7FFF
CAPITAL_I_WITH_DOT: Final = 0x130  # the only character whose lower case is two: i and
DOT_ABOVE: Final = 0x307
FINAL_SIGMA: Final = ("ς", "σ")  # str.lower() chooses between them by position: here they are one letter

Targets = NDArray[np.int32]
Marks = NDArray[np.bool_]


class Lists(NamedTuple):
    """The words of all languages as one trie of symbols: 0 is no listed character, the others are those in the lists.

    numbers: list by language code. table: uint16 [0x110000], the symbol of each code point's lower case, with the flag
    WORD for letters, numbers and the underscore. roots: int32 [lists, symbols], the state after the first character,
    -1 for none. edges: int64 [states + 1], where the edges of a state begin in the parallel arrays symbols (uint16,
    ascending in each state) and targets (int32). final: bool [states], whether a word ends here. spaced: bool [lists].
    """

    numbers: Mapping[str, int]
    table: Flags
    roots: Targets
    edges: Ints
    symbols: Flags
    targets: Targets
    final: Marks
    spaced: Marks


def measure_bad_words(text: pa.Array, assets: Mapping[str, str], language: pa.Array) -> dict[str, pa.Array]:
    """Return bad_words.count (int64) for each text; null where the text is null or its language has no list.

    text: large_string [rows]. `assets["bad-words"]`: the local path of the lists. language: string [rows], the codes.
    Raises AssetError if the file holds no such lists. Cost: about 7 ns per byte of English, less than half of the
    text statistics.
    """
    lists = load_lists(assets[ASSET])
    data, bounds = text_buffers(text)
    numbers = np.array([lists.numbers.get(code, -1) for code in language.to_pylist()], dtype=np.int64)
    counts = np.zeros(len(text), dtype=np.int64)
    _COUNT(data, bounds, numbers, *lists[1:], counts)
    missing = text.is_null().to_numpy(zero_copy_only=False) | (numbers < 0)
    return {"bad_words.count": pa.array(counts, mask=missing)}


def load_lists(path: str) -> Lists:
    """Return the word lists in the JSON file at `path`; AssetError if it holds something else. Equal contents are
    compiled once per process."""
    try:
        return _parsed(Path(path).read_bytes())
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        form = '{"en": ["word", "two words"]}'
        raise AssetError(f"{path}: not word lists; expected a JSON object such as {form} ({error})") from error


@functools.lru_cache(maxsize=4)
def _parsed(content: bytes) -> Lists:
    """Return the word lists in JSON, compiled; ValueError says what is wrong with them."""
    lists = json.loads(content)
    if not isinstance(lists, dict) or not lists:
        raise ValueError("no object with lists")
    for code, words in lists.items():
        if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
            raise ValueError(f"{code!r} has no list of words")
    return _compiled_lists({code: _prepared(code, words) for code, words in sorted(lists.items())})


def _prepared(code: str, words: Sequence[str]) -> list[str]:
    """Return the different words that count, in lower case, in an order of their own."""
    stripped = {word.strip() for word in words}
    allowed = ALLOWED.get(code, frozenset())
    counted = {word for word in stripped if xxhash.xxh3_64_hexdigest(word.encode()) not in allowed}
    return sorted({word.lower().replace(*FINAL_SIGMA) for word in counted})


def _compiled_lists(lists: Mapping[str, Sequence[str]]) -> Lists:
    characters = sorted({character for words in lists.values() for word in words for character in word})
    if len(characters) > SYMBOL:
        raise ValueError(f"they have {len(characters)} different characters, the limit is {SYMBOL}")
    symbol_of = {character: number for number, character in enumerate(characters, 1)}
    children: list[dict[int, int]] = []
    final: list[bool] = []

    def new_state() -> int:
        children.append({})
        final.append(False)
        return len(final) - 1

    roots = np.full((len(lists), len(characters) + 1), -1, dtype=np.int32)
    for number, words in enumerate(lists.values()):
        root: dict[int, int] = {}
        for word in words:
            here = root
            for character in word:
                symbol = symbol_of[character]
                if symbol not in here:
                    here[symbol] = new_state()
                state = here[symbol]
                here = children[state]
            final[state] = True
        roots[number, list(root)] = list(root.values())
    ordered = [sorted(edges.items()) for edges in children]
    return Lists(
        {code: number for number, code in enumerate(lists)},
        _table(symbol_of),
        roots,
        np.cumsum([0, *map(len, ordered)], dtype=np.int64),
        np.array([symbol for edges in ordered for symbol, _ in edges], dtype=np.uint16),
        np.array([target for edges in ordered for _, target in edges], dtype=np.int32),
        np.array(final, dtype=np.bool_),
        np.array([code not in UNSPACED for code in lists], dtype=np.bool_),
    )


def _table(symbol_of: Mapping[str, int]) -> Flags:
    """Return the symbol and the flag of each code point. Only characters that the shipped Unicode table knows have a
    lower case other than themselves, so that Python versions agree."""
    index, flags = unicode.load()
    classes = flags.reshape(-1, 256)[index].reshape(-1)
    table = np.zeros(0x110000, dtype=np.uint16)
    for point in np.flatnonzero(classes).tolist():
        lower = chr(point).lower().replace(*FINAL_SIGMA)
        table[point] = symbol_of.get(lower, 0)
    for character, symbol in symbol_of.items():
        table[ord(character)] = symbol
    table[(classes & (unicode.LETTER | unicode.NUMBER)) != 0] |= WORD
    table[ord("_")] |= WORD
    return table


@compiled
def _lower(data: Bytes, at: int, end: int, dotted: bool) -> tuple[int, int, bool]:
    """The code point at `at`, whether the one after it is the dot of a capital I, and where that is. Lower case is
    left to the table but for this one letter, which is two in lower case."""
    if dotted:
        return DOT_ABOVE, at + 2, False
    point, width = decode(data, at, end)
    if point == CAPITAL_I_WITH_DOT:
        return 0x69, at, True
    return point, at + width, False


@compiled
def _step(state: int, symbol: int, edges: Ints, symbols: Flags, targets: Targets) -> int:
    """The state after `symbol`, -1 for none. States have few edges, and the first characters a table of their own."""
    for edge in range(edges[state], edges[state + 1]):
        if as_int(symbols[edge]) == symbol:
            return as_int(targets[edge])
    return -1


@compiled
def _ends(
    data: Bytes,
    at: int,
    end: int,
    dotted: bool,
    state: int,
    table: Flags,
    edges: Ints,
    symbols: Flags,
    targets: Targets,
    final: Marks,
    spaced: bool,
) -> bool:
    """Whether a listed word of which `state` is the beginning goes on at `at` to its end."""
    while at < end:
        point, at, dotted = _lower(data, at, end, dotted)
        entry = as_int(table[point])
        if final[state] and not (spaced and entry & WORD):
            return True
        state = _step(state, entry & SYMBOL, edges, symbols, targets)
        if state < 0:
            return False
    return bool(final[state])


def _compile(sources: str) -> Any:
    """Return the compiled loop over texts; `sources` is a `source_digest`."""

    @cached
    def _count(
        data: Bytes,
        bounds: Ints,
        numbers: Ints,
        table: Flags,
        roots: Targets,
        edges: Ints,
        symbols: Flags,
        targets: Targets,
        final: Marks,
        spaced: Marks,
        counts: Ints,
    ) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for text in range(bounds.size - 1):
            number = numbers[text]
            if number < 0:
                continue
            apart = spaced[number]
            at, end = bounds[text], bounds[text + 1]
            dotted = False
            inside = False  # a word of the text
            while at < end:
                point, at, dotted = _lower(data, at, end, dotted)
                entry = as_int(table[point])
                if not (apart and inside):
                    state = as_int(roots[number, entry & SYMBOL])
                    if state >= 0:
                        found = _ends(data, at, end, dotted, state, table, edges, symbols, targets, final, apart)
                        counts[text] += found
                inside = entry & WORD != 0
                if apart and inside and not dotted:
                    at = min(letters_end(data, at), end)  # no listed word begins there

    return _count


_COUNT: Final = _compile(source_digest("filters/bad_words.py", "filters/unicode_table.*"))
