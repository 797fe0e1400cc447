"""The phases of each kind of dedup step: how they run, and their names for a plan.

To add a kind: write its stages and its phases in files of their own, a line in `STAGES`, and one here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from curate.pipelines.cut_phases import cut_phases, find_cuts
from curate.pipelines.duplicate_phases import duplicate_phases, find_duplicates
from curate.pipelines.near_duplicate_phases import find_near_duplicates, near_duplicate_phases
from curate.pipelines.semantic_phases import find_semantic, semantic_phases
from curate.pipelines.substring_phases import find_substrings, substring_phases

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline


class GlobalStep(NamedTuple):
    """`run(pipeline, reason, kind, settings, view)` finds what goes and brings it back to the verdicts of each part;
    `phases(reason)` names its phases in order, without those that only large exchanges have."""

    run: Callable[[Pipeline, str, str, Mapping[str, Any], str | None], None]
    phases: Callable[[str], list[str]]


BY_KEY: Final = GlobalStep(find_duplicates, duplicate_phases)
BY_UNITS: Final = GlobalStep(find_cuts, cut_phases)
GLOBAL_STEPS: Final[Mapping[str, GlobalStep]] = {
    "id": BY_KEY,
    "exact": BY_KEY,
    "url": BY_KEY,
    "minhash": GlobalStep(find_near_duplicates, near_duplicate_phases),
    "lines": BY_UNITS,
    "c4_spans": BY_UNITS,
    "substring": GlobalStep(find_substrings, substring_phases),
    "semantic": GlobalStep(find_semantic, semantic_phases),
}
