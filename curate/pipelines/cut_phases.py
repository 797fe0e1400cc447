"""The phases of a dedup step that edits texts; `cuts.py` explains what its tasks do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curate import storage
from curate.dedup import DEDUPS
from curate.dedup.copies import KEY_SORT
from curate.dedup.lines import Scheme
from curate.engine.driver import check_barrier, total_flow
from curate.engine.tasks import FileRef, TaskSpec, check_rows
from curate.pipelines.cuts import FOUND_SORT, scheme_of
from curate.pipelines.guards import alarm_of, check_alarm
from curate.pipelines.quarantine import BeginAgain
from curate.pipelines.standing import standing_settings

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline


def cut_phases(reason: str) -> list[str]:
    """Return the phases of a step that cuts repeated units, in order."""
    return [f"{reason}-scatter", f"{reason}-reduce", f"{reason}-apply"]


def bucket_count(scheme: Scheme, documents: int) -> int:
    """Return in how many buckets so many documents are counted."""
    return 1 if scheme.bucket_documents == "all" else max(1, -(-documents // scheme.bucket_documents))


def find_cuts(pipeline: Pipeline, reason: str, kind: str, settings: Mapping[str, Any], view: str | None) -> None:
    """Run one step: count keys, tell parts which are too frequent, and cut."""
    entry = DEDUPS[kind]
    scheme = scheme_of(kind, settings)
    common = {
        "kind": kind,
        "settings": settings,
        "version": entry.version,
        "views": pipeline.views_to(view),
        **standing_settings(pipeline.recipe, settings),
        # from the number of documents alone, never from where they are
        "buckets": bucket_count(scheme, pipeline.kept.count),
    }
    specs = text_specs(pipeline, "cuts.scatter", common, view)
    receipts = pipeline.run_phase(f"{reason}-scatter", specs)
    check_barrier(reason, pipeline.kept, total_flow(receipts, "in"))
    runs, partitions = pipeline.gather(reason, receipts, KEY_SORT)
    counted = pipeline.reduce(
        f"{reason}-reduce",
        partitions,
        lambda index, span: pipeline.spec(
            "cuts.reduce", f"{reason} {index}", {**span, "max_count": scheme.max_count}, runs=runs
        ),
    )
    found, _ = pipeline.gather(f"{reason}-found", counted, FOUND_SORT)
    cut_parts(pipeline, "cuts.apply", reason, common, view, found)


def cut_parts(
    pipeline: Pipeline,
    stage: str,
    reason: str,
    settings: Mapping[str, Any],
    view: str | None,
    found: Sequence[FileRef],
) -> None:
    """Bring what a step found to each part, and take in the edits of its view and the verdicts."""
    name = reason.partition(".")[2]
    specs = text_specs(pipeline, stage, {**settings, "reason": reason, "view": name}, view, found)
    applied = pipeline.run_phase(f"{reason}-apply", specs)
    if any(receipt.quarantined for receipt in applied):
        # its copies were counted, and it may hold those that were to stay
        raise BeginAgain
    check_rows(f"{reason}-apply", sum(ref.rows for ref in found), sum(r.stats.get("changes", 0) for r in applied))
    check_alarm(name, applied, alarm_of(pipeline.recipe.dedup, name), storage.shown(pipeline.driver.ledger.run))
    pipeline.advance(reason, applied)
    pipeline.parts = [
        replace(part, edits={**part.edits, name: receipt.files("edits")[0]})
        for part, receipt in zip(pipeline.parts, applied, strict=True)
    ]


def text_specs(
    pipeline: Pipeline,
    stage: str,
    settings: Mapping[str, Any],
    view: str | None,
    runs: Sequence[FileRef] = (),
) -> list[TaskSpec]:
    """Return the tasks of a stage that reads the text of each part in a view, and its signals."""
    return [
        pipeline.spec(
            stage,
            part.name,
            {**settings, "part": part.documents.path},
            **pipeline.text_inputs(view, part),
            signals=[part.signals],
            measured=part.measured,
            verdicts=[part.verdicts],
            runs=runs,
        )
        for part in pipeline.parts
    ]
