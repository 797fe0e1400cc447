"""Units of a text, lines or sentences, whose copies line dedup removes: where they are, and their 128-bit keys.

Units tile a text: a line ends after its newline, a sentence after its terminal marks (``. ! ?`` and those of other
scripts) with the closing quotes and brackets behind them, if white space, the end or a mark of a script that writes no
spaces stands there; a line break ends a sentence, too. What is not part of a unit's content, the newline of a line, the
white space around a sentence, goes and stays with it.

A key is the first 128 bits of the SHA-1 of one or more units in a row, made comparable and joined by a space:

==============  ==================================================================================================
``strip``       the text without outer white space
``lower``       the same in lower case, as the code that built C4 (Raffel et al. 2020, TensorFlow Datasets)
``ccnet``       the same with every digit as 0 and without 34 marks and controls: CCNet's `normalize_for_dedup`
                (Wenzek et al. 2020, arXiv:1911.00359; ASCII punctuation and accents stay, as in its code)
``comparable``  words as in `curate.dedup.shingles`: what comes nearest to datatrove's `simplify_text`
==============  ==================================================================================================

CCNet keeps 64 bits of the same SHA-1; with 128, no line goes because another one has its hash. Lower case is Arrow's,
character by character, where Python's looks at the place of a sigma. A text has one key for every run of `span` units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.dedup import fold_table
from curate.dedup.sha1_kernel import sha1_words
from curate.dedup.shingles import comparable
from curate.dedup.units_kernel import cuts, sentence_ends, simplify
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Ints, Words

UnitKind = Literal["lines", "sentences"]
Normalise = Literal["strip", "lower", "ccnet", "comparable"]


class Units(NamedTuple):
    """The units of a batch of texts: those of text i are numbers bounds[i] to bounds[i + 1].

    bounds int64 [texts + 1]; starts and ends int64 [units], bytes of the own text: units tile it, so that each but the
    first begins where the one before it ends.
    """

    bounds: Ints
    starts: Ints
    ends: Ints

    def texts(self) -> Ints:
        """Return the number of the text of each unit, int64 [units]."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))


class Keys(NamedTuple):
    """The keys of runs of units: key uint64 [runs, 2], big-endian words; first int64 [runs], the number of the first
    unit of each; blank bool [runs], true where nothing is left to compare."""

    key: Words
    first: Ints
    blank: np.ndarray


class Cuts(NamedTuple):
    """The cuts of a batch of texts, as for `make_cuts`: text i loses [starts[k], ends[k]) for k in [lists[i],
    lists[i + 1]). int64 all."""

    lists: Ints
    starts: Ints
    ends: Ints


def split_units(text: pa.Array, kind: UnitKind) -> Units:
    """Return the units of each text (large_string [rows]); a null or empty text has none."""
    data, bounds = text_buffers(text)
    base, filled = int(bounds[0]), np.diff(bounds) > 0
    if kind == "lines":
        marks = data[base : bounds[-1]] == 0x0A
        marks[bounds[1:][filled] - base - 1] = True  # the end of a text ends a line, too
        ends = np.flatnonzero(marks) + base + 1
    else:
        room = np.empty(int(bounds[-1]) - base + len(text), dtype=np.int64)
        ends = room[: sentence_ends(data, bounds, room)].copy()
    numbers = np.searchsorted(ends, bounds, side="right")
    of_text = np.repeat(bounds[:-1], np.diff(numbers))
    starts = np.concatenate([bounds[:1], ends[:-1]])[: len(ends)]
    return Units(numbers - numbers[0], starts - of_text, ends - of_text)


def unit_keys(text: pa.Array, units: Units, normalise: Normalise, span: int = 1) -> Keys:
    """Return the key of each run of `span` units of one text. Cost: 3 to 6 ns a byte of web text on one core."""
    first = run_starts(units, span)
    data, bounds = _normalised(text, units, normalise)
    starts, ends = bounds[first], bounds[first + span] - 1
    return Keys(sha1_words(data, starts, ends), first, ends - starts == span - 1)


def run_starts(units: Units, span: int) -> Ints:
    """Return the numbers of the units from which `span` units of one text follow, int64 [runs]."""
    texts = units.texts()
    last = np.arange(len(texts)) + span <= units.bounds[1:][texts]
    return np.flatnonzero(last)


def unit_cuts(text: pa.Array, units: Units, gone: NDArray[np.bool_], kind: UnitKind, *, collapse: bool = False) -> Cuts:
    """Return the bytes of each text that go with its units `gone` (bool [units]).

    What stays of lines is joined by single newlines, as CCNet does; white space before the first sentence that stays
    goes. With `collapse`, blank lines behind a cut go as well if a blank line or nothing is left before it.
    """
    data, bounds = text_buffers(text)
    lists = np.zeros(len(bounds), dtype=np.int64)
    starts, ends = (np.empty(len(gone) + 1, dtype=np.int64) for _ in range(2))
    used = cuts(
        data, bounds, units.bounds, units.starts, units.ends, gone.view(np.uint8),
        kind == "lines", collapse, lists, starts, ends,
    )  # fmt: skip
    return Cuts(lists, starts[:used].copy(), ends[:used].copy())  # few: the room is given back


def _normalised(text: pa.Array, units: Units, normalise: Normalise) -> tuple[Bytes, Ints]:
    """Return (data, bounds int64 [units + 1]): what is compared of each unit, with one space behind each."""
    data, bounds = text_buffers(text)
    whole = data[bounds[0] : bounds[-1]]
    # units tile the texts, and texts tile the buffer
    sizes = np.concatenate([[0], np.cumsum(units.ends - units.starts)])
    column = pa.Array.from_buffers(
        pa.large_string(), len(units.starts), [None, pa.py_buffer(sizes), pa.py_buffer(whole)]
    )
    if normalise == "comparable":
        column = comparable(column)
    elif normalise in ("lower", "ccnet"):
        column = pc.utf8_lower(column)
    data, bounds = text_buffers(column)
    result = np.empty(int(bounds[-1] - bounds[0]) + len(units.starts), dtype=np.uint8)
    ends = np.zeros(len(bounds), dtype=np.int64)
    index, entries, _ = fold_table.load()
    level = {"comparable": 0, "strip": 1, "lower": 1, "ccnet": 2}[normalise]
    used = simplify(data, bounds, level, index, entries, result, ends)
    return result[:used], ends


def unit_texts(text: pa.Array, units: Units, numbers: Ints, span: int = 1) -> Iterator[str]:
    """Yield the text of runs of units, without outer white space."""
    data, bounds = text_buffers(text)
    texts = units.texts()
    for number in numbers.tolist():
        base = int(bounds[texts[number]])
        start, end = base + int(units.starts[number]), base + int(units.ends[number + span - 1])
        yield bytes(data[start:end]).decode(errors="replace").strip()
