from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from curate.engine.driver import Driver, Limits, Silent
from curate.engine.executors import Executor, InlineExecutor
from curate.engine.ledger import FOLDERS, Ledger
from curate.engine.supervisor import Supervisor
from curate.engine.tasks import Job, TaskSpec


@pytest.fixture(autouse=True)
def _faulty_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its workers import `faulty` by name."""
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))


def numbers_spec(*numbers: int, **faults: str) -> TaskSpec:
    """Return a task that doubles numbers; faults are keyed ``n<number>``."""
    settings = {"numbers": list(numbers), "faults": {name[1:]: fault for name, fault in faults.items()}}
    return TaskSpec("double", 1, "map", "faulty:double", f"numbers {numbers}", settings, {})


@pytest.fixture
def spec() -> Callable[..., TaskSpec]:
    return numbers_spec


class SupervisedExecutor:
    """One supervised worker without Ray: what a Ray worker runs, in milliseconds."""

    in_flight = 2

    def __init__(self) -> None:
        self.supervisor = Supervisor()
        self.queue: list[Job] = []

    def submit(self, job: Job) -> None:
        self.queue.append(job)

    def wait(self) -> list[tuple[Job, dict[str, Any]]]:
        job = self.queue.pop(0)
        return [(job, self.supervisor.run(job))]

    def close(self) -> None:
        self.supervisor.close()


@pytest.fixture
def supervised() -> Iterator[SupervisedExecutor]:
    executor = SupervisedExecutor()
    yield executor
    executor.close()


@pytest.fixture
def make_driver(tmp_path: pathlib.Path) -> Callable[..., Driver]:
    """Return a function that opens the run folder afresh, as a new process would."""

    def make(executor: Executor | None = None, **limits: Any) -> Driver:
        run = tmp_path / "run"
        for folder in FOLDERS:
            (run / folder).mkdir(parents=True, exist_ok=True)
        ledger = Ledger(str(run))
        ledger.load()
        return Driver(str(run), ledger, executor or InlineExecutor(), Limits(**limits), Silent())

    return make
