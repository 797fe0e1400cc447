"""The phase that measures the views after a step that cuts; `measure.py` explains what its tasks do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from curate.engine.driver import check_barrier, total_flow
from curate.pipelines import units

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline


def measure_after(pipeline: Pipeline, step: str) -> None:
    """Measure the view that a step's cuts made, and make and measure those of the cleaners that follow it."""
    segment = units.later_views(pipeline.recipe)[step]
    if not any(view.measures or view.cleaner for view in segment):
        return
    versions, libraries = units.view_versions(segment)
    assets = units.asset_refs(pipeline.recipe, units.needed_assets(segment), pipeline.driver.run)
    settings = {
        "views": pipeline.views_to(step),
        "segment": [view.model_dump(mode="json") for view in segment],
        "versions": versions,
    }
    specs = [
        replace(
            pipeline.spec(
                "measure",
                part.name,
                settings,
                **pipeline.text_inputs(step, part),
                signals=[part.signals],
                verdicts=[part.verdicts],
                **{f"asset:{name}": [ref] for name, ref in assets.items()},
            ),
            libraries=tuple(libraries),
        )
        for part in pipeline.parts
    ]
    phase = f"measure-{step}"
    receipts = pipeline.run_phase(phase, specs, lambda: pipeline.compile_kernels(segment))
    check_barrier(phase, pipeline.kept, total_flow(receipts, "in"))
    cleaners = [view.name for view in segment if view.cleaner]
    pipeline.parts = [
        replace(
            part,
            measured=(*part.measured, receipt.files("measured")[0]),
            edits={**part.edits, **{name: receipt.files("edits")[0] for name in cleaners}},
        )
        for part, receipt in zip(pipeline.parts, receipts, strict=True)
    ]
