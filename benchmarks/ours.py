"""`curate` as a side: the real stages on the real engine, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.inputs import Inputs

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


def collect_and_decide(wanted: Any, output: str) -> list[Any]:
    """Run the collect phase and one decide phase with every rule of the recipe, inline; return the receipts."""
    from curate.engine.driver import Driver, Limits, Silent
    from curate.engine.executors import InlineExecutor
    from curate.engine.ledger import FOLDERS, Ledger
    from curate.pipelines.recipe import FilterStep, resolve_steps
    from curate.pipelines.run import Pipeline
    from curate.storage import join, make_folder

    for folder in FOLDERS:
        make_folder(join(output, folder))
    driver = Driver(output, Ledger(output), InlineExecutor(), Limits(), Silent())
    pipeline = Pipeline(wanted, driver)
    pipeline.collect()
    pipeline.decide([rule for step in resolve_steps(wanted) if isinstance(step, FilterStep) for rule in step.rules])
    return list(driver.used)


def counted(receipts: Sequence[Any]) -> dict[str, Any]:
    """Return what receipts of collect and decide say of the documents."""
    collected = [receipt for receipt in receipts if receipt.stage == "collect"]
    decided = [receipt for receipt in receipts if receipt.stage == "decide"]
    return {
        "documents": sum(receipt.flows["in"].count for receipt in collected),
        "bytes": sum(ref.facts["text_bytes"] for receipt in collected for ref in receipt.files("documents")),
        "extracted": sum(receipt.flows["kept"].count for receipt in collected),
        "kept": sum(receipt.flows["kept"].count for receipt in decided),
        "stages": {
            "collect": sum(receipt.cost["cpu_s"] for receipt in collected),
            "decide": sum(receipt.cost["cpu_s"] for receipt in decided),
        },
    }
