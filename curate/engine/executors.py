"""Executors only schedule: they take jobs and give outcomes. What runs, and what is true afterwards, is not theirs.

``inline`` runs jobs in this process (tests, debugging, tiny inputs; a crash is a crash). ``ray`` runs each job under a
supervisor on a local Ray started for the run, or on the cluster that the user names; it never joins another one
silently. Only job descriptions and receipts cross Ray; documents never enter its object store.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
from collections import deque
from typing import Any, Final, Protocol

from curate import storage
from curate.engine.supervisor import Supervisor
from curate.engine.tasks import Job
from curate.engine.worker import attempt
from curate.errors import RecipeError

OBJECT_STORE_BYTES: Final = 100 << 20
WAIT_S: Final = 1.0
CONNECT_S: Final = 5.0
MAX_PORT: Final = 65_535


class Executor(Protocol):
    """What the driver asks of an executor."""

    in_flight: int
    """How many jobs it takes at a time."""

    def submit(self, job: Job) -> None:
        """Take a job; it may start later."""

    def wait(self) -> list[tuple[Job, dict[str, Any]]]:
        """Return finished jobs with their outcomes; empty after about a second without any."""

    def close(self) -> None:
        """Stop what is running and free everything."""


class InlineExecutor:
    """Runs each job in this process when its outcome is asked for. What the process holds already is left out of
    Python's garbage collection until it closes: to go through hundreds of thousands of objects of libraries again and
    again takes a tenth of the time of a cheap stage."""

    in_flight = 1

    def __init__(self) -> None:
        self._queue: deque[Job] = deque()
        self._label = ""
        self._froze = False

    def submit(self, job: Job) -> None:
        """Queue a job."""
        if not self._froze and not gc.get_freeze_count():  # not before: a plan makes an executor and gives it no job
            gc.freeze()
            self._froze = True
        self._queue.append(job)

    def wait(self) -> list[tuple[Job, dict[str, Any]]]:
        """Run the oldest job."""
        job = self._queue.popleft()
        outcome = attempt(job, self._beat)
        return [(job, {**outcome, "suspect": self._label} if "failure" in outcome else outcome)]

    def _beat(self, label: str) -> None:
        self._label = label

    def close(self) -> None:
        """Forget queued jobs."""
        self._queue.clear()
        if self._froze:
            gc.unfreeze()
            self._froze = False


_supervisor: Supervisor | None = None


def _supervise(job: str) -> str:
    """Run one job in this Ray worker's own worker process. Runs on a Ray worker."""
    global _supervisor
    if _supervisor is None:
        _supervisor = Supervisor()
    return json.dumps(_supervisor.run(Job.from_json(json.loads(job))))


class RayExecutor:
    """Runs jobs as plain Ray tasks, one worker process per Ray worker, without Ray's own retries."""

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        self._owned = not ray.is_initialized()
        if self._owned and address is None:
            # "local" never joins a cluster that happens to run on this machine
            ray.init(
                address="local",
                num_cpus=workers,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        elif self._owned:
            assert address is not None
            check_address(address)
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError as error:
                raise RecipeError(f"--address {address}: no Ray cluster answers ({_first_line(error)})") from error
        slots = max(1, workers or int(ray.cluster_resources().get("CPU", 1)))
        # our own Ray has as many processors as workers and may queue; another's would run whatever it is given
        self.in_flight = 2 * slots if self._owned and address is None else slots
        self._function = ray.remote(max_retries=0, num_cpus=1)(_supervise)
        self._running: dict[Any, Job] = {}

    @property
    def nodes(self) -> int:
        """How many nodes of the cluster can run jobs."""
        return sum(1 for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0)

    def submit(self, job: Job) -> None:
        """Hand a job to Ray."""
        self._running[self._function.remote(json.dumps(job.to_json()))] = job

    def wait(self) -> list[tuple[Job, dict[str, Any]]]:
        """Return at least one finished job, or nothing after a second."""
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=WAIT_S)
        return [(self._running.pop(reference), self._outcome(reference)) for reference in done]

    def _outcome(self, reference: Any) -> dict[str, Any]:
        errors = self._ray.exceptions
        try:
            outcome: dict[str, Any] = json.loads(self._ray.get(reference))
        except errors.OutOfMemoryError as error:
            return {"failure": "memory", "message": _first_line(error), "suspect": ""}
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.RaySystemError) as error:
            return {"failure": "crash", "message": _first_line(error), "suspect": ""}
        except errors.RayError as error:
            return {"failure": "error", "message": str(error), "suspect": ""}
        return outcome

    def close(self) -> None:
        """Cancel what runs; end the Ray that this executor started."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._owned:
            self._ray.shutdown()


def check_address(address: str) -> None:
    """Raise RecipeError unless something listens at a ``HOST:PORT``: Ray itself would try for minutes, silently."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise RecipeError(f"--address {address}: is no address; write auto or HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise RecipeError(f"--address {address}: nothing answers there ({why}); is the cluster up?") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def make_executor(kind: str, run: str, *, workers: int | None, address: str | None, shared_folder: bool) -> Executor:
    """Return the executor of a run.

    Raises RecipeError for an unknown kind, and for a run folder on a local disk with more than one node, unless the
    user says that all nodes share that folder.
    """
    if kind == "inline":
        return InlineExecutor()
    if kind != "ray":
        raise RecipeError(f"--executor {kind}: unknown; use inline or ray")
    executor = RayExecutor(workers=workers, address=address)
    if executor.nodes > 1 and storage.is_local(run) and not shared_folder:
        nodes = executor.nodes
        executor.close()
        raise RecipeError(
            f"{run}: is on this machine's disk, but the cluster has {nodes} nodes; use an object store (s3://…), "
            "or pass --shared-folder if every node sees this folder"
        )
    return executor
