"""The phases of a MinHash step; `near_duplicates.py` explains what its tasks do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from curate.dedup import DEDUPS
from curate.dedup.minhash import MinHashSettings, detection_curve
from curate.engine.driver import check_barrier, total_flow
from curate.engine.tasks import FileRef, Receipt, TaskSpec
from curate.pipelines import near_duplicates
from curate.pipelines.quarantine import BeginAgain

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline


def near_duplicate_phases(reason: str) -> list[str]:
    """Return the phases of a MinHash step with one round of comparisons each; more come as they are needed."""
    compared = [f"{reason}-{which}-0-{what}" for which in ("verify", "final") for what in ("sets", "compare")]
    return [
        f"{reason}-bands", f"{reason}-stars", *compared[:2], f"{reason}-components", *compared[2:], f"{reason}-apply",
    ]  # fmt: skip


def find_near_duplicates(
    pipeline: Pipeline, reason: str, kind: str, settings: Mapping[str, Any], view: str | None
) -> None:
    """Run one MinHash step; `near_duplicates.py` explains it."""
    common = {
        "settings": settings,
        "version": DEDUPS[kind].version,
        "view": view,
        "views": pipeline.views_to(view),
        "priorities": {source.name: source.priority for source in pipeline.recipe.sources},
    }
    specs = [
        pipeline.spec(
            "minhash.bands",
            part.name,
            common | {"part": part.documents.path},
            **pipeline.text_inputs(view, part),
            verdicts=[part.verdicts],
        )
        for part in pipeline.parts
    ]
    shape = MinHashSettings.model_validate(settings)
    curve = detection_curve(shape, (0.6, 0.7, 0.8, 0.9))
    found = ", ".join(f"{share:.0%} of pairs at {similarity}" for similarity, share in curve.items())
    told = f"{reason}: {shape.bands} bands of {shape.rows} rows find {found}"
    receipts = pipeline.run_phase(f"{reason}-bands", specs, lambda: pipeline.driver.progress.note(told))
    check_barrier(reason, pipeline.kept, total_flow(receipts, "in"))
    runs, partitions = pipeline.gather(f"{reason}-bands", receipts, near_duplicates.BAND_SORT)
    stars = pipeline.reduce(
        f"{reason}-stars",
        partitions,
        lambda index, span: pipeline.spec("minhash.stars", f"{reason} {index}", span, runs=runs),
    )
    edges = _compare(pipeline, reason, common, view, stars, final=False)
    verified = [ref for receipt in edges for ref in receipt.files("run") if ref.rows]
    changes: list[Receipt] = []
    if verified:
        spec = pipeline.spec("minhash.components", reason, {}, runs=verified)
        components = pipeline.driver.run_phase(f"{reason}-components", [spec])
        changes = _compare(pipeline, reason, common, view, components, final=True)
    pipeline.apply_changes(reason, changes)


def _compare(
    pipeline: Pipeline,
    reason: str,
    common: Mapping[str, Any],
    view: str | None,
    asked: Sequence[Receipt],
    *,
    final: bool,
) -> list[Receipt]:
    """Compare members with their roots, round after round, until no member is left that failed."""
    done: list[Receipt] = []
    for number in range(near_duplicates.MAX_ROUNDS):
        phase = f"{reason}-{'final' if final else 'verify'}-{number}"
        requests, _ = pipeline.gather(phase, asked, near_duplicates.REQUEST_SORT, "requests")
        if not requests:
            return done
        specs = [
            pipeline.spec(
                "minhash.sets",
                part.name,
                {**common, "part": part.documents.path},
                **pipeline.text_inputs(view, part),
                runs=requests,
            )
            for part in pipeline.parts
        ]
        sent = pipeline.run_phase(f"{phase}-sets", specs)
        if any(receipt.quarantined for receipt in sent):
            raise BeginAgain
        runs, partitions = pipeline.gather(f"{phase}-sets", sent, near_duplicates.SET_SORT)
        settings = {"settings": common["settings"], "final": final}
        asked = pipeline.reduce(
            f"{phase}-compare", partitions, partial(_compare_task, pipeline, reason, settings, runs)
        )
        done += asked
    left = sum(ref.rows for receipt in asked for ref in receipt.files("requests"))
    if left:
        pipeline.driver.progress.note(f"{reason}: {left} comparisons left after {len(done)} rounds count as different")
    return done


def _compare_task(
    pipeline: Pipeline,
    reason: str,
    settings: Mapping[str, Any],
    runs: Sequence[FileRef],
    index: int,
    span: Mapping[str, Any],
) -> TaskSpec:
    """Return the task that compares the members of one range of roots."""
    return pipeline.spec("minhash.compare", f"{reason} {index}", {**settings, **span}, runs=runs)
