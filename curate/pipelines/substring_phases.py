"""The phases of exact substring dedup; `substrings.py` explains what its tasks do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.dedup import DEDUPS
from curate.dedup.copies import KEY_SORT
from curate.engine.driver import check_barrier, total_flow
from curate.engine.tasks import check_rows
from curate.pipelines.cut_phases import cut_parts, text_specs
from curate.pipelines.cuts import FOUND_SORT
from curate.pipelines.quarantine import BeginAgain
from curate.pipelines.standing import standing_settings
from curate.pipelines.substrings import CONTEXT_SORT, SPAN_SORT

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline


def substring_phases(reason: str) -> list[str]:
    """Return the phases of substring dedup, in order."""
    return [f"{reason}-{name}" for name in ("scatter", "reduce", "contexts", "compare", "apply")]


def find_substrings(pipeline: Pipeline, reason: str, kind: str, settings: Mapping[str, Any], view: str | None) -> None:
    """Run one step: count anchors, send the passages of those that occur twice, compare them, and cut."""
    common = {
        "settings": settings,
        "version": DEDUPS[kind].version,
        "views": pipeline.views_to(view),
        **standing_settings(pipeline.recipe, settings),
    }

    specs = text_specs(pipeline, "substring.scatter", common, view)
    scattered = pipeline.run_phase(f"{reason}-scatter", specs)
    check_barrier(reason, pipeline.kept, total_flow(scattered, "in"))
    runs, partitions = pipeline.gather(reason, scattered, KEY_SORT)
    counted = pipeline.reduce(
        f"{reason}-reduce",
        partitions,
        lambda index, span: pipeline.spec("cuts.reduce", f"{reason} {index}", {**span, "max_count": 1}, runs=runs),
    )
    asked, _ = pipeline.gather(f"{reason}-found", counted, FOUND_SORT)
    specs = text_specs(pipeline, "substring.contexts", common, view, asked)
    sent = pipeline.run_phase(f"{reason}-contexts", specs)
    if any(receipt.quarantined for receipt in sent):
        raise BeginAgain
    arrived = sum(receipt.stats.get("changes", 0) for receipt in sent)
    check_rows(f"{reason}-contexts", sum(ref.rows for ref in asked), arrived)
    contexts, partitions = pipeline.gather(f"{reason}-contexts", sent, CONTEXT_SORT)
    compared = pipeline.reduce(
        f"{reason}-compare",
        partitions,
        lambda index, span: pipeline.spec(
            "substring.compare", f"{reason} {index}", {**span, "settings": settings}, runs=contexts
        ),
    )
    spans, _ = pipeline.gather(f"{reason}-spans", compared, SPAN_SORT)
    cut_parts(pipeline, "substring.apply", reason, common, view, spans)
