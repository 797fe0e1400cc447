"""Which copies go: keys are counted over all documents, and units whose key is too frequent become cuts.

In the exchange a row is one key in one batch of documents: how often it is there, and the best document that holds it.
`Frequencies` sums the counts of each key over sorted rows in bounded memory and tells every part which of its keys went
over the bound, with the document whose copy stays where one is to stay. `chosen` marks the units that go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.dedup.copies_kernel import count_rows, find_rows, mark_first_of_text, number_rows
from curate.dedup.units import Units
from curate.text.compiled import Ints, Words

Keep = Literal["none", "first"]
Columns = Mapping[str, NDArray[np.uint64]]
KEY_SORT: Final = ("key_hi", "key_lo", "rank", "id_hi", "id_lo", "part")
FOUND: Final = ("part", "key_hi", "key_lo", "id_hi", "id_lo")


class Counted(NamedTuple):
    """Rows of one batch, each key once: key uint64 [rows, 2]; best int64 [rows], the number of the occurrence in the
    best document, by (rank, id); counts uint64 [rows]."""

    key: Words
    best: Ints
    counts: Words


class Frequent(NamedTuple):
    """What keys over the bound have in common that share their first word, the same text in several groups: how often
    they were counted in all, the first of them, and the id of its best document, both as words."""

    times: int
    key: tuple[int, int]
    id: tuple[int, int]


def group_keys(key: Words, groups: Words) -> Words:
    """Return keys (uint64 [rows, 2]) that are equal if key and group (uint64 [rows]) are: the second word is moved by a
    number that follows from the group. The first says what the keys of all groups have in common, and brings them
    together in an exchange."""
    return np.column_stack([key[:, 0], key[:, 1] ^ _mix(groups * np.uint64(2) + np.uint64(1))])


def _mix(values: Words) -> Words:
    """Return the splitmix64 hash of each number (Steele et al. 2014)."""
    values = values * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class _Numbered(NamedTuple):
    """Keys by number, in the order in which they first come: numbers int64 [rows]; firsts int64 [different keys], the
    row of the first of each; slots, the table of them."""

    numbers: Ints
    firsts: Ints
    slots: Ints


def _numbered(key: Words) -> _Numbered:
    """Return the numbers of keys, uint64 [rows, 2]."""
    key = np.ascontiguousarray(key)
    slots = np.empty(max(16, 1 << (2 * len(key) - 1).bit_length()), dtype=np.int64)
    numbers, firsts = np.empty(len(key), dtype=np.int64), np.empty(len(key), dtype=np.int64)
    used = number_rows(key, slots, numbers, firsts)
    return _Numbered(numbers, firsts[:used].copy(), slots)


def count_keys(key: Words, documents: Words, *, by_document: bool) -> Counted:
    """Return each key once, counted by occurrences or by documents.

    key: uint64 [occurrences, 2]; documents: uint64 [occurrences, 3], (rank, id words) of the document of each; those of
    one document follow each other.
    """
    numbers, firsts, _ = _numbered(key)
    best, counts = firsts.copy(), np.zeros(len(firsts), dtype=np.uint64)
    count_rows(numbers, np.ascontiguousarray(documents), by_document, firsts.copy(), best, counts)
    return Counted(key[firsts], best, counts)


def _changes(columns: list[NDArray[np.uint64]]) -> NDArray[np.bool_]:
    """Return which rows differ from the row before them, bool [rows]; the first one does."""
    changed = np.ones(len(columns[0]), dtype=bool)
    changed[1:] = False
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed


class _Open(NamedTuple):
    """The last key so far: its sum, its best row, and its rows while the sum is not over the bound (each counts at
    least one, so there are few)."""

    total: int
    best: Mapping[str, NDArray[np.uint64]]
    held: Mapping[str, NDArray[np.uint64]] | None


class Frequencies:
    """Sums the counts of sorted rows; once all is taken, `texts` is the number of texts over the bound (keys that share
    their first word are one), and `top` holds the `size` that were counted most often."""

    def __init__(self, max_count: int, size: int = 50) -> None:
        self._max_count = max_count
        self._size = size
        self._open: _Open | None = None
        self._text: Frequent | None = None  # the last one so far: more of its keys may come
        self.top: list[Frequent] = []
        self.texts = 0

    def take(self, chunks: Iterable[Columns]) -> Iterator[dict[str, NDArray[np.uint64]]]:
        """Yield FOUND columns, one row per row of a key that is counted more than `max_count` times: where it is, and
        the id of the best document that holds it. Each chunk has the columns KEY_SORT and ``count``, sorted."""
        for chunk in chunks:
            yield from self._take(dict(chunk))
        self._close()
        if self._text is not None:
            self._rank([self._text])
            self._text = None

    def _take(self, rows: dict[str, NDArray[np.uint64]]) -> Iterator[dict[str, NDArray[np.uint64]]]:
        if self._open is not None and self._open.held is None:
            same = (rows["key_hi"] == self._open.best["key_hi"]) & (rows["key_lo"] == self._open.best["key_lo"])
            count = int(same.sum())  # sorted: they come first
            if count:
                head = {name: column[:count] for name, column in rows.items()}
                yield self._found(head, {name: np.repeat(self._open.best[name], count) for name in head})
                self._open = self._open._replace(total=self._open.total + int(head["count"].sum()))
                rows = {name: column[count:] for name, column in rows.items()}
        elif self._open is not None and self._open.held is not None:
            held = self._open.held
            rows = {name: np.concatenate([held[name], column]) for name, column in rows.items()}
            self._open = None
        if not len(rows["count"]):
            return
        self._close()
        starts = np.flatnonzero(_changes([rows["key_hi"], rows["key_lo"]]))
        totals = np.add.reduceat(rows["count"], starts).astype(np.int64)
        group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows["count"])))
        over = totals > self._max_count
        told = np.flatnonzero(over[group])
        best = {name: column[starts] for name, column in rows.items()}
        yield self._found(
            {name: column[told] for name, column in rows.items()},
            {name: column[group[told]] for name, column in best.items()},
        )
        self._add(totals[:-1], {name: column[:-1] for name, column in best.items()})
        last = int(starts[-1])
        held_rows = None if over[-1] else {name: column[last:].copy() for name, column in rows.items()}
        self._open = _Open(int(totals[-1]), {name: column[-1:].copy() for name, column in best.items()}, held_rows)

    def _close(self) -> None:
        if self._open is not None:
            self._add(np.array([self._open.total]), self._open.best)
            self._open = None

    def _add(self, totals: NDArray[np.int64], best: Columns) -> None:
        """Take in the next keys, with the total and the best row of each."""
        over = np.flatnonzero(totals > self._max_count)
        heads = np.flatnonzero(_changes([best["key_hi"][over]]))
        if not len(heads):
            return
        sums, rows = np.add.reduceat(totals[over], heads), over[heads]
        if self._text is not None and self._text.key[0] == best["key_hi"][rows[0]]:
            self._text = self._text._replace(times=self._text.times + int(sums[0]))
            sums, rows = sums[1:], rows[1:]
        if not len(rows):
            return
        self.texts += len(rows)
        # the last one may go on; of the others more than `size` are of no use
        most = np.lexsort((rows[:-1], -sums[:-1]))[: self._size]
        found = [
            Frequent(
                int(sums[place]),
                (int(best["key_hi"][rows[place]]), int(best["key_lo"][rows[place]])),
                (int(best["id_hi"][rows[place]]), int(best["id_lo"][rows[place]])),
            )
            for place in [*most.tolist(), len(rows) - 1]
        ]
        self._rank([*found[:-1], *([self._text] if self._text is not None else [])])
        self._text = found[-1]

    def _rank(self, found: list[Frequent]) -> None:
        self.top = sorted([*self.top, *found], key=lambda entry: (-entry.times, entry.key))[: self._size]

    @staticmethod
    def _found(rows: Columns, best: Columns) -> dict[str, NDArray[np.uint64]]:
        return {name: best[name] if name.startswith("id_") else rows[name] for name in FOUND}


class Lookup:
    """Keys over the bound that one part holds, for looking many up."""

    def __init__(self, key: Words, document: Words) -> None:
        """key: uint64 [keys, 2], each at least once; document: uint64 [keys, 2], the best document's id, or [0, 2] if
        nobody asks for it."""
        self._key, self.document = np.ascontiguousarray(key), document
        _, self._firsts, self._slots = _numbered(self._key)

    def find(self, key: Words) -> Ints:
        """Return which of the known keys each of these is (uint64 [rows, 2]), int64 [rows]; -1 for none."""
        rows = np.empty(len(key), dtype=np.int64)
        find_rows(np.ascontiguousarray(key), self._key, self._firsts, self._slots, rows)
        return rows


def chosen(
    key: Words, ids: Words, texts: Ints, lookup: Lookup, *, keep: Keep, once_a_document: bool
) -> NDArray[np.bool_]:
    """Return which occurrences go, bool [occurrences].

    key: uint64 [occurrences, 2], ids: uint64 [occurrences, 2], texts: int64 [occurrences], the number of their text,
    rising. Of a frequent key every occurrence goes or, with ``keep = "first"``, every one but the first in the best
    document. `once_a_document`: of a key that is not frequent, one copy a document stays.
    """
    rows = lookup.find(key)
    gone = rows >= 0
    if keep == "first":
        held = np.flatnonzero(gone)
        held = held[(lookup.document[rows[held]] == ids[held]).all(axis=1)]
        gone[held[_first_of_text(key[held], texts[held])]] = False
    elif once_a_document:
        gone |= ~_first_of_text(key, texts)
    return gone


def _first_of_text(key: Words, texts: Ints) -> NDArray[np.bool_]:
    """Return which occurrences are the first of their key in their text, bool [occurrences]."""
    numbers, firsts, _ = _numbered(key)
    first = np.empty(len(key), dtype=bool)
    mark_first_of_text(numbers, texts, np.full(len(firsts), -1, dtype=np.int64), first)
    return first


def covered(units: Units, first: Ints, span: int) -> NDArray[np.bool_]:
    """Return which units are in a run of `span` units that begins with one of the numbers `first`, bool [units]."""
    steps = np.zeros(len(units.starts) + 1, dtype=np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, first + span, -1)
    return np.cumsum(steps[:-1]) > 0
