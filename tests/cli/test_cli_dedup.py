"""The commands of `curate dedup`, and the alarm, as people and scripts meet them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate.cli import app

RECIPE = """
name = "little"
steps = ["exact"]
[[sources]]
name = "web"
input = ["pages.jsonl"]
[dedup.exact.alarm]
min_documents = 10
"""
PAGE = "The same page\nagain and again, \x1b[31mall the time and everywhere."
OTHER = "Another page."
Call = Callable[..., Any]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command where there is a recipe over 19 copies of a page and one other, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    texts = [PAGE] * 19 + [OTHER]
    rows = [json.dumps({"text": text, "url": f"https://a.example/{n}"}) for n, text in enumerate(texts)]
    Path("pages.jsonl").write_text("\n".join(rows))
    Path("little.toml").write_text(RECIPE)
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})
    return lambda *words: runner.invoke(app, list(words))


def run(call: Call, *options: str) -> Any:
    return call("run", "little.toml", "--output", "out", "--executor", "inline", *options)


def test_an_alarm_stops_with_4_and_goes_on_when_it_is_told_to(call: Call) -> None:
    assert run(call).exit_code == 0
    stopped = run(call, "--set", "dedup.exact.alarm.max_lost_share_per_source=0.5")
    assert stopped.exit_code == 4
    assert stopped.stdout == ""
    assert "stopped: the dedup step exact" in stopped.stderr
    assert "source web: 18 of 20 documents would go (90.00%)" in stopped.stderr
    assert "--allow-loss exact" in stopped.stderr
    planned = call("plan", "little.toml", "--output", "out", "--set", "dedup.exact.alarm.max_cluster_size=2")
    assert planned.exit_code == 4
    strict = ("--set", "dedup.exact.alarm.max_lost_share_per_source=0.5")
    allowed = run(call, *strict, "--allow-loss", "exact", "--json")
    assert allowed.exit_code == 0
    assert json.loads(allowed.stdout)["executed"] == {}
    assert call("plan", "little.toml", "--output", "out", *strict, "--allow-loss", "exact").exit_code == 0
    wrong = run(call, "--allow-loss", "exakt")
    assert wrong.exit_code == 2
    assert "exakt" in wrong.stderr


def test_a_stopped_run_can_be_looked_at(call: Call) -> None:
    assert run(call, "--set", "dedup.exact.alarm.max_cluster_size=18").exit_code == 4
    (step,) = json.loads(call("dedup", "clusters", "out", "--step", "exact", "--json").stdout)
    assert (step["step"], step["documents"], step["removed"]) == ("exact", 20, 18)
    assert step["histogram"] == [{"smallest": 16, "clusters": 1, "documents": 19, "kept_bytes": len(PAGE)}]
    assert step["sources"][0] == {
        "name": "web", "documents": 20, "removed": 18, "bytes": 19 * len(PAGE) + len(OTHER),
        "removed_bytes": 18 * len(PAGE), "share": 0.9,
        "removed_tokens": None,
    }  # fmt: skip
    (cluster,) = step["largest"]
    assert len(cluster["removed"]) == 3
    assert cluster["kept"]["line"] == "The same page"
    (audit,) = json.loads(call("dedup", "audit", "out", "--json").stdout)
    assert (audit["sampled"], audit["rate"]["false"], audit["chained"]) == (18, 0, 0)


def test_tables_hold_the_same(call: Call) -> None:
    assert run(call).exit_code == 0
    shown = call("dedup", "clusters", "out", "--members", "1", "-n", "1")
    assert "exact: 20 in, 18 removed (90.0%)" in shown.stdout
    assert "16 to 31" in shown.stdout
    assert shown.stdout.count("1.000   web") == 1
    audit = call("dedup", "audit", "out", "--sample", "5", "--seed", "3")
    assert "0.00% to 52.18%" in audit.stdout
    for page in (shown, audit):
        assert max(len(line.rstrip()) for line in page.stdout.splitlines()) <= 80
        assert "\x1b" not in page.stdout


def test_mistakes_are_told_with_2(call: Call) -> None:
    nowhere = call("dedup", "audit", "nowhere")
    assert nowhere.exit_code == 2
    assert "no run folder" in nowhere.stderr
    assert run(call).exit_code == 0
    wrong = call("dedup", "clusters", "out", "--step", "exakt")
    assert wrong.exit_code == 2
    assert "did you mean" in wrong.stderr


def test_a_run_that_removed_nothing_says_so(call: Call) -> None:
    Path("pages.jsonl").write_text(json.dumps({"text": "One page."}))
    assert run(call).exit_code == 0
    audit = call("dedup", "audit", "out")
    assert (audit.exit_code, audit.stdout) == (0, "")
    assert "no document was removed" in audit.stderr
    assert json.loads(call("dedup", "audit", "out", "--json").stdout) == []
