from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from rich.cells import cell_len

from curate.filters.rules import Limit, ResolvedRule
from curate.pipelines.plan import Plan, PlannedTask
from curate.pipelines.run import Summary
from curate.report import show
from curate.report.samples import Sample, read_samples
from curate.report.stats import Amount, Group, read_stats
from curate.report.tables import groups_table, sum_line
from curate.report.terminal import make_console

LONG = "a_filter_with_a_long_name.and_a_reason_that_no_terminal_of_eighty_columns_can_hold_in_one_line"


@pytest.fixture
def shown(tmp_path: Any) -> Any:
    """Return a function that prints on a terminal of 80 columns and returns the lines, none of which may be wider but
    those that hold the path of the run."""

    def run(function: Any, *arguments: Any, **settings: Any) -> list[str]:
        stream = io.StringIO()
        function(make_console(file=stream, width=80, **settings), *arguments)
        lines = stream.getvalue().splitlines()
        if not settings.get("force_terminal"):
            assert [line for line in lines if cell_len(line) > 80 and str(tmp_path) not in line] == []
        return lines

    return run


def cells(lines: list[str], name: str) -> list[str]:
    """Return the cells of the row that begins with `name`."""
    return next(line.strip()[len(name) :].split() for line in lines if line.strip().startswith(f"{name} "))


def test_the_funnel_adds_up_line_by_line(little_run: Any, shown: Any) -> None:
    lines = shown(show.show_stats, read_stats(str(little_run.folder)), "none")
    assert cells(lines, "read") == ["11", "100.0%"]
    assert cells(lines, "− skipped") == ["2", "18.2%"]
    assert cells(lines, "− errors") == ["1", "9.1%"]
    assert cells(lines, "= documents") == ["8", "72.7%"]
    dropped = [int(cells(lines, f"− {step}")[0]) for step in ("duplicate.id", "language", "quality", "duplicate.exact")]
    assert 8 - sum(dropped) == int(cells(lines, "= kept")[0]) == 3
    assert "11 in = 3 kept + 5 dropped + 1 error + 2 skipped" in lines


def test_reasons_stand_below_their_step_and_those_without_a_document_are_left_out(little_run: Any, shown: Any) -> None:
    lines = shown(show.show_stats, read_stats(str(little_run.folder)), "none")
    at = next(n for n, line in enumerate(lines) if line.startswith("− quality"))
    assert [line.split()[0] for line in lines[at + 1 : at + 3]] == ["words", "mean_length"]
    assert not any(line.split()[:1] == ["long"] for line in lines)


def test_further_tables_are_shown_as_asked(little_run: Any, shown: Any) -> None:
    stats = read_stats(str(little_run.folder))
    heads = {by: [line.split()[0] for line in shown(show.show_stats, stats, by) if line] for by in ("none", "both")}
    assert {"language", "source"} <= set(heads["both"])
    assert "source" not in heads["none"]
    assert not any(line.startswith("source") for line in shown(show.show_stats, stats, "language"))


def test_a_long_reason_is_folded_and_never_cut(builder: Any, doc: Any, shown: Any) -> None:
    rules = [ResolvedRule(reason=LONG, signal="words.count", low=Limit(value=50))]
    built = builder([doc(0, words=1), doc(1)], rules=rules).collect().duplicates("duplicate.id").decide().tally()
    for lines in (
        shown(show.show_stats, read_stats(str(built.folder)), "none"),
        shown(show.show_samples, read_samples(str(built.folder), LONG)),
    ):
        # what stands in the first column, or in the whole line where there is one column
        text = "".join(re.sub(r"  +\S+  +\S+%.*", "", line).strip() for line in lines)
        assert LONG.split(".")[1] in text
        assert "…" not in text


def test_after_twenty_languages_the_rest_is_one_row(shown: Any) -> None:
    groups = [Group(f"l{n:02d}", Amount(100 - n, 10, 1), Amount(1, 5, 1)) for n in range(23)]
    lines = shown(lambda console: console.print(groups_table("language", groups)))
    assert lines[-1].split() == ["3", "more", "237", "3", "1.3%", "15", "B", "3"]
    assert len(lines) == 1 + 20 + 1


def test_an_unfinished_run_says_what_is_missing(builder: Any, doc: Any, shown: Any) -> None:
    built = builder([doc(0)], [doc(1)]).collect(done=1)
    lines = " ".join(line.rstrip() for line in shown(show.show_stats, read_stats(str(built.folder)), "both"))
    assert "unfinished: the phase collect has 1 of 2 tasks done; run the recipe again to go on" in lines
    assert "= kept so far" in lines


def test_quarantined_documents_are_told(builder: Any, doc: Any, shown: Any) -> None:
    built = builder([doc(0)]).collect(quarantined=[{"file": "a", "offset": 3, "reason": "error.crash"}])
    assert "in quarantine: 1 document" in shown(show.show_stats, read_stats(str(built.folder)), "none")


def hostile(**changes: Any) -> Sample:
    page = "\x1b]0;title\x07\x1b[2J[bold]markup[/bold] \u202egnp.exe\r\nnext \ud83d\ude00"
    known = {"reason": "q.r\x1b[1m", "signal": "s", "value": page, "bound": f"any_of {page}", "distance": None}
    told = {
        "id": "00",
        "url": f"https://a.example/{page}",
        "source": "web",
        "also": [page],
        "kept_id": None,
        "text": page,
    }
    return Sample(**{**known, **told, "detail": page, **changes})


def test_no_control_character_of_a_page_reaches_the_terminal(shown: Any) -> None:
    lines = shown(show.show_samples, [hostile()])
    assert not {c for line in lines for c in line if ord(c) < 32 or 0x7F <= ord(c) <= 0x9F or c in "\u202e\ud83d\ude00"}
    assert any("[bold]markup[/bold]" in line for line in lines)
    assert any("\\u202e" in line for line in lines)


def test_a_terminal_gets_only_the_escapes_that_we_write(shown: Any) -> None:
    text = "\n".join(shown(show.show_samples, [hostile()], force_terminal=True, color_system="standard"))
    assert "\x1b]0" not in text
    assert "\x1b[2J" not in text
    assert "\x07" not in text


def test_a_large_text_value_is_cut(shown: Any) -> None:
    assert len(shown(show.show_samples, [hostile(value="v" * 10_000, text="t " * 5000)])) < 40


def test_json_is_ascii() -> None:
    stream = io.StringIO()
    show.show_json(make_console(file=stream, width=80), [hostile().to_json()])
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()
    assert json.loads(stream.getvalue())[0]["detail"].startswith("\x1b]0;")


def test_the_sum_line_names_every_part(little_run: Any) -> None:
    assert sum_line(read_stats(str(little_run.folder))) == "11 in = 3 kept + 5 dropped + 1 error + 2 skipped"


def test_a_plan_groups_the_phases_of_an_exchange_and_of_a_search(shown: Any) -> None:
    later = ["duplicate.id-scatter", "duplicate.id-reduce", "quantile-best-0", "quantile-best-1", "decide-best", "pack"]
    tasks = [PlannedTask(f"k{n}", f"web/crawl-{n}", 1000, "one task: cannot be split") for n in range(30)]
    found = Plan("s3://key:secret@bucket/run?x=y", [("a", 1)], "collect", 31, tasks, 30_000, later)
    lines = [line.rstrip() for line in shown(show.show_plan, found)]
    assert lines[:2] == ["done: 1 phase, 1 task", "next: collect, 30 of 31 tasks, 30.0 kB to read"]
    assert lines[-3].startswith("10 more")
    assert lines[-1] == "then: duplicate.id, quantile-best, decide-best, pack"
    data = show.plan_json(found)
    assert json.loads(json.dumps(data)) == data
    assert data["run"] == "s3://bucket/run"
    assert len(data["missing"]) == 30


def test_a_summary_shows_no_keys(little_run: Any, shown: Any) -> None:
    summary = Summary("s3://key:secret@bucket/run?secret_key=x", "f" * 64, {}, [])
    stats = read_stats(str(little_run.folder))
    text = "\n".join(shown(show.show_summary, summary, stats)) + json.dumps(show.summary_json(summary, stats))
    assert "s3://bucket/run/shards" in text
    assert "secret" not in text
