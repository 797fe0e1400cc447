"""A worker process: runs the jobs that its supervisor writes to a pipe, and beats for every document.

Run as ``python -m curate.engine.worker JOBS OUTCOMES HEARTBEAT`` (two pipe ends and a file). It ends with its
supervisor: the kernel is asked to kill it (Linux), and the closed pipe ends it everywhere.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import signal
import struct
import sys
import threading
import time
import traceback
from importlib.abc import MetaPathFinder
from typing import Any, Final

import numpy as np
import pyarrow as pa

from curate.engine.order_kernel import FEW, stable_order
from curate.engine.receipts import run_task
from curate.engine.tasks import Job
from curate.errors import CurateError, InvariantError, RetryableError, StorageFullError
from curate.storage import FULL_DISK_ERRNOS

HEARTBEAT_BYTES: Final = 1024
HEAD: Final = struct.Struct("<dH")
MAX_LABEL_BYTES: Final = HEARTBEAT_BYTES - HEAD.size
PR_SET_PDEATHSIG: Final = 1


class Heartbeat:
    """A small file in memory that both processes map: when the last document began, and its label."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), HEARTBEAT_BYTES)

    def beat(self, label: str) -> None:
        """Say that work on `label` begins now. Costs about a microsecond."""
        data = label.encode(errors="replace")[:MAX_LABEL_BYTES]
        HEAD.pack_into(self._map, 0, time.monotonic(), 0)
        self._map[HEAD.size : HEAD.size + len(data)] = data
        HEAD.pack_into(self._map, 0, time.monotonic(), len(data))

    def read(self) -> tuple[float, str]:
        """Return the monotonic time and the label of the last beat."""
        moment, length = HEAD.unpack_from(self._map, 0)
        return moment, bytes(self._map[HEAD.size : HEAD.size + length]).decode(errors="replace")

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()


def attempt(job: Job, beat: Any) -> dict[str, Any]:
    """Run a job and return its outcome as JSON data: ``{"receipt": …}``, or ``{"failure": kind, "message": …}`` with
    kind ``disk`` (no space), ``storage`` (worth a retry), ``memory``, ``invariant``
    (our bug) or ``error`` (a retry would only repeat it)."""
    try:
        return {"receipt": run_task(job, beat).to_json()}
    except StorageFullError as error:
        return {"failure": "disk", "message": str(error)}
    except RetryableError as error:
        return {"failure": "storage", "message": str(error)}
    except InvariantError as error:
        return {"failure": "invariant", "message": str(error)}
    except CurateError as error:
        return {"failure": "error", "message": str(error)}
    except MemoryError:
        return {"failure": "memory", "message": "out of memory"}
    except OSError as error:
        if error.errno in FULL_DISK_ERRNOS:
            return {"failure": "disk", "message": f"no space left: {error}"}
        return {"failure": "error", "message": traceback.format_exc(limit=-6)}
    except Exception:
        return {"failure": "error", "message": traceback.format_exc(limit=-6)}


def _end_with_supervisor(supervisor: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)


class _Hidden(MetaPathFinder):
    """Says of some packages that they are not installed."""

    def __init__(self, *packages: str) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """Refuse the packages and what is in them; leave all others to the next finder."""
        if name.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"{name} is hidden while a worker starts", name=name)


def start_light() -> None:
    """Start pyarrow and numba without what they load if it is there: pandas, which pyarrow looks for with its first
    array, and scipy, which numba looks for with its first kernel. Both together are 50 MB and half a second for each
    worker. A function of the user's that asks for them later gets them, and so do pyarrow and numba."""
    hidden = _Hidden("pandas", "scipy")
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0], pa.int8()).to_numpy()
        stable_order(np.zeros(FEW, dtype=np.uint64))
    finally:
        sys.meta_path.remove(hidden)


def give_back() -> None:
    """Return memory that a task has freed to the system, so that the next one does not begin with its gaps. What is
    left are modules, which need no garbage collection."""
    gc.collect()
    gc.freeze()
    pa.default_memory_pool().release_unused()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's alone
        trim(0)


def main(jobs: int, outcomes: int, heartbeat: str, supervisor: int) -> None:
    """Serve jobs, one JSON line each, until the pipe closes."""
    _end_with_supervisor(supervisor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    pulse = Heartbeat(heartbeat)
    start_light()
    source = os.fdopen(jobs, "rb")
    sink = os.fdopen(outcomes, "wb")
    lines: list[bytes] = []
    ready = threading.Semaphore(0)

    def listen() -> None:
        for line in source:
            lines.append(line)
            ready.release()
        os._exit(0)  # the supervisor is gone: stop even in the middle of a job

    threading.Thread(target=listen, name="jobs", daemon=True).start()
    while True:
        give_back()
        ready.acquire()
        outcome = attempt(Job.from_json(json.loads(lines.pop(0))), pulse.beat)
        sink.write(json.dumps(outcome).encode() + b"\n")
        sink.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
