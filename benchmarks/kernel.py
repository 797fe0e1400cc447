"""All text signals together, from text in memory: MB of UTF-8 per CPU-second of one core.

datatrove's four filters on the crawl's text are in `filters`.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.inputs import Inputs, read_documents, text_bytes
from benchmarks.measure import Meter, Row, Sample, against, rate, verdict

TITLE: Final = "Text signals"
MEASURED_BYTES: Final = 100_000_000
"""Each side goes over its text until about so many bytes are measured."""
WANTED_MB: Final = 60.0
SIDES: Final = {
    "curate, crawl": "benchmarks.kernel:crawl",
    "curate, wikitext-2": "benchmarks.kernel:wikitext",
    "datatrove, wikitext-2": "benchmarks.peers:filter_wikitext",
}


def measure_texts(inputs: Inputs, meter: Meter, name: str) -> dict[str, Any]:
    """Measure the registered measure ``text`` on batches in memory."""
    from curate.filters.measures import MEASURES

    measure = MEASURES["text"].function
    batches = read_documents(inputs, name)
    measure(batches[0].column("text").slice(0, 20), {})
    size = text_bytes(batches)
    passes = max(1, MEASURED_BYTES // size)
    with meter:
        for _ in range(passes):
            for batch in batches:
                signals = measure(batch.column("text"), {})
    rows = sum(len(batch) for batch in batches)
    return {"documents": passes * rows, "bytes": passes * size, "signals": len(signals)}


def crawl(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The crawl's extracted text."""
    return measure_texts(inputs, meter, "texts")


def wikitext(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Articles of wikitext-2."""
    return measure_texts(inputs, meter, "wikitext")


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    table = []
    for name in ("crawl", "wikitext-2"):
        ours, peer = samples.get(f"curate, {name}", []), samples.get(f"datatrove, {name}", [])
        if not ours:
            continue
        speeds = [sample.per_cpu_s("MB") for sample in ours]
        what = f"all {ours[0].facts['signals']} signals, {name}"
        table.append(Row(what, rate(ours, "MB"), wanted=verdict(f"≥ {WANTED_MB:g} MB/CPU-s", min(speeds), WANTED_MB)))
        if peer:
            table.append(against(f"{what}; datatrove: its four filters", ours, peer, "MB"))
    return table
