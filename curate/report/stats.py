"""Who dropped what: the funnel of a run from records to kept documents, and the same by language and by source.

Every number is a sum of integers that tasks wrote into their receipts: no document is looked at. That they add up (in =
kept + dropped + errors + skipped) is checked, not assumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from curate.engine.tasks import Receipt
from curate.errors import InvariantError
from curate.report.run_folder import DEDUP_STAGES, Phase, RunFolder, read_run
from curate.report.terminal import place_text

KEPT: Final = "kept"


class Amount(NamedTuple):
    """How many documents, bytes of extracted text and tokens; None is not known (yet)."""

    documents: int = 0
    bytes: int | None = 0
    tokens: int | None = 0

    def plus(self, other: Amount) -> Amount:
        """Return the sum; what one side does not know, the sum does not."""
        return Amount(
            self.documents + other.documents, _plus(self.bytes, other.bytes), _plus(self.tokens, other.tokens)
        )


class Reason(NamedTuple):
    """A reason and what was dropped for it."""

    name: str
    dropped: Amount


class Step(NamedTuple):
    """A step of the recipe that drops documents, with its reasons in recipe order."""

    name: str
    reasons: Sequence[Reason]

    @property
    def dropped(self) -> Amount:
        """What the whole step dropped."""
        return total(reason.dropped for reason in self.reasons)


class Group(NamedTuple):
    """One language or one source: its documents, and those of them that were kept."""

    name: str
    documents: Amount
    kept: Amount


class Stats(NamedTuple):
    """The counts of one run. `unfinished` says what is missing; then `steps` holds what is known so far. `marks` counts
    documents that rules marked, dropped or not."""

    run: str
    name: str
    unfinished: str | None
    records: int
    skipped: Mapping[str, int]
    errors: Mapping[str, int]
    documents: Amount
    steps: Sequence[Step]
    kept: Amount
    marks: Mapping[str, int]
    languages: Sequence[Group]
    sources: Sequence[Group]
    source_records: Mapping[str, Mapping[str, int]]
    quarantined: Sequence[Mapping[str, Any]]

    @property
    def dropped(self) -> Amount:
        """What all steps dropped."""
        return total(step.dropped for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON data."""
        return {
            "run": self.run,
            "name": self.name,
            "unfinished": self.unfinished,
            "records": self.records,
            "skipped": dict(self.skipped),
            "errors": dict(self.errors),
            "documents": self.documents._asdict(),
            "steps": [
                {
                    "step": step.name,
                    "dropped": step.dropped._asdict(),
                    "reasons": [{"reason": reason.name, **reason.dropped._asdict()} for reason in step.reasons],
                }
                for step in self.steps
            ],
            "dropped": self.dropped._asdict(),
            "kept": self.kept._asdict(),
            "marks": dict(self.marks),
            "languages": [_group_json(group) for group in self.languages],
            "sources": [
                _group_json(group) | {"records": dict(self.source_records.get(group.name, {}))}
                for group in self.sources
            ],
            "quarantined": [dict(found) for found in self.quarantined],
        }


def read_stats(run: str) -> Stats:
    """Return the counts of the run folder `run`, finished or not.

    Raises RecipeError if it is no run folder, InvariantError if its documents do not add up.
    """
    folder = read_run(run)
    by_source = _records(folder)
    records: Counter[str] = sum(by_source.values(), Counter())
    tally = _last_tally(folder)
    facts: dict[str, Any] = {
        "run": place_text(run),
        "name": str(folder.recipe.get("name", "")),
        "unfinished": folder.unfinished,
        "records": records["records"],
        "skipped": _of_prefix(records, "skipped."),
        "errors": _of_prefix(records, "error."),
        "source_records": {name: dict(counts) for name, counts in by_source.items()},
        "quarantined": [found for phase in folder.phases for receipt in phase.done for found in receipt.quarantined],
    }
    collected = sum(receipt.flows["kept"].count for phase in folder.of_stage("collect") for receipt in phase.done)
    if tally is None:
        stats = _unfinished(folder, collected, facts)
    else:
        stats = _tallied(folder, tally, sorted(by_source), facts)
    _check(stats, collected, tally.done if tally else [])
    return stats


def tallied_cells(folder: RunFolder) -> dict[tuple[str, str, str], Amount]:
    """Return what each (source, language, reason) amounts to; nothing before the documents were tallied."""
    tally = _last_tally(folder)
    return _cells(tally.done, sorted(_records(folder))) if tally else {}


def _last_tally(folder: RunFolder) -> Phase | None:
    return next((phase for phase in reversed(folder.of_stage("tally")) if phase.complete), None)


def _records(folder: RunFolder) -> dict[str, Counter[str]]:
    """Return by source what became of the records that were read: ``records``, ``skipped.<why>``, ``error.<kind>``."""
    by_source: dict[str, Counter[str]] = {}
    for phase in folder.of_stage("collect"):
        for task, receipt in zip(phase.tasks, phase.receipts, strict=True):
            counts = by_source.setdefault(str(task["settings"]["source"]), Counter())
            if receipt is not None:
                counts.update(receipt.stats)
                counts["documents"] += receipt.flows["kept"].count
    return by_source


def _of_prefix(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    found = {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix) and count}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _tallied(folder: RunFolder, phase: Phase, sources: Sequence[str], facts: Mapping[str, Any]) -> Stats:
    cells = _cells(phase.done, sources)
    reasons: dict[str, Amount] = {}
    for (_, _, reason), amount in cells.items():
        reasons[reason] = reasons.get(reason, Amount(0, 0, amount.tokens and 0)).plus(amount)
    known = [name for phase in folder.phases for name in _reasons_of(phase)]
    # what no plan names cannot be there; were it there, the check of the sums would have to see it
    order = list(dict.fromkeys((*known, *sorted(reasons.keys() - {KEPT}))))
    nothing = Amount(0, 0, None if any(amount.tokens is None for amount in cells.values()) else 0)
    steps: dict[str, list[Reason]] = {}
    for reason in order:
        steps.setdefault(_step_of(reason), []).append(Reason(reason, reasons.get(reason, nothing)))
    return Stats(
        **facts,
        documents=total(cells.values(), nothing),
        steps=[Step(name, found) for name, found in steps.items()],
        kept=reasons.get(KEPT, nothing),
        marks=_marks(phase.done),
        languages=_groups(cells, lambda key: key[1], nothing),
        sources=_groups(cells, lambda key: key[0], nothing),
    )


def _marks(receipts: Iterable[Receipt]) -> dict[str, int]:
    """Return how many documents each rule marked."""
    marks: Counter[str] = Counter()
    for receipt in receipts:
        for name, count in receipt.stats.items():
            if name.startswith("mark|"):
                # mark|source|reason: sources are plain names, while a reason may hold the separator itself
                marks[name.split("|", 2)[2]] += count
    return _of_prefix(marks, "")


def _unfinished(folder: RunFolder, collected: int, facts: Mapping[str, Any]) -> Stats:
    """Return what the flows of the phases say before anything was tallied: documents, not yet bytes and tokens."""
    steps = []
    dropped = 0
    for phase in folder.phases:
        names = list(dict.fromkeys(_step_of(reason) for reason in _reasons_of(phase)))
        if not names:
            continue
        count = sum(receipt.flows["dropped"].count for receipt in phase.done)
        dropped += count
        steps.append(Step(" + ".join(names), [Reason(" + ".join(names), Amount(count, None, None))]))
    return Stats(
        **facts,
        documents=Amount(collected, None, None),
        steps=steps,
        kept=Amount(collected - dropped, None, None),
        marks={},
        languages=[],
        sources=[],
    )


def _reasons_of(phase: Phase) -> list[str]:
    """Return the reasons for which a phase may drop documents, in order."""
    if phase.stage == "decide":
        return [rule["reason"] for rule in phase.tasks[0]["settings"]["rules"] if rule["action"] == "drop"]
    if phase.stage == "quarantine":
        return sorted(set(phase.tasks[0]["settings"]["lost"].values()))
    return [phase.tasks[0]["settings"]["reason"]] if phase.stage in DEDUP_STAGES else []


def _step_of(reason: str) -> str:
    """Return the step that a reason belongs to: the filter, or the whole name for a dedup step."""
    name = reason.partition(".")[0]
    return reason if name == "duplicate" else name


def _cells(receipts: Iterable[Receipt], sources: Sequence[str]) -> dict[tuple[str, str, str], Amount]:
    """Return what each (source, language, reason) amounts to."""
    units: dict[tuple[str, str, str], Counter[str]] = {}
    for receipt in receipts:
        for name, number in receipt.stats.items():
            if name.startswith("tally|"):
                place, _, unit = name.removeprefix("tally|").rpartition("|")
                units.setdefault(_split(place, sources), Counter())[unit] += number
    with_tokens = any("tokens" in found for found in units.values())
    return {
        place: Amount(found["documents"], found["bytes"], found["tokens"] if with_tokens else None)
        for place, found in units.items()
    }


def _split(place: str, sources: Sequence[str]) -> tuple[str, str, str]:
    """Split ``source|language|reason``; a reason, which a recipe names freely, may hold the separator itself."""
    source = next((name for name in sources if place.startswith(f"{name}|")), place.partition("|")[0])
    language, _, reason = place[len(source) + 1 :].partition("|")
    return source, language, reason


def _groups(
    cells: Mapping[tuple[str, str, str], Amount], name_of: Callable[[tuple[str, str, str]], str], nothing: Amount
) -> list[Group]:
    """Return documents and kept ones per name, the largest first."""
    groups: dict[str, Group] = {}
    for place, amount in cells.items():
        name = name_of(place)
        group = groups.get(name, Group(name, nothing, nothing))
        kept = group.kept.plus(amount) if place[2] == KEPT else group.kept
        groups[name] = Group(name, group.documents.plus(amount), kept)
    return sorted(groups.values(), key=lambda group: (-group.documents.documents, group.name))


def _check(stats: Stats, collected: int, tally: Sequence[Receipt]) -> None:
    """Raise InvariantError unless records = documents + skipped + errors and documents = kept + dropped."""
    read = collected + sum(stats.skipped.values()) + sum(stats.errors.values())
    if stats.records != read:
        raise InvariantError(
            f"{stats.run}: {stats.records} records were read, but {read} are documents, skipped or errors; "
            "this is a bug, please report it"
        )
    kept = sum(receipt.flows["kept"].count for receipt in tally)
    out = stats.kept.documents + stats.dropped.documents
    if stats.documents.documents != collected or collected != out or (tally and kept != stats.kept.documents):
        raise InvariantError(
            f"{stats.run}: {collected} documents were collected, {stats.documents.documents} tallied, "
            f"{stats.kept.documents} kept and {stats.dropped.documents} dropped; this is a bug, please report it"
        )


def total(amounts: Iterable[Amount], start: Amount = Amount()) -> Amount:  # noqa: B008 - immutable
    """Return the sum of amounts."""
    for amount in amounts:
        start = start.plus(amount)
    return start


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _group_json(group: Group) -> dict[str, Any]:
    return {"name": group.name, "documents": group.documents._asdict(), "kept": group.kept._asdict()}
