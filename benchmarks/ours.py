"""`curate` as a side: the real stages on the real engine, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.inputs import Inputs
from benchmarks.measure import Meter

FILTER_STEPS: Final = ("gopher_repetition", "gopher_quality", "fineweb", "c4_lines", "c4")
"""The four heuristic filters, with the line cleaner that belongs to C4, in the order of the shipped recipe."""

TOKENIZER: Final = """
[tokenizer]
asset = "llama3-tokenizer"

[shards]
context_length = 2048
"""


def recipe(inputs: Inputs, name: str, steps: Sequence[str], crawl: str, more: str = "") -> Any:
    """Return a recipe with these steps over the WARC files of the folder (or the file) `crawl`."""
    from curate.pipelines.recipe import load_recipe

    path = Path(inputs.output(f"{name}.toml"))
    path.write_text(f'name = "bench"\nsteps = {list(steps)}\n[[sources]]\nname = "web"\ninput = ["{crawl}"]\n{more}')
    return load_recipe(str(path))


def run(wanted: Any, output: str, executor: str = "inline", workers: int | None = None) -> list[Any]:
    """Run a recipe in the fresh folder `output` as ``curate run`` does; return the receipts of its tasks."""
    from curate.engine.receipts import read_receipt
    from curate.pipelines.run import Options
    from curate.pipelines.run import run as run_recipe

    run_recipe(wanted, output, Options(executor=executor, workers=workers))
    found = (read_receipt(path.read_bytes()) for path in sorted(Path(output, "receipts").glob("*.json")))
    return [receipt for receipt in found if receipt is not None]


def run_step(
    inputs: Inputs,
    meter: Meter,
    documents: Path,
    few: Path,
    step: str,
    settings: str,
    executor: str = "inline",
    workers: int | None = None,
) -> tuple[str, list[Any]]:
    """Measure a dedup step in a run that has collected the `documents` (JSONL, their ids as URLs) before, and after a
    warm-up on a `few`; return the run folder and its receipts."""
    from curate.pipelines.recipe import load_recipe

    def made(name: str, file: Path, steps: Sequence[str]) -> Any:
        path = Path(inputs.output(f"{name}.toml"))
        table = f"[dedup.{step}]\n{settings}\n" if steps else ""
        path.write_text(
            f'name = "bench"\nsteps = {list(steps)}\n{table}[engine]\nunit_bytes = 67108864\n'
            f'[[sources]]\nname = "files"\ninput = ["{file}"]\n[sources.columns]\nurl = "id"\n'
        )
        return load_recipe(str(path))

    run(made("warm-up", few, [step]), inputs.output("warm-up"))
    output = inputs.output("run")
    run(made("run", documents, []), output)
    with meter:
        receipts = run(made("run", documents, [step]), output, executor, workers)
    return output, receipts


def counted(receipts: Sequence[Any]) -> dict[str, Any]:
    """Return what the receipts of a run say of its documents, with the CPU-seconds of each stage."""
    collected = [receipt for receipt in receipts if receipt.stage == "collect"]
    decided = [receipt for receipt in receipts if receipt.stage == "decide"]
    stages: dict[str, float] = {}
    for receipt in receipts:
        stages[receipt.stage] = stages.get(receipt.stage, 0.0) + receipt.cost["cpu_s"]
    return {
        "documents": sum(receipt.flows["in"].count for receipt in collected),
        "bytes": sum(ref.facts["text_bytes"] for receipt in collected for ref in receipt.files("documents")),
        "extracted": sum(receipt.flows["kept"].count for receipt in collected),
        "kept": sum(receipt.flows["kept"].count for receipt in decided),
        "stages": stages,
        "tasks": len(receipts),
    }
