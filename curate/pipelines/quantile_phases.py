"""The phases that find quantile bounds; `curate.filters.quantiles` explains the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.filters.quantiles import Search, narrow, with_limits
from curate.filters.quantiles import merge as merge_histograms
from curate.filters.rules import Quantile, ResolvedRule
from curate.pipelines import units

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline


def find_quantiles(pipeline: Pipeline, step: str, rules: list[ResolvedRule]) -> list[ResolvedRule]:
    """Return the rules of a step with their quantile bounds found over the documents kept so far."""
    types = units.signal_types(pipeline.recipe)
    found = []
    for rule in rules:
        resolved = rule
        for side in rule.waits_for():
            bound = rule.low if side == "low" else rule.high
            assert isinstance(bound, Quantile)
            search = Search()
            while not search.finished:
                settings = {
                    "rule": rule.model_dump(mode="json"),
                    "side": side,
                    "search": search.model_dump(mode="json"),
                }
                specs = [
                    pipeline.spec(
                        "quantile",
                        part.name,
                        settings,
                        signals=[part.signals],
                        measured=part.measured,
                        verdicts=[part.verdicts],
                    )
                    for part in pipeline.parts
                ]
                receipts = pipeline.run_phase(f"quantile-{step}-{search.round}", specs)
                merged = merge_histograms(receipt.facts["histogram"] for receipt in receipts)
                search = narrow(search, merged, bound.quantile, side)
            integer = types[rule.signal] == "int64"
            resolved = with_limits(resolved, side, search, integer=integer)
        found.append(resolved)
    return found
