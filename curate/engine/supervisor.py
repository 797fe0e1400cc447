"""Keeps one worker process at work: a crash, a document that never ends or eats memory costs that process, not ours.

The watch is outside the worker, so it holds while native code runs, whatever the worker's interpreter lock does. The
worker's last heartbeat, in shared memory, names what it was working on when it died.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Final

from pyarrow import supported_memory_backends

from curate.engine.tasks import DOCUMENT, Job
from curate.engine.worker import HEARTBEAT_BYTES, Heartbeat

POLL_S: Final = 0.1
OTHER_GRACE_S: Final = 120.0


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return 0
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(shown.stdout or 0) * 1024


class Supervisor:
    """Runs jobs one after another in a worker process that is replaced when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pulse: Heartbeat | None = None
        self._send = self._receive = -1
        self._import_paths: tuple[str, ...] = ()

    def _start(self, import_paths: Sequence[str]) -> None:
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        handle, path = tempfile.mkstemp(prefix="curate-heartbeat-", dir=folder)
        os.truncate(handle, HEARTBEAT_BYTES)
        os.close(handle)
        jobs, self._send = os.pipe()
        self._receive, outcomes = os.pipe()
        own = [entry for entry in sys.path if entry]
        self._import_paths = tuple(import_paths)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "curate.engine.worker", str(jobs), str(outcomes), path, str(os.getpid())],
            pass_fds=(jobs, outcomes),
            stdin=subprocess.DEVNULL,
            # what this process finds comes first: on another machine the driver's folders may be missing or older
            env={
                **os.environ,
                **SINGLE_THREADED,
                "ARROW_DEFAULT_MEMORY_POOL": next(name for name in ALLOCATORS if name in supported_memory_backends()),
                "PYTHONPATH": os.pathsep.join(dict.fromkeys([*own, *import_paths])),
            },
        )
        os.close(jobs)
        os.close(outcomes)
        self._pulse = Heartbeat(path)
        # the worker has mapped the file once it answers; until then it must keep its name
        self._path: str | None = path

    def run(self, job: Job) -> dict[str, Any]:
        """Run one job and return its outcome (see `worker.attempt`), or a failure of kind ``crash``, ``timeout`` or
        ``memory`` whose ``suspect`` is the label of the last heartbeat."""
        if self._process is None or self._process.poll() is not None or self._import_paths != tuple(job.import_paths):
            self.close()
            self._start(job.import_paths)
        assert self._process is not None
        assert self._pulse is not None
        began = time.monotonic()
        try:
            _write_all(self._send, json.dumps(job.to_json()).encode() + b"\n")
        except BrokenPipeError:
            return self._failed("crash", "the worker ended before it took the job", began)
        answer = bytearray()
        while True:
            readable, _, _ = select.select([self._receive], [], [], POLL_S)
            if readable:
                chunk = os.read(self._receive, 1 << 20)
                if not chunk:
                    code = self._process.wait()
                    return self._failed("crash", _explain_exit(code), began)
                answer += chunk
                if answer.endswith(b"\n"):
                    if self._path is not None:
                        os.unlink(self._path)
                        self._path = None
                    outcome: dict[str, Any] = json.loads(answer)
                    if "failure" in outcome:
                        outcome["suspect"] = self._suspect(began)
                    return outcome
            beat, label = self._pulse.read()
            # only one document's own time is short: starting, compiling kernels, sorting and uploading may take longer
            grace = job.timeout_s if label.startswith(DOCUMENT) and beat >= began else job.timeout_s + OTHER_GRACE_S
            if time.monotonic() - max(beat, began) > grace:
                return self._failed("timeout", f"no progress for {job.timeout_s:g} s", began)
            used = resident_bytes(self._process.pid)
            if used > job.memory_bytes:
                limit = job.memory_bytes >> 20
                return self._failed("memory", f"{used >> 20} MiB resident, over the limit of {limit} MiB", began)

    def _suspect(self, began: float) -> str:
        assert self._pulse is not None
        beat, label = self._pulse.read()
        return label if beat >= began else ""

    def _failed(self, kind: str, message: str, began: float) -> dict[str, Any]:
        suspect = self._suspect(began)
        self.close()
        return {"failure": kind, "message": message, "suspect": suspect}

    def close(self) -> None:
        """End the worker process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            os.close(self._send)
            os.close(self._receive)
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None
            if self._path is not None:
                os.unlink(self._path)
                self._path = None


SINGLE_THREADED: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS"), "1"
)
"""One thread a worker: parallelism is the number of workers, and float sums must not depend on threads."""
ALLOCATORS: Final = ("jemalloc", "system")
"""Arrow's allocators that give back what was freed, the best first: its default one keeps 50 MB of a worker."""


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _explain_exit(code: int) -> str:
    if code < 0:
        return f"the worker was killed by {signal.Signals(-code).name}"
    return f"the worker ended with exit code {code}"
