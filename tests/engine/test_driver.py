from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from curate.engine.driver import Driver
from curate.engine.tasks import TaskSpec
from curate.errors import InvariantError, TaskError

Make = Callable[..., Driver]
Spec = Callable[..., TaskSpec]


def test_returns_receipts_in_the_order_of_the_specs(make_driver: Make, spec: Spec) -> None:
    receipts = make_driver().run_phase("double", [spec(3), spec(1), spec(2)])
    assert [receipt.stats["sum"] for receipt in receipts] == [6, 2, 4]


def test_does_nothing_again_that_has_a_receipt(make_driver: Make, spec: Spec) -> None:
    make_driver().run_phase("double", [spec(1), spec(2)])
    second = make_driver()
    second.run_phase("double", [spec(1), spec(2), spec(3)])
    assert second.executed == ["double"]


def test_does_a_task_again_whose_output_is_gone(make_driver: Make, spec: Spec) -> None:
    first = make_driver()
    (receipt,) = first.run_phase("double", [spec(1)])
    (pathlib.Path(first.run) / receipt.files("numbers")[0].path).unlink()
    second = make_driver()
    second.run_phase("double", [spec(1)])
    assert second.executed == ["double"]


def test_does_a_task_again_whose_receipt_is_damaged(make_driver: Make, spec: Spec) -> None:
    first = make_driver()
    (receipt,) = first.run_phase("double", [spec(1)])
    (pathlib.Path(first.run) / "receipts" / f"{receipt.key}.json").write_text('{"key":')
    second = make_driver()
    second.run_phase("double", [spec(1)])
    assert second.executed == ["double"]


def test_reads_compacted_receipts(make_driver: Make, spec: Spec) -> None:
    first = make_driver()
    first.run_phase("double", [spec(n) for n in range(5)])
    first.ledger.compact(at_least=3)
    receipts = list((pathlib.Path(first.run) / "receipts").iterdir())
    assert [path.suffix for path in receipts] == [".arrow"]
    second = make_driver()
    second.run_phase("double", [spec(n) for n in range(5)])
    assert second.executed == []


def test_a_bug_in_a_stage_is_not_tried_again(make_driver: Make, spec: Spec) -> None:
    driver = make_driver()
    with pytest.raises(TaskError, match="a bug"):
        driver.run_phase("double", [spec(1, n1="raise")])
    assert driver.executed == []


def test_a_stage_that_loses_a_document_is_an_error(make_driver: Make, spec: Spec) -> None:
    with pytest.raises(InvariantError, match="1 documents in, but 2"):
        make_driver().run_phase("double", [spec(1, n1="lose")])


def test_a_store_that_fails_once_is_asked_again(make_driver: Make, spec: Spec, tmp_path: pathlib.Path) -> None:
    fault = f"once:{tmp_path / 'marker'}"
    (receipt,) = make_driver().run_phase("double", [spec(1, n1=fault)])
    assert receipt.stats["sum"] == 2


@pytest.mark.parametrize(
    ("fault", "reason", "limits"),
    [
        ("crash", "error.crash", {}),
        ("hang", "error.timeout", {"timeout_s": 4.0}),
        ("eat", "error.memory", {"memory_bytes": 400 << 20}),
    ],
)
def test_quarantines_the_one_document_that_fells_its_worker(
    make_driver: Make, spec: Spec, supervised: Any, fault: str, reason: str, limits: dict[str, Any]
) -> None:
    driver = make_driver(supervised, **limits)
    poisoned, healthy = driver.run_phase("double", [spec(1, 2, 3, n2=fault), spec(4)])
    assert poisoned.quarantined == [{"number": 2, "reason": reason}]
    assert poisoned.stats["sum"] == 2 + 6
    assert healthy.stats["sum"] == 8


def test_a_worker_that_dies_once_costs_nothing(make_driver: Make, spec: Spec, supervised: Any) -> None:
    driver = make_driver(supervised)
    driver.run_phase("double", [spec(1)])
    supervised.supervisor._process.kill()
    (receipt,) = driver.run_phase("double", [spec(2)])
    assert receipt.stats["sum"] == 4
    assert receipt.quarantined == []


def test_two_attempts_that_write_different_bytes_are_an_error(make_driver: Make, spec: Spec) -> None:
    from curate.engine.receipts import write_receipt
    from curate.engine.tasks import FileRef

    driver = make_driver()
    (receipt,) = driver.run_phase("double", [spec(1)])
    other = {"numbers": [FileRef("documents/x.txt", "9-other", 9)]}
    with pytest.raises(InvariantError, match="different bytes"):
        write_receipt(driver.run, type(receipt)(**{**vars(receipt), "outputs": other}))


def test_a_key_depends_on_content_and_not_on_paths(spec: Spec) -> None:
    from dataclasses import replace

    from curate.engine.tasks import FileRef

    one = replace(spec(1), inputs={"source": (FileRef("/here/a.warc", "7-abc"),)})
    moved = replace(one, inputs={"source": (FileRef("s3://there/b.warc", "7-abc"),)}, unit="other name")
    changed = replace(one, inputs={"source": (FileRef("/here/a.warc", "7-abd"),)})
    assert one.key == moved.key
    assert one.key != changed.key
    assert one.key != replace(one, version=2).key
