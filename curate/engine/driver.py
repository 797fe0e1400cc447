"""The driver: takes the tasks of a phase, skips those with receipts, runs the rest, and knows what each failure means.

========== ===========================================================================================================
failure    what follows
========== ===========================================================================================================
error      a bug or bad setting: a retry would repeat it; what is running finishes, then TaskError
invariant  documents were lost, or a stage is not deterministic: the same, then InvariantError
disk       no space: what is running finishes, then StorageFullError; nothing is half-committed
storage    the store did not answer: tried again after 1, 2, 4 … s, at most `max_attempts` times, then RetryableError
crash      the worker died: its last heartbeat is the suspect. A batch is taken one document at a time in the next
timeout    attempt; a document that is the suspect twice running is quarantined, and the task goes on without it
memory
========== ===========================================================================================================
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from curate.engine.executors import Executor
from curate.engine.ledger import Ledger, write_plan
from curate.engine.tasks import BATCH, DOCUMENT, Flow, Job, Receipt, TaskSpec
from curate.errors import CurateError, InvariantError, RetryableError, StorageFullError, TaskError


@dataclass(frozen=True)
class Limits:
    """What one attempt may use, and how often things are tried."""

    timeout_s: float = 600.0
    memory_bytes: int = 4 << 30
    max_attempts: int = 5
    max_quarantined: int = 100


class Progress(Protocol):
    """Hears what happens; the command line draws it."""

    def phase(self, name: str, tasks: int, done: int) -> None:
        """A phase of `tasks` tasks begins, `done` of which have receipts already."""

    def finished(self, receipt: Receipt) -> None:
        """A task was committed."""

    def note(self, message: str) -> None:
        """Something worth a line happened: a retry, a quarantine."""


class Silent:
    """A progress that shows nothing."""

    def phase(self, name: str, tasks: int, done: int) -> None:
        """Show nothing."""

    def finished(self, receipt: Receipt) -> None:
        """Show nothing."""

    def note(self, message: str) -> None:
        """Show nothing."""


@dataclass
class _State:
    """What the driver remembers of one task between attempts."""

    job: Job
    attempts: int = 0
    suspect: str = ""
    not_before: float = 0.0


class Driver:
    """Runs phases of one run folder, in order, on one executor."""

    def __init__(
        self,
        run: str,
        ledger: Ledger,
        executor: Executor,
        limits: Limits,
        progress: Progress,
        scratch: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.run = run
        self.ledger = ledger
        self.executor = executor
        self.limits = limits
        self.progress = progress
        self.scratch = scratch
        self._check = check
        self.executed: list[str] = []
        self.used: list[Receipt] = []
        self._phases = 0

    def run_phase(
        self, name: str, specs: Sequence[TaskSpec], prepare: Callable[[], None] | None = None
    ) -> list[Receipt]:
        """Bring every task of a phase to its receipt; return the receipts in the order of `specs`.

        `prepare` is called once before the first task, if there is any to run.

        Raises TaskError, StorageFullError or RetryableError after what was running has finished.
        """
        write_plan(self.run, self._phases, name, specs)
        self._phases += 1
        keys = [spec.key for spec in specs]
        found = self.ledger.find_all(keys)
        missing = {key: spec for key, spec in zip(keys, specs, strict=True) if key not in found}
        self.progress.phase(name, len(keys), len(keys) - len(missing))
        if missing:
            if prepare is not None:
                prepare()
            found |= self._run_missing(list(missing.values()))
            self.ledger.compact()
        receipts = [found[key] for key in keys]
        self.used += receipts
        return receipts

    def _job(self, spec: TaskSpec) -> Job:
        return Job(
            spec,
            self.run,
            scratch=self.scratch,
            timeout_s=self.limits.timeout_s,
            memory_bytes=self.limits.memory_bytes,
            import_paths=tuple(entry for entry in sys.path if entry),
        )

    def _run_missing(self, specs: Sequence[TaskSpec]) -> dict[str, Receipt]:
        waiting = deque(_State(self._job(spec)) for spec in specs)
        running: dict[str, _State] = {}
        done: dict[str, Receipt] = {}
        failure: CurateError | None = None
        while running or (waiting and failure is None):
            self._check()
            while waiting and failure is None and len(running) < self.executor.in_flight:
                state = _next_ready(waiting)
                if state is None:
                    break
                running[state.job.spec.key] = state
                self.executor.submit(state.job)
            if not running:
                time.sleep(0.05)
                continue
            for job, outcome in self.executor.wait():
                state = running.pop(job.spec.key)
                if "receipt" in outcome:
                    receipt = Receipt.from_json(outcome["receipt"])
                    self.ledger.add(receipt)
                    self.executed.append(receipt.stage)
                    done[receipt.key] = receipt
                    self.progress.finished(receipt)
                    continue
                try:
                    waiting.append(self._retry(state, outcome))
                except CurateError as error:
                    failure = failure or error
        if failure is not None:
            raise failure
        return done

    def _retry(self, state: _State, outcome: dict[str, Any]) -> _State:
        """Return what to try next, or raise the error that ends the run."""
        kind, message = outcome["failure"], outcome["message"]
        spec = state.job.spec
        where = f"{spec.stage} {spec.unit}"
        if kind == "error":
            raise TaskError(f"{where}: failed, and a retry would repeat it\n{message}")
        if kind == "invariant":
            raise InvariantError(message)
        if kind == "disk":
            raise StorageFullError(f"{where}: {message}")
        state.attempts += 1
        if kind == "storage":
            if state.attempts >= self.limits.max_attempts:
                raise RetryableError(
                    f"{where}: {message}; tried {state.attempts} times, run the same command again later"
                )
            state.not_before = time.monotonic() + 2.0 ** (state.attempts - 1)
            self.progress.note(f"{where}: {message}; trying again")
            return state
        return self._isolate(state, kind, message, outcome.get("suspect", ""))

    def _isolate(self, state: _State, kind: str, message: str, suspect: str) -> _State:
        """Plan the next attempt after a crash: careful with a suspect batch, without a document that was the suspect
        twice running."""
        job, where = state.job, f"{state.job.spec.stage} {state.job.spec.unit}"
        if suspect.startswith(DOCUMENT) and suspect == state.suspect and suspect not in job.skip:
            if len(job.skip) >= self.limits.max_quarantined:
                raise TaskError(f"{where}: {len(job.skip)} documents quarantined and still failing; look at this input")
            self.progress.note(f"{where}: {message}; quarantined {suspect}")
            state.job = replace(job, skip={**job.skip, suspect: f"error.{kind}"})
            state.suspect, state.attempts = "", 0
            return state
        if state.attempts >= self.limits.max_attempts:
            raise TaskError(f"{where}: {message}; failed {state.attempts} times without naming one document")
        finer = suspect.startswith(BATCH) and suspect not in job.careful
        if finer:
            state.job = replace(job, careful=(*job.careful, suspect))
        self.progress.note(f"{where}: {message}; trying again{', one document at a time' if finer else ''}")
        state.suspect = suspect
        return state


def _next_ready(waiting: deque[_State]) -> _State | None:
    now = time.monotonic()
    for _ in range(len(waiting)):
        state = waiting.popleft()
        if state.not_before <= now:
            return state
        waiting.append(state)
    return None


def total_flow(receipts: Sequence[Receipt], name: str) -> Flow:
    """Return the sum of one flow over receipts."""
    total = Flow()
    for receipt in receipts:
        total = total.plus(receipt.flows[name])
    return total


def check_barrier(phase: str, before: Flow, after: Flow) -> None:
    """Raise InvariantError unless what left one phase is what entered the next, as a count and as a sum of ids."""
    if before != after:
        raise InvariantError(
            f"{phase}: {before.count} documents were to come in, {after.count} did; this is a bug, please report it"
        )
