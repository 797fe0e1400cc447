"""A stage whose output changes must get a new version, or old receipts would speak for new bytes."""

from __future__ import annotations

import functools
import json
import pathlib
import runpy
from collections.abc import Callable

import pytest

from curate.pipelines.stages import STAGES
from curate.readers import READERS

HERE = pathlib.Path(__file__).parent
GOLDEN = json.loads((HERE / "golden.json").read_text())
golden = runpy.run_path(str(HERE / "golden.py"))

Digests = dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def found(reference: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Digests]:
    """Return a function that gives the digests of a road, which is run once."""

    @functools.cache
    def of(road: str) -> Digests:
        folder = reference if road == golden["WARC"] else golden["run_road"](road, tmp_path_factory.mktemp(road))
        digests: Digests = golden["digests"](folder)
        return digests

    return of


@pytest.mark.parametrize(("road", "stage"), [(road, stage) for road in GOLDEN for stage in GOLDEN[road]])
def test_output_changes_only_with_the_version(found: Callable[[str], Digests], road: str, stage: str) -> None:
    entry, expected = found(road)[stage], GOLDEN[road][stage]
    if entry["version"] != expected["version"]:
        pytest.fail(f"{stage} has a new version: run golden.py to record its digest")
    assert entry["digest"] == expected["digest"], (
        f"the output of {stage} changed: raise its version in curate/pipelines/stages.py, then run golden.py"
    )


@pytest.mark.parametrize("road", GOLDEN)
def test_every_stage_of_a_road_has_its_digest(found: Callable[[str], Digests], road: str) -> None:
    assert set(found(road)) == set(GOLDEN[road])


def test_the_roads_lead_through_every_stage_and_every_format() -> None:
    assert set(GOLDEN) == {golden["WARC"], *golden["roads"]()}
    # no document of a road is lost
    left_out = {"quarantine"}
    # all of it follows from fastText's word vectors, whose last bits are the processor's own
    left_out |= {stage for stage in STAGES if stage.startswith("semantic.")}
    assert {stage for road in GOLDEN.values() for stage in road} == set(STAGES) - left_out
    read = "".join(road.recipe for road in golden["roads"]().values()) + ".warc"
    assert all(f".{name}" in read for name in READERS)
