"""A stage whose output changes must get a new version, or old receipts would speak for new bytes."""

from __future__ import annotations

import json
import pathlib
import runpy

import pytest

from curate.pipelines.stages import STAGES

HERE = pathlib.Path(__file__).parent
GOLDEN = json.loads((HERE / "golden.json").read_text())
NOT_IN_THE_REFERENCE = {"quantile", "merge"}


@pytest.fixture(scope="module")
def found(reference: pathlib.Path) -> dict[str, dict[str, object]]:
    digests: dict[str, dict[str, object]] = runpy.run_path(str(HERE / "golden.py"))["digests"](reference)
    return digests


@pytest.mark.parametrize("stage", sorted(set(STAGES) - NOT_IN_THE_REFERENCE))
def test_output_changes_only_with_the_version(found: dict[str, dict[str, object]], stage: str) -> None:
    if found[stage]["version"] != GOLDEN[stage]["version"]:
        pytest.fail(f"{stage} has a new version: run golden.py on a finished run to record its digest")
    assert found[stage]["digest"] == GOLDEN[stage]["digest"], (
        f"the output of {stage} changed: raise its version in curate/pipelines/stages.py, then run golden.py"
    )
