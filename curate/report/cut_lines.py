"""What steps that cut removed: units and bytes by source and language, and the lines that went most often.

Counts come from receipts. Runs hold keys of lines, not lines: the text of each is found again in the document that the
key was first seen in, of which one part at a time is read, and there only the row groups that hold such a document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import storage
from curate.dedup.substring import SubstringSettings, anchors
from curate.dedup.units import unit_texts
from curate.errors import RecipeError
from curate.filters.tables import suggestion
from curate.pipelines.cuts import runs_of, scheme_of
from curate.pipelines.part_texts import stored_texts
from curate.pipelines.standing import scope_columns, scope_of
from curate.pipelines.substrings import anchor_keys
from curate.report.rows import read_columns
from curate.report.run_folder import Phase, RunFolder, read_run
from curate.report.terminal import place_text
from curate.schema import ID

CUT_STAGES: Final = ("cuts.apply", "substring.apply")
TEXT_CHARACTERS: Final = 1000
"""How much of a line a report holds."""


@dataclass(frozen=True)
class CutGroup:
    """What one source and language lost: documents that were edited, units (lines, sentences or passages) and bytes
    that went, and edited documents of which too little was left."""

    source: str
    language: str
    documents: int
    units: int
    bytes: int
    dropped: int


@dataclass(frozen=True)
class CutLine:
    """A line, span or passage that was counted too often: how many times, and its text as one document has it."""

    count: int
    text: str


@dataclass(frozen=True)
class CutStep:
    """What one step cut; `lines` are the most frequent ones, first first. `complete` is false while it is at work."""

    step: str
    complete: bool
    different: int
    groups: Sequence[CutGroup]
    lines: Sequence[CutLine]

    def to_json(self) -> dict[str, Any]:
        """Return the step as plain JSON data."""
        return asdict(self)


def read_cut_lines(run: str, step: str | None = None, *, number: int = 20) -> list[CutStep]:
    """Return what each step that cuts removed in the run folder `run`, or `step` alone, with at most `number` of the
    lines (at most 50) that were counted most often.

    Raises RecipeError for a folder that is no run, for one without such steps, and for a step that it does not have.
    """
    folder = read_run(run)
    phases = {
        phase.tasks[0]["settings"]["view"]: phase
        for phase in folder.phases
        if phase.tasks and phase.stage in CUT_STAGES
    }
    if not phases:
        raise RecipeError(f"{place_text(run)}: no step that cuts has begun: lines, c4_spans or substring")
    if step is not None and step not in phases:
        raise RecipeError(
            f"--step {step}: cuts nothing in this run{suggestion(step, phases)}; known: {', '.join(phases)}"
        )
    return [_step(folder, name, phase, number) for name, phase in phases.items() if step in (None, name)]


def _step(folder: RunFolder, name: str, phase: Phase, number: int) -> CutStep:
    totals: dict[tuple[str, str], Counter[str]] = {}
    for receipt in phase.done:
        for key, count in receipt.stats.items():
            if key.startswith("cut|"):
                place, _, unit = key.removeprefix("cut|").rpartition("|")
                source, _, language = place.rpartition("|")
                totals.setdefault((source, language), Counter())[unit] += count
    groups = [
        CutGroup(*place, documents=units["texts"], units=units["units"], bytes=units["bytes"], dropped=units["dropped"])
        for place, units in sorted(totals.items(), key=lambda entry: (-entry[1]["bytes"], entry[0]))
    ]
    counted = [found for found in folder.of_stage("cuts.reduce") if found.name == f"duplicate.{name}-reduce"]
    receipts = [receipt for found in counted for receipt in found.done]
    different = sum(receipt.stats.get("frequent", 0) for receipt in receipts)
    top = sorted(
        (entry for receipt in receipts for entry in receipt.facts["top"]),
        key=lambda entry: (-entry["count"], entry["key"]),
    )
    lines: Counter[str] = Counter()
    # one text may have several forms that are counted apart, so that there are fewer texts than keys
    while top and len(lines) < number:
        some, top = top[: 2 * number], top[2 * number :]
        texts = _texts(folder, phase, some)
        for entry in some:
            lines[texts.get(entry["key"], "")] += entry["count"]
        lines.pop("", None)
    most = [CutLine(count, text) for text, count in lines.most_common(number)]
    return CutStep(name, phase.complete, different, groups, most)


def _texts(folder: RunFolder, phase: Phase, top: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the text of each key (hexadecimal) as the document has it that it was first seen in."""
    settings = phase.tasks[0]["settings"]
    wanted = {bytes.fromhex(entry["id"]): set[str]() for entry in top}
    for entry in top:
        wanted[bytes.fromhex(entry["id"])].add(entry["key"])
    found: dict[str, str] = {}
    for part in folder.parts():
        if not wanted:
            break
        scope = settings["settings"]["scope"]
        signals = read_columns(folder, part.signals, ["id", *scope_columns(scope)])
        ids = signals.column("id")
        here = pc.is_in(ids, pa.array(list(wanted), ID)).to_numpy()
        if not here.any():
            continue
        edits = {
            view: storage.join(folder.uri, ref.path) for view, ref in part.edits.items() if view in settings["views"]
        }
        uri = storage.join(folder.uri, part.documents.path)
        scopes = scope_of(signals, scope, settings["crawls"])
        for numbers, batch, text in stored_texts(uri, edits, settings["views"], ["id"], here):
            for key, value in _keyed(batch.column("id"), text, scopes[numbers], settings):
                found.setdefault(key, value)
        for identity in ids.filter(pa.array(here)).to_pylist():
            wanted.pop(identity, None)
    return found


def _keyed(
    ids: pa.Array, text: pa.Array, scope: NDArray[np.uint64], settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield (key in hexadecimal, text) of every unit or passage of some documents."""
    if "kind" not in settings:
        length = SubstringSettings.model_validate(settings["settings"]).length_bytes
        known = anchors(text, length)
        columns = (anchor_keys(known, scope), known.texts(), known.first, known.last)
        for words, row, first, last in zip(*(column.tolist() for column in columns), strict=True):
            # what all passages of the anchor have in common
            passage = text[row].as_buffer()[last : min(first + length, last + TEXT_CHARACTERS)].to_pybytes()
            yield _hexadecimal(words), passage.decode(errors="ignore").strip()
        return
    scheme = scheme_of(settings["kind"], settings["settings"])
    runs = runs_of(ids, text, scheme, settings["buckets"], scope)
    texts = unit_texts(text, runs.units, runs.keys.first, scheme.span)
    for words, value in zip(runs.keys.key.tolist(), texts, strict=True):
        yield _hexadecimal(words), value[:TEXT_CHARACTERS]


def _hexadecimal(words: Sequence[int]) -> str:
    return "".join(f"{word:016x}" for word in words)
