"""From WARC files to verdicts: read, extract, language, all filters, files written; and the native floor of it.

`curate` writes every document, kept or not, with its signals, verdicts and receipts; datatrove writes the kept ones.
The floor writes nothing and measures no text.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks import ours
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, against, divided

TITLE: Final = "Collect from WARC"
WANTED: Final = 10.0
WANTED_OF_FLOOR: Final = 0.6
SIDES: Final = {
    "curate": "benchmarks.collect:whole",
    "floor": "benchmarks.floor:collect",
    "datatrove, trafilatura": "benchmarks.peers:collect_trafilatura",
    "datatrove, resiliparse": "benchmarks.peers:collect_resiliparse",
}


def whole(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """A whole run without tokens and shards (collect, equal ids, decide, counts), inline, on what datatrove reads."""
    steps = ("language", *ours.FILTER_STEPS)
    ours.run(ours.recipe(inputs, "warm-up", steps, inputs.warm_up), inputs.output("warm-up"))
    recipe = ours.recipe(inputs, "crawl", steps, inputs.crawl)
    with meter:
        receipts = ours.run(recipe, inputs.output("run"))
    return ours.counted(receipts)


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    what = "WARC to verdicts"
    curate, floor = samples["curate"], samples["floor"]
    table = [
        against(
            f"{what}; datatrove, trafilatura", curate, samples["datatrove, trafilatura"], "documents", wanted=WANTED
        ),
        against(f"{what}; datatrove, resiliparse", curate, samples["datatrove, resiliparse"], "documents"),
        against(
            f"{what}; native floor (read, decode, extract, language)",
            curate,
            floor,
            "documents",
            wanted=WANTED_OF_FLOOR,
            percent=True,
        ),
    ]
    table.append(Row("CPU-s of a run, by stage or call", divided(curate, "stages"), divided(floor, "spent")))
    return table
