"""Documents near the line: for a reason, the dropped (or kept) documents whose signal is nearest to the bound.

Distance is ``|value - bound| / |bound|`` (``|value|`` for a bound of 0), so that bounds of any scale compare. Kept
documents are those that came nearest to failing, with every rule in its turn. What has no such distance (lists,
duplicates, missing signals) comes in an order drawn by id, the same at every call. One part of the run is looked at
after the other: memory is the verdicts and a few signals of one part, and what is shown.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from curate.engine.tasks import FileRef
from curate.errors import RecipeError
from curate.filters.decide import Columns, applies
from curate.filters.rules import ResolvedRule
from curate.filters.tables import suggestion
from curate.pipelines.parts import parquet_file
from curate.report.nearness import NO_DISTANCE, bound_text, distances_to
from curate.report.rows import open_file, read_columns, read_rows, with_beginnings
from curate.report.run_folder import DEDUP_STAGES, PartFiles, RunFolder, read_run
from curate.report.terminal import place_text

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


class Sample(NamedTuple):
    """One document near the line of `reason`. `value` and `bound` are None where the reason has none; `also` are the
    other rules that the document fails; `kept_id` is the document that a duplicate was dropped for; `text` is the
    beginning of the extracted text; `detail` says what was wrong with a record in error."""

    id: str
    url: str | None
    source: str
    reason: str
    signal: str | None
    value: float | int | str | bool | None
    bound: str | None
    distance: float | None
    also: Sequence[str]
    kept_id: str | None
    text: str
    detail: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the sample as plain JSON data."""
        return {**self._asdict(), "also": list(self.also)}


class _Found(NamedTuple):
    """A candidate: ordered by distance, then by a key drawn from its id."""

    distance: float
    key: int
    part: int
    row: int
    reason: str
    bound: str | None
    value: Any


def read_samples(run: str, reason: str | None = None, *, number: int = 10, kept: bool = False) -> list[Sample]:
    """Return `number` documents nearest to the line of `reason`: those that were dropped for it, or with `kept` those
    that passed it and were kept. A reason is a rule (``c4.sentences``), a whole filter (``c4``), a dedup step
    (``duplicate.exact``) or an error (``error.html_too_deep``); None means every rule.

    Raises RecipeError for a folder that is no run and for a reason that no step of it has.
    """
    folder = read_run(run)
    if reason is not None and (reason == "error" or reason.startswith("error.")):
        return _rejects(folder, reason, number)
    rules = folder.rules()
    names = _matching(folder, rules, reason)
    parts = folder.parts()
    if parts and all(part.verdicts is None for part in parts):
        raise _undecided(folder)
    found: list[_Found] = []
    for index, part in enumerate(parts):
        if part.verdicts is None:
            continue
        chosen = [rules[name] for name in names if name in rules]
        if kept:
            found = _best_of_each([*found, *_kept_candidates(folder, index, part, names, chosen, number)], number)
        else:
            found = heapq.nsmallest(number, [*found, *_dropped_candidates(folder, index, part, names, chosen, number)])
    return _samples(folder, parts, _in_turn(found, number) if kept else found)


def _best_of_each(found: Sequence[_Found], number: int) -> list[_Found]:
    """Return the `number` nearest candidates of each rule, nearest first."""
    left = Counter[str]()
    best = []
    for one in sorted(found):
        left[one.reason] += 1
        best += [one] if left[one.reason] <= number else []
    return best


def _in_turn(found: Sequence[_Found], number: int) -> list[_Found]:
    """Return `number` documents, nearest first: of each rule the nearest one, then of each the next that is not there
    yet, and so on, so that a rule which most documents come near to does not hide the others."""
    chosen: dict[tuple[int, int], _Found] = {}
    # what has no distance comes after everything that has one
    for without in (False, True):
        queues: dict[str, deque[_Found]] = {}
        for one in sorted(found):
            if (one.distance == NO_DISTANCE) == without:
                queues.setdefault(one.reason, deque()).append(one)
        while queues and len(chosen) < number:
            for reason, queue in list(queues.items()):
                while queue and (queue[0].part, queue[0].row) in chosen:
                    queue.popleft()
                if not queue:
                    del queues[reason]
                elif len(chosen) < number:
                    one = queue.popleft()
                    chosen[one.part, one.row] = one
    return sorted(chosen.values())


def _undecided(folder: RunFolder) -> RecipeError:
    where = place_text(folder.uri)
    return RecipeError(f"{where}: nothing is decided yet ({folder.unfinished}); finish the run first")


def _matching(folder: RunFolder, rules: Mapping[str, ResolvedRule], reason: str | None) -> list[str]:
    """Return the reasons that a name stands for: itself, or every rule of the filter."""
    known = list(rules)
    known += [phase.tasks[0]["settings"]["reason"] for phase in folder.phases if phase.stage in DEDUP_STAGES]
    names = [name for name in known if reason is None or name == reason or name.startswith(f"{reason}.")]
    if not known:
        raise _undecided(folder)
    if not names:
        why = "is counted but not stored" if str(reason).startswith("skipped") else "is no reason of this run"
        told = f"--reason {reason}: {why}{suggestion(reason, known)}; reasons:"
        raise RecipeError("\n  ".join([told, *known]))
    return names


def _signals(folder: RunFolder, part: PartFiles, rules: Sequence[ResolvedRule]) -> Columns:
    wanted = dict.fromkeys(("id", *(name for rule in rules for name in rule.signals())))
    columns: dict[str, pa.ChunkedArray] = {}
    for ref in (part.signals, *part.measured):
        with open_file(folder, ref) as stream:
            file = parquet_file(stream, ref)
            here = [name for name in wanted if name in file.schema_arrow.names and name not in columns]
            columns |= dict(zip(here, file.read(columns=here).columns, strict=True))
    return Columns(pa.table(columns))


def _dropped_candidates(
    folder: RunFolder, index: int, part: PartFiles, names: Sequence[str], rules: Sequence[ResolvedRule], number: int
) -> Iterator[_Found]:
    """Yield the nearest of the documents that were dropped (or marked) for each reason."""
    assert part.verdicts is not None
    verdicts = read_columns(folder, part.verdicts, ["id", "reason", "marks"])
    columns = _signals(folder, part, rules)
    by_name = {rule.reason: rule for rule in rules}
    for name in names:
        rule = by_name.get(name)
        if rule is not None and rule.action == "mark":
            hit = _lists_holding(verdicts.column("marks").combine_chunks(), name)
        else:
            hit = pc.equal(verdicts.column("reason"), name).fill_null(False).to_numpy()
        rows = np.flatnonzero(hit)
        if len(rows):
            yield from _nearest(columns, index, rows, name, rule, number, failing=True)


def _kept_candidates(
    folder: RunFolder, index: int, part: PartFiles, names: Sequence[str], rules: Sequence[ResolvedRule], number: int
) -> Iterator[_Found]:
    """Yield for each rule the kept documents that came nearest to failing it."""
    assert part.verdicts is not None
    keep = read_columns(folder, part.verdicts, ["keep"]).column("keep").to_numpy()
    columns = _signals(folder, part, rules)
    if not rules:
        # a dedup step has no signal: any kept document is as near to it as another
        yield from _nearest(columns, index, np.flatnonzero(keep), names[0], None, number, failing=False)
        return
    for rule in rules:
        rows = np.flatnonzero(keep & applies(rule, columns, np.zeros(len(keep), dtype=bool)))
        yield from _nearest(columns, index, rows, rule.reason, rule, number, failing=False)


def _lists_holding(lists: pa.ListArray, name: str) -> NDArray[np.bool_]:
    """Return which lists of strings hold `name`, bool [rows]."""
    held = np.zeros(len(lists), dtype=bool)
    parents = pc.list_parent_indices(lists).to_numpy()
    held[parents[pc.equal(pc.list_flatten(lists), name).to_numpy(zero_copy_only=False)]] = True
    return held


def _nearest(
    columns: Columns,
    part: int,
    rows: NDArray[np.int64],
    name: str,
    rule: ResolvedRule | None,
    number: int,
    *,
    failing: bool,
) -> Iterator[_Found]:
    """Yield the `number` of `rows` nearest to the bounds of `rule`."""
    if not len(rows):
        return
    distances, sides = distances_to(columns, rule, rows, failing=failing)
    # ids are hashes already; the multiplication only keeps "lowest id first", by which dedup chooses, out of the order
    keys = columns.ties()[rows] * GOLDEN
    for at in np.lexsort((keys, distances))[:number].tolist():
        row = int(rows[at])
        value = None if rule is None else columns.array(rule.signal)[row].as_py()
        bound = None if rule is None else bound_text(columns, rule, row, ("low", "high")[sides[at]], distances[at])
        yield _Found(float(distances[at]), int(keys[at]), part, row, name, bound, value)


def _samples(folder: RunFolder, parts: Sequence[PartFiles], found: Sequence[_Found]) -> list[Sample]:
    """Return the documents of the candidates, in their order, reading only the row groups that hold one."""
    rules = folder.rules()
    samples: dict[_Found, Sample] = {}
    for index in sorted({one.part for one in found}):
        wanted = {one.row: one for one in found if one.part == index}
        part = parts[index]
        assert part.verdicts is not None
        verdicts = read_columns(folder, part.verdicts, ["reason", "failed", "kept_id"])
        for row, document in _documents(folder, part.documents, sorted(wanted)):
            one = wanted[row]
            kept_id = verdicts.column("kept_id")[row].as_py()
            samples[one] = Sample(
                id=document["id"].hex(),
                url=document["url"],
                source=document["source"],
                reason=one.reason,
                signal=rules[one.reason].signal if one.reason in rules else None,
                value=one.value,
                bound=one.bound,
                distance=None if one.distance == NO_DISTANCE else one.distance,
                also=[name for name in verdicts.column("failed")[row].as_py() if name != one.reason],
                kept_id=kept_id.hex() if kept_id else None,
                text=document["text"],
            )
    return [samples[one] for one in found]


def _documents(folder: RunFolder, ref: FileRef, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number, the first characters and the origin) of some rows of a documents file."""
    for numbers, table in read_rows(folder, ref, rows, ["id", "url", "source", "text"]):
        yield from zip(numbers, with_beginnings(table).to_pylist(), strict=True)


def _rejects(folder: RunFolder, reason: str, number: int) -> list[Sample]:
    """Return records that could not become documents, in an order drawn by id."""
    found: list[tuple[int, Sample]] = []
    kinds: set[str] = set()
    for phase in folder.of_stage("collect"):
        for receipt in phase.done:
            kinds |= {name for name in receipt.stats if name.startswith("error.")}
            for ref in receipt.files("rejects"):
                rows = read_columns(folder, ref, ["id", "url", "source", "reason", "detail"])
                if reason != "error":
                    rows = rows.filter(pc.equal(rows.column("reason"), reason))
                for row in rows.to_pylist():
                    found.append((xxhash.xxh3_64_intdigest(row["id"]), _reject(row)))
                found = heapq.nsmallest(number, found, key=lambda item: (item[0], item[1].id))
    if not found:
        known = ", ".join(sorted(kinds)) or "none"
        raise RecipeError(f"--reason {reason}: no record has it{suggestion(reason, kinds)}; errors: {known}")
    return [sample for _, sample in found]


def _reject(row: Mapping[str, Any]) -> Sample:
    return Sample(
        id=row["id"].hex(),
        url=row["url"],
        source=row["source"],
        reason=row["reason"],
        signal=None,
        value=None,
        bound=None,
        distance=None,
        also=[],
        kept_id=None,
        text="",
        detail=row["detail"],
    )
