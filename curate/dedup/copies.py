"""Which copies go: keys are counted over all documents, and units whose key is too frequent become cuts.

In the exchange a row is one key in one batch of documents: how often it is there, and the best document that holds it.
`frequent` sums the counts of each key over sorted rows in bounded memory and tells every part which of its keys went
over the bound, with the document whose copy stays where one is to stay. `chosen` marks the units that go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """A key over the bound: how often it was counted, the key, and the id of its best document, both as words."""

    times: int
    key: tuple[int, int]
    id: tuple[int, int]


def group_keys(key: Words, groups: Words) -> Words:
    """Return keys (uint64 [rows, 2]) that are equal if key and group (uint64 [rows]) are: a key is moved by a number
    that follows from its group, so that keys of one group stay apart."""
    return key ^ np.stack([_mix(groups * np.uint64(2)), _mix(groups * np.uint64(2) + np.uint64(1))], axis=1)


def _mix(values: Words) -> Words:
    """Return the splitmix64 hash of each number (Steele et al. 2014)."""
    values = values * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def count_keys(key: Words, documents: Words, *, by_document: bool) -> Counted:
    """Return each key once, counted by occurrences or by documents.

    key: uint64 [occurrences, 2]; documents: uint64 [occurrences, 3], (rank, id words) of the document of each.
    """
    columns = [key[:, 0], key[:, 1], documents[:, 0], documents[:, 1], documents[:, 2]]
    order = np.lexsort(columns[::-1])
    new_key = _changes([column[order] for column in columns[:2]])
    counted = _changes([column[order] for column in columns]) if by_document else np.ones(len(order), dtype=bool)
    starts = np.flatnonzero(new_key)
    count = np.add.reduceat(counted.astype(np.uint64), starts) if len(starts) else np.zeros(0, dtype=np.uint64)
    return Counted(key[order[starts]], order[starts], count)


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
    """Sums the counts of sorted rows; `top` holds the `size` most frequent keys over the bound, once all is taken."""

    def __init__(self, max_count: int, size: int = 50) -> None:
        self._max_count = max_count
        self._size = size
        self._open: _Open | None = None
        self.top: list[Frequent] = []
        self.keys = 0

    def take(self, chunks: Iterable[Columns]) -> Iterator[dict[str, NDArray[np.uint64]]]:
        """Yield FOUND columns, one row per row of a key that is counted more than `max_count` times: where it is, and
        the id of the best document that holds it. Each chunk has the columns KEY_SORT and ``count``, sorted."""
        for chunk in chunks:
            yield from self._take(dict(chunk))
        self._close()

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
        self._rank(totals[:-1], {name: column[:-1] for name, column in best.items()})
        last = int(starts[-1])
        held_rows = None if over[-1] else {name: column[last:].copy() for name, column in rows.items()}
        self._open = _Open(int(totals[-1]), {name: column[-1:].copy() for name, column in best.items()}, held_rows)

    def _close(self) -> None:
        if self._open is not None:
            self._rank(np.array([self._open.total]), self._open.best)
            self._open = None

    def _rank(self, totals: NDArray[np.int64], best: Columns) -> None:
        over = np.flatnonzero(totals > self._max_count)
        self.keys += len(over)
        most = over[np.lexsort((best["key_lo"][over], best["key_hi"][over], -totals[over]))[: self._size]]
        found = [
            Frequent(
                int(totals[row]),
                (int(best["key_hi"][row]), int(best["key_lo"][row])),
                (int(best["id_hi"][row]), int(best["id_lo"][row])),
            )
            for row in most.tolist()
        ]
        self.top = sorted([*self.top, *found], key=lambda entry: (-entry.times, entry.key))[: self._size]

    @staticmethod
    def _found(rows: Columns, best: Columns) -> dict[str, NDArray[np.uint64]]:
        return {name: best[name] if name.startswith("id_") else rows[name] for name in FOUND}


class Lookup:
    """Keys over the bound that one part holds, for looking many up."""

    def __init__(self, key: Words, document: Words) -> None:
        """key: uint64 [keys, 2], sorted, each at least once; document: uint64 [keys, 2], the best document's id."""
        keep = _changes([key[:, 0], key[:, 1]])
        self._key, self._document = key[keep], document[keep]
        runs = np.diff(np.flatnonzero(_changes([self._key[:, 0]])), append=len(self._key))
        self._most = int(runs.max(initial=0))

    def find(self, key: Words) -> tuple[NDArray[np.bool_], Words]:
        """Return which keys (uint64 [rows, 2]) are among them, and the id of the best document where they are."""
        found = np.zeros(len(key), dtype=bool)
        document = np.zeros((len(key), 2), dtype=np.uint64)
        first = np.searchsorted(self._key[:, 0], key[:, 0])
        # several keys may share their first word, if somebody took the pains
        for step in range(self._most):
            at = np.minimum(first + step, len(self._key) - 1)
            here = (self._key[at] == key).all(axis=1)
            found |= here
            document[here] = self._document[at[here]]
        return found, document


def chosen(
    key: Words, ids: Words, texts: Ints, lookup: Lookup, *, keep: Keep, once_a_document: bool
) -> NDArray[np.bool_]:
    """Return which occurrences go, bool [occurrences].

    key: uint64 [occurrences, 2], ids: uint64 [occurrences, 2], texts: int64 [occurrences], the number of their text,
    rising. Of a frequent key every occurrence goes or, with ``keep = "first"``, every one but the first in the best
    document. `once_a_document`: of a key that is not frequent, one copy a document stays.
    """
    gone, best = lookup.find(key)
    if keep == "first":
        held = np.flatnonzero(gone & (best == ids).all(axis=1))
        gone[held[_first_of_text(key[held], texts[held])]] = False
    elif once_a_document:
        gone |= ~_first_of_text(key, texts)
    return gone


def _first_of_text(key: Words, texts: Ints) -> NDArray[np.bool_]:
    """Return which occurrences are the first of their key in their text, bool [occurrences]."""
    # a stable sort: of equals the first one comes first
    order = np.lexsort((key[:, 1], key[:, 0], texts))
    first = np.zeros(len(key), dtype=bool)
    first[order[_changes([texts[order].astype(np.uint64), key[order, 0], key[order, 1]])]] = True
    return first


def covered(units: Units, first: Ints, span: int) -> NDArray[np.bool_]:
    """Return which units are in a run of `span` units that begins with one of the numbers `first`, bool [units]."""
    steps = np.zeros(len(units.starts) + 1, dtype=np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, first + span, -1)
    return np.cumsum(steps[:-1]) > 0
