"""What a run shows while it works: a bar on a terminal, elsewhere a line per phase and one every ten seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from curate.engine.driver import Progress as Listener
from curate.engine.tasks import Receipt
from curate.report.terminal import count_text, counted, make_console, printable

LINE_EVERY_S = 10.0
BAR_NAME_WIDTH = 24


@dataclass
class _Counts:
    """Where the current phase is; `documents_in` and what follows cover the tasks of this run alone."""

    name: str
    tasks: int
    done: int
    before: int
    began: float
    documents_in: int = 0
    kept: int = 0
    dropped: int = 0
    errors: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count a finished task."""
        self.done += 1
        self.documents_in += receipt.flows["in"].count
        self.kept += receipt.flows["kept"].count
        self.dropped += receipt.flows["dropped"].count
        self.errors += receipt.flows["errors"].count

    def documents(self) -> str:
        """Return what became of the documents, in words; nothing for phases that move none."""
        if not self.documents_in:
            return ""
        told = f"{count_text(self.documents_in)} in, {count_text(self.kept)} kept"
        if self.dropped:
            told += f", {count_text(self.dropped)} dropped"
        return told + (f", {counted(self.errors, 'error')}" if self.errors else "")

    def line(self) -> str:
        """Return one line about the phase."""
        if self.tasks == self.before:
            return f"{self.name}: {counted(self.tasks, 'task')}, done before"
        told = [f"{self.name}: {self.done}/{counted(self.tasks, 'task')}"]
        told += [f"{self.before} done before"] if self.before else []
        told += [documents] if (documents := self.documents()) else []
        return ", ".join([*told, f"{time.monotonic() - self.began:.0f} s"])


class PlainProgress:
    """Lines for logs: one when a phase ends, and one every `every_s` seconds while it runs."""

    def __init__(self, console: Console, every_s: float = LINE_EVERY_S) -> None:
        self._console = console
        self._every_s = every_s
        self._current: _Counts | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        # a task may take longer than a line's turn, so the driver's calls alone cannot time them
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        while not self._stop.wait(self._every_s):
            with self._lock:
                if self._current is not None and time.monotonic() - self._current.began >= self._every_s:
                    self._print(self._current.line())

    def _print(self, line: str) -> None:
        # one line stays one line, however wide: logs are searched, not read in columns
        self._console.print(Text(printable(line)), soft_wrap=True)

    def phase(self, name: str, tasks: int, done: int) -> None:
        """Begin a phase; end the one before."""
        with self._lock:
            self._end()
            self._current = _Counts(name, tasks, done, done, time.monotonic())
            if done == tasks:
                self._end()

    def _end(self) -> None:
        if self._current is not None:
            self._print(self._current.line())
            self._current = None

    def finished(self, receipt: Receipt) -> None:
        """Count a task; the last one of a phase ends it."""
        with self._lock:
            if self._current is not None:
                self._current.add(receipt)
                if self._current.done == self._current.tasks:
                    self._end()

    def note(self, message: str) -> None:
        """Print a line of its own."""
        with self._lock:
            for line in message.splitlines():
                self._print(f"note: {line}" if line == message else line)

    def close(self) -> None:
        """Print where an unfinished phase stopped."""
        self._stop.set()
        self._thread.join()
        with self._lock:
            self._end()


class LiveProgress:
    """A bar for the phase at work; finished phases and notes stay above it."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=14),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
            TextColumn("{task.fields[documents]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._console = console
        self._current: _Counts | None = None
        self._task = self._bar.add_task("", total=0, documents="", visible=False)
        self._bar.start()

    def phase(self, name: str, tasks: int, done: int) -> None:
        """Begin a phase; end the one before."""
        self._end()
        self._current = _Counts(name, tasks, done, done, time.monotonic())
        shown = name if len(name) <= BAR_NAME_WIDTH else name[: BAR_NAME_WIDTH - 1] + "…"
        self._bar.reset(
            self._task, total=tasks, completed=done, description=printable(shown), documents="", visible=True
        )
        if done == tasks:
            self._end()

    def _end(self) -> None:
        if self._current is not None:
            self._console.print(Text(printable(self._current.line())))
            self._current = None
        self._bar.update(self._task, visible=False)

    def finished(self, receipt: Receipt) -> None:
        """Move the bar."""
        if self._current is None:
            return
        self._current.add(receipt)
        # the whole sentence is too wide beside a bar
        kept, seen = count_text(self._current.kept), count_text(self._current.documents_in)
        told = f"{kept} of {seen} kept" if self._current.documents_in else ""
        told += f", {counted(self._current.errors, 'error')}" if self._current.errors else ""
        self._bar.update(self._task, completed=self._current.done, documents=told)
        if self._current.done == self._current.tasks:
            self._end()

    def note(self, message: str) -> None:
        """Print above the bar."""
        for line in message.splitlines():
            self._console.print(Text(printable(line), style="yellow"))

    def close(self) -> None:
        """Take the bar away; say where an unfinished phase stopped."""
        self._end()
        self._bar.stop()


@contextmanager
def show_progress(console: Console | None = None) -> Iterator[Listener]:
    """Give a progress for `curate.run` that draws on standard error: a bar on a terminal, else lines."""
    console = console or make_console(stderr=True)
    progress: LiveProgress | PlainProgress = LiveProgress(console) if console.is_terminal else PlainProgress(console)
    try:
        yield progress
    finally:
        progress.close()
