"""The four heuristic filters from text in memory, to verdicts, with and without language.

datatrove stops at the first filter that drops a document. `curate` measures every document with every signal, on two
views (C4's line cleaner runs too), and evaluates every rule; it does more work, and all thresholds stay movable.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks import ours
from benchmarks.inputs import Inputs, read_documents, text_bytes
from benchmarks.measure import Meter, Row, Sample, against

TITLE: Final = "Heuristic filters from text"
PASSES: Final = 3
WANTED: Final = 50.0
SIDES: Final = {
    "curate": "benchmarks.filters:four",
    "datatrove": "benchmarks.peers:filter_crawl",
    "curate, language": "benchmarks.filters:four_with_language",
    "datatrove, language": "benchmarks.peers:filter_crawl_with_language",
}


def decide_texts(inputs: Inputs, meter: Meter, steps: tuple[str, ...]) -> dict[str, Any]:
    """Measure what a collect task and a decide task do with a batch of text in memory."""
    from curate import assets
    from curate.filters.decide import decide
    from curate.pipelines.recipe import FilterStep, resolve_steps
    from curate.pipelines.units import needed_assets, views_of
    from curate.pipelines.views import measure_batch

    recipe = ours.recipe(inputs, "filters", steps, inputs.crawl)
    views = views_of(recipe)
    files = {name: assets.path(name) for name in needed_assets(views)}
    rules = [rule for step in resolve_steps(recipe) if isinstance(step, FilterStep) for rule in step.rules]
    batches = read_documents(inputs, "texts")
    decide(measure_batch(batches[0].slice(0, 20), views, files)[1], rules)
    kept = 0
    with meter:
        for _ in range(PASSES):
            for batch in batches:
                kept += decide(measure_batch(batch, views, files)[1], rules).column("keep").to_pylist().count(True)
    rows = sum(len(batch) for batch in batches)
    return {
        "documents": PASSES * rows,
        "bytes": PASSES * text_bytes(batches),
        "kept": kept // PASSES,
        "rules": len(rules),
    }


def four(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Gopher repetition, Gopher quality, FineWeb and C4."""
    return decide_texts(inputs, meter, ours.FILTER_STEPS)


def four_with_language(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The four, and English by lid.176 before them."""
    return decide_texts(inputs, meter, ("language", *ours.FILTER_STEPS))


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    return [
        against("four filters, from text", samples["curate"], samples["datatrove"], "documents", wanted=WANTED),
        against(
            "language (lid.176) and four filters, from text",
            samples["curate, language"],
            samples["datatrove, language"],
            "documents",
        ),
    ]
