from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest
from rich.console import Console

from curate.engine.tasks import FLOWS, Flow, Receipt
from curate.report.progress import LiveProgress, PlainProgress, show_progress


def receipt(kept: int = 0, dropped: int = 0, errors: int = 0) -> Receipt:
    counts = {"in": kept + dropped + errors, "kept": kept, "dropped": dropped, "errors": errors}
    flows = {name: Flow(counts[name]) for name in FLOWS}
    return Receipt("k", "collect", "unit", {}, flows, {}, {}, [], {})


@pytest.fixture
def plain() -> Any:
    """Return a function that runs a script against a plain progress and returns its lines without times."""

    def run(script: Any, **settings: Any) -> list[str]:
        stream = io.StringIO()
        progress = PlainProgress(Console(file=stream, width=80, markup=False), **settings)
        script(progress)
        progress.close()
        return [re.sub(r"\d+ s$", "T s", line) for line in stream.getvalue().splitlines()]

    return run


def test_a_phase_is_one_line_when_it_ends(plain: Any) -> None:
    def script(progress: Any) -> None:
        progress.phase("collect", 3, 1)
        progress.finished(receipt(1000, errors=2))
        progress.finished(receipt(500))
        progress.phase("duplicate.id-reduce", 1, 0)
        progress.finished(receipt())

    assert plain(script) == [
        "collect: 3/3 tasks, 1 done before, 1,502 in, 1,500 kept, 2 errors, T s",
        "duplicate.id-reduce: 1/1 task, T s",
    ]


def test_a_phase_that_was_done_before_says_so(plain: Any) -> None:
    assert plain(lambda progress: progress.phase("collect", 12, 12)) == ["collect: 12 tasks, done before"]


def test_a_phase_that_stops_half_way_says_where(plain: Any) -> None:
    def script(progress: Any) -> None:
        progress.phase("collect", 2, 0)
        progress.finished(receipt(5, dropped=1))

    assert plain(script) == ["collect: 1/2 tasks, 6 in, 5 kept, 1 dropped, T s"]


def test_a_long_task_is_not_silent(plain: Any) -> None:
    def script(progress: Any) -> None:
        progress.phase("collect", 1, 0)
        time.sleep(0.25)

    lines = plain(script, every_s=0.05)
    assert 2 <= len(lines) <= 6
    assert set(lines) == {"collect: 0/1 task, T s"}


def test_a_quick_phase_prints_no_line_in_between(plain: Any) -> None:
    def script(progress: Any) -> None:
        for number in range(200):
            progress.phase("collect", 1, 0)
            progress.finished(receipt(number))

    assert len(plain(script)) == 200


def test_notes_are_lines_of_their_own_without_control_characters(plain: Any) -> None:
    assert plain(lambda progress: progress.note("collect a.warc.gz: \x1b[31mdied")) == [
        "note: collect a.warc.gz: \\x1b[31mdied"
    ]


def test_a_long_line_is_not_broken(plain: Any) -> None:
    name = "decide-" + "-".join(["gopher_quality"] * 8)
    assert plain(lambda progress: progress.phase(name, 1, 1)) == [f"{name}: 1 task, done before"]


def test_a_terminal_shows_a_bar_and_keeps_finished_phases() -> None:
    stream = io.StringIO()
    progress = LiveProgress(Console(file=stream, width=80, force_terminal=True, color_system=None, markup=False))
    progress.phase("duplicate.id-with-a-very-long-name-scatter", 2, 0)
    progress.finished(receipt(10))
    progress.finished(receipt(10, errors=1))
    progress.note("something \x1b[31m happened")
    progress.close()
    text = stream.getvalue()
    assert "duplicate.id-with-a-very-long-name-scatter: 2/2 tasks, 21 in, 20 kept, 1 error" in text.replace("\n", " ")
    assert "\x1b[31m" not in text


def test_without_a_terminal_progress_is_plain() -> None:
    with show_progress(Console(file=io.StringIO())) as progress:
        assert isinstance(progress, PlainProgress)
    with show_progress(Console(file=io.StringIO(), force_terminal=True)) as progress:
        assert isinstance(progress, LiveProgress)
