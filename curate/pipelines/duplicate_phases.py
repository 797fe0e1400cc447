"""The phases of a dedup step by equal keys: scatter keys, reduce key ranges, bring the outcome back to each part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curate.dedup import DEDUPS
from curate.engine.driver import check_barrier, total_flow
from curate.pipelines.duplicates import DUPLICATE_SORT
from curate.pipelines.standing import standing_settings

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline


def duplicate_phases(reason: str) -> list[str]:
    """Return the phases of a step that finds equal keys, in order."""
    return [f"{reason}-scatter", f"{reason}-reduce", f"{reason}-apply"]


def find_duplicates(pipeline: Pipeline, reason: str, kind: str, settings: Mapping[str, Any], view: str | None) -> None:
    """Run one dedup step: scatter keys, reduce key ranges, bring the outcome back to each part."""
    entry = DEDUPS[kind]
    common = {
        "kind": kind,
        "settings": settings,
        "version": entry.version,
        "view": view,
        "views": pipeline.views_to(view) if entry.needs_text else [],
        **standing_settings(pipeline.recipe, settings),
    }
    specs = [
        replace(
            pipeline.spec(
                "duplicates.scatter",
                part.name,
                common | {"part": part.documents.path},
                **pipeline.text_inputs(view if entry.needs_text else None, part),
                signals=[part.signals],
                verdicts=[part.verdicts],
            ),
            libraries=tuple(sorted({*entry.libraries, "pyarrow"})),
        )
        for part in pipeline.parts
    ]
    receipts = pipeline.run_phase(f"{reason}-scatter", specs)
    check_barrier(reason, pipeline.kept, total_flow(receipts, "in"))
    runs, partitions = pipeline.gather(reason, receipts, DUPLICATE_SORT)
    changes = pipeline.reduce(
        f"{reason}-reduce",
        partitions,
        lambda index, span: pipeline.spec("duplicates.reduce", f"{reason} {index}", span, runs=runs),
    )
    pipeline.apply_changes(reason, changes)
