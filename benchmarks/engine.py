"""What the engine costs: a whole run inline against the native calls that it cannot avoid, and Ray against inline.

The run goes from WARC files to shards with URL and exact dedup and Llama 3's vocabulary; nothing is warm but the code.
The native side reads, decodes, extracts, finds the language and encodes every text, and keeps nothing.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks import ours
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, against, divided, spread

TITLE: Final = "Whole run and engine"
STEPS: Final = ("language", *ours.FILTER_STEPS, "url", "exact")
SIDES: Final = {
    "inline": "benchmarks.engine:inline",
    "native parts": "benchmarks.floor:collect_and_encode",
    "ray, 1 worker": "benchmarks.engine:ray_one",
    "ray, 2 workers": "benchmarks.engine:ray_two",
}


def run_whole(inputs: Inputs, meter: Meter, executor: str, workers: int | None) -> dict[str, Any]:
    """Measure one whole run in a fresh folder; the facts divide its CPU-seconds by stage."""
    ours.run(ours.recipe(inputs, "warm-up", STEPS, inputs.warm_up, ours.TOKENIZER), inputs.output("warm-up"))
    recipe = ours.recipe(inputs, "crawl", STEPS, inputs.crawl, ours.TOKENIZER)
    with meter:
        receipts = ours.run(recipe, inputs.output("run"), executor, workers)
    return ours.counted(receipts)


def inline(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """In one process."""
    return run_whole(inputs, meter, "inline", None)


def ray_one(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """On a local Ray with one worker, its start included."""
    return run_whole(inputs, meter, "ray", 1)


def ray_two(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """On a local Ray with two workers, its start included."""
    return run_whole(inputs, meter, "ray", 2)


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    inline_runs = samples["inline"]
    table = [
        against(
            "whole run, inline; native parts (read, decode, extract, language, tokens)",
            inline_runs,
            samples["native parts"],
            "documents",
            percent=True,
        )
    ]
    table.append(
        Row(
            "CPU-s of a run, by stage or call",
            divided(inline_runs, "stages"),
            divided(samples["native parts"], "spent"),
        )
    )
    if inline_runs:
        tasks = inline_runs[0].facts["tasks"]
        around = [100 * (run.cpu_s - sum(run.facts["stages"].values())) / run.cpu_s for run in inline_runs]
        table.append(Row(f"outside of tasks (plan, ledger, barriers; {tasks} tasks)", f"{spread(around, 1)}% of CPU-s"))
    for name in ("ray, 1 worker", "ray, 2 workers"):
        if samples[name] and inline_runs:
            wall = [run.wall_s for run in samples[name]]
            base = [run.wall_s for run in inline_runs]
            ratios = [a / b for a, b in zip(base, wall, strict=False)]
            table.append(
                Row(
                    f"wall, {name} (start of Ray included); inline",
                    f"{spread(wall, 1)} s",
                    f"{spread(base, 1)} s",
                    spread(ratios, 2, "×"),
                )
            )
    return table
