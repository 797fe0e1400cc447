"""Measure one side of a comparison: a fresh process on one thread, CPU-seconds of it and all its children.

A side is a function ``side(inputs, meter) -> facts``. What it does before ``with meter:`` (imports, models, compiled
code, a warm-up on a few pages) is start-up, what it does inside is measured, on every side in the same way. CPU-seconds
are user + system time of the process and of every child that has ended, so threads and sandboxes count.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.inputs import Inputs, SkippedError

ROOT: Final = Path(__file__).resolve().parent.parent
MAX_SIDE_S: Final = 3600.0
TOUCHED_BYTES: Final = 2 << 30
THREADS: Final = ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON")
ONE_THREAD: Final = {**{f"{name}_NUM_THREADS": "1" for name in THREADS}, "ARROW_IO_THREADS": "1"}


class SideError(Exception):
    """A side could not run; the message says why."""


@dataclass
class Meter:
    """CPU and wall seconds of what happens inside ``with meter:``, which may be entered several times."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    _began: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    def __enter__(self) -> Meter:
        gc.collect()
        touch_pages()
        self._began = cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s += cpu_seconds() - self._began[0]
        self.wall_s += time.perf_counter() - self._began[1]


def touch_pages() -> None:
    """Write `TOUCHED_BYTES` to a file and delete it: on a virtual machine the first use of a page of memory costs the
    host's time, which would count against whoever happens to come first."""
    block = bytes(16 << 20)
    with tempfile.TemporaryFile() as file:
        for _ in range(TOUCHED_BYTES // len(block)):
            file.write(block)


@dataclass(frozen=True)
class Sample:
    """One run of one side. `cpu_s`, `wall_s`: the measured part. `startup_cpu_s`: everything else that the process and
    its children did. `peak_mib`: resident memory of the process itself. `facts`: what the side says of its work, with
    ``documents`` and ``bytes`` (of text) at least."""

    cpu_s: float
    wall_s: float
    startup_cpu_s: float
    peak_mib: float
    facts: dict[str, Any]

    def per_cpu_s(self, unit: str) -> float:
        """Return documents, or MB (10^6 bytes), per CPU-second."""
        amount = self.facts["bytes"] / 1e6 if unit == "MB" else self.facts["documents"]
        return float(amount / self.cpu_s)


def cpu_seconds() -> float:
    """Return user + system seconds of this process, all its threads, and all its children that have been waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def high_water_mib(pid: int | str = "self") -> float:
    """Return the peak resident memory of a process in MiB; 0 once it is gone.

    Not ``ru_maxrss``: after a vfork that still holds the peak of the parent.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        if pid != "self":
            return 0.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1024


def run_side(function: str, inputs: Inputs, options: dict[str, Any] | None = None) -> Sample:
    """Run ``module:function`` in a fresh process and return what it measured. Raises SideError or SkippedError."""
    with tempfile.TemporaryDirectory(prefix="curate-bench-", dir=inputs.folder) as scratch:
        answer, log = Path(scratch) / "answer.json", Path(scratch) / "log"
        order = {"function": function, "inputs": asdict(inputs) | {"scratch": scratch}, "options": options or {}}
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.measure", json.dumps(order), str(answer)],
                cwd=ROOT,
                env={**os.environ, **ONE_THREAD},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
            watchdog = threading.Timer(MAX_SIDE_S, process.kill)
            watchdog.start()
            _, status, usage = os.wait4(process.pid, 0)
            watchdog.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0 or not answer.exists():
            raise SideError(
                f"{function} ended with code {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
            )
        told = json.loads(answer.read_text())
    if "skipped" in told:
        raise SkippedError(told["skipped"])
    total = usage.ru_utime + usage.ru_stime
    return Sample(startup_cpu_s=total - told["cpu_s"], **told)


def run_rounds(
    sides: dict[str, str],
    inputs: Inputs,
    runs: int,
    tell: Callable[[str], None],
    options: dict[str, Any] | None = None,
    once: Collection[str] = (),
) -> dict[str, list[Sample]]:
    """Run every side `runs` times, those of `once` in the first round alone, interleaved (A B A B), so that what else
    the machine does falls on all of them.

    Return the samples by side; a side that cannot run here is told of and has none.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    skipped: set[str] = set()
    for number in range(runs):
        for name, function in sides.items():
            if name in skipped or (number and name in once):
                continue
            try:
                sample = run_side(function, inputs, options)
            except SkippedError as error:
                tell(f"  {name}: skipped: {error}")
                skipped.add(name)
                continue
            samples[name].append(sample)
            tell(
                f"  {name} {number + 1}/{runs}: {sample.cpu_s:.2f} CPU-s (start-up {sample.startup_cpu_s:.1f}), "
                f"{sample.wall_s:.2f} s wall, {sample.facts.get('documents', 0)} documents, {sample.peak_mib:.0f} MiB"
            )
    return samples


@dataclass(frozen=True)
class Row:
    """A line of a table: what was compared, both figures, their ratio, and what is wanted."""

    what: str
    ours: str
    other: str = ""
    ratio: str = ""
    wanted: str = ""


def spread(values: Sequence[float], digits: int | None = None, unit: str = "") -> str:
    """Return ``median (min–max)`` of some runs."""

    def told(value: float) -> str:
        places = digits if digits is not None else 0 if value >= 100 else 1 if value >= 10 else 2
        return f"{value:,.{places}f}"

    middle = f"{told(statistics.median(values))}{unit}"
    return middle if len(values) == 1 else f"{middle} ({told(min(values))}–{told(max(values))})"


def rate(samples: Sequence[Sample], unit: str) -> str:
    """Return documents (unit ``documents``) or MB (unit ``MB``) per CPU-second of some runs."""
    return (
        spread([sample.per_cpu_s(unit) for sample in samples], unit=f" {'docs' if unit == 'documents' else unit}/CPU-s")
        if samples
        else "not run"
    )


def ratio(ours: Sequence[Sample], other: Sequence[Sample], unit: str) -> list[float]:
    """Return our rate over the other's, round by round: both sides of a ratio ran one after the other."""
    return [a.per_cpu_s(unit) / b.per_cpu_s(unit) for a, b in zip(ours, other, strict=False)]


def against(
    what: str,
    ours: Sequence[Sample],
    other: Sequence[Sample],
    unit: str,
    *,
    wanted: float | None = None,
    percent: bool = False,
) -> Row:
    """Return the row that compares two sides; `wanted` is the least ratio."""
    values = ratio(ours, other, unit)
    if not values:
        return Row(what, rate(ours, unit), rate(other, unit))
    scaled = [100 * value for value in values] if percent else values
    told = spread(scaled, 0 if percent else None, "%" if percent else "×")
    aim = "" if wanted is None else f"≥ {100 * wanted:.0f}%" if percent else f"≥ {wanted:g}×"
    return Row(what, rate(ours, unit), rate(other, unit), told, verdict(aim, statistics.median(values), wanted))


def divided(samples: Sequence[Sample], key: str) -> str:
    """Return how the CPU-seconds of a run divide (``facts[key]``), the median of each part, the largest first."""
    if not samples:
        return ""
    names = sorted({name for sample in samples for name in sample.facts[key]})
    middle = {name: statistics.median(sample.facts[key].get(name, 0.0) for sample in samples) for name in names}
    told = [
        f"{name} {middle[name]:.2f}" for name in sorted(names, key=lambda name: -middle[name]) if middle[name] >= 0.005
    ]
    return ", ".join(told)


def verdict(aim: str, value: float, least: float | None) -> str:
    """Return what is wanted, and whether `value` reaches it."""
    return aim if least is None else f"{aim} {'✓' if value >= least else '✗'}"


def main(order: dict[str, Any], answer: str) -> None:
    """Run one side in this process and leave its figures in `answer`."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    module, _, name = order["function"].partition(":")
    meter = Meter()
    try:
        facts = getattr(importlib.import_module(module), name)(Inputs(**order["inputs"]), meter, **order["options"])
        told = {"cpu_s": meter.cpu_s, "wall_s": meter.wall_s, "peak_mib": high_water_mib(), "facts": facts}
    except SkippedError as error:
        told = {"skipped": str(error)}
    Path(answer).write_text(json.dumps(told))


if __name__ == "__main__":
    # under its real name: a second copy of this module would have classes of its own
    importlib.import_module("benchmarks.measure").main(json.loads(sys.argv[1]), sys.argv[2])
