"""The report on clusters says what the verdicts of each dedup step say."""

from __future__ import annotations

import pathlib
from collections import Counter

import pytest
from dedup_run import SIZE, run_it, verdicts

from curate.report.clusters import StepClusters, first_line, read_clusters
from curate.report.dedup_tables import show_clusters
from curate.report.terminal import make_console


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    small = "[engine]\nroll_bytes = 3000\n[tokenizer.train]\nvocab_size = 300\n"
    made: pathlib.Path = run_it(tmp_path_factory.mktemp("clusters") / "one", 3, small)
    return made


@pytest.fixture(scope="module")
def steps(folder: pathlib.Path) -> dict[str, StepClusters]:
    return {step.step: step for step in read_clusters(str(folder), number=20, members=2)}


def test_counts_are_those_of_the_verdicts(folder: pathlib.Path, steps: dict[str, StepClusters]) -> None:
    assert list(steps) == ["id", "url", "minhash"]
    rows = verdicts(folder, "decide-late")
    gone: set[str] = set()
    for name, step in steps.items():
        came = {one for one in rows if one not in gone}
        mine = {one for one in came if rows[one]["reason"] == f"duplicate.{name}"}
        gone |= mine
        assert (step.documents, step.removed, step.complete) == (len(came), len(mine), True)
        for by, groups in (("source", step.sources), ("language", step.languages)):
            before = Counter(rows[one][by] if by == "source" else "unknown" for one in came)
            removed = Counter(rows[one][by] if by == "source" else "unknown" for one in mine)
            size = sum(len(rows[one]["text"]) for one in mine)
            found = {group.loss.name: group for group in groups}
            assert {key: group.loss.documents for key, group in found.items()} == before
            assert {key: group.loss.removed for key, group in found.items() if group.loss.removed} == removed
            assert sum(group.loss.removed_bytes for group in groups) == size
            assert all((group.removed_tokens or 0) > 0 for group in groups if group.loss.removed)
        sizes = Counter(rows[one]["kept_id"] for one in mine)
        assert sum(bucket.clusters for bucket in step.histogram) == len(sizes)
        assert sum(bucket.documents for bucket in step.histogram) == len(mine) + len(sizes)


def test_the_largest_clusters_come_with_what_was_kept_and_what_went(steps: dict[str, StepClusters]) -> None:
    found = steps["minhash"].largest
    assert len(found) == SIZE
    for cluster in found:
        assert cluster.size == 2
        assert cluster.kept.source == "news"
        (removed,) = cluster.removed
        assert removed.source == "shop"
        assert removed.similarity is not None
        assert 0.8 <= removed.similarity < 1
        assert cluster.kept.line.split()[0] == removed.line.split()[0]
    assert [cluster.kept.id for cluster in found] == sorted(cluster.kept.id for cluster in found)


def test_cluster_size_counts_what_was_removed_for_a_document_in_all_steps(folder: pathlib.Path) -> None:
    rows = verdicts(folder, "duplicate.minhash-apply").values()
    removed = Counter(row["kept_id"] for row in rows if not row["keep"])
    for row in rows:
        assert row["cluster_size"] == (1 + removed[row["id"]] if row["keep"] else 0)


@pytest.mark.parametrize(("text", "line"), [("\n \n Title \nmore", "Title"), ("", ""), ("\n\n", ""), ("one", "one")])
def test_the_first_line_is_the_first_that_is_not_blank(text: str, line: str) -> None:
    assert first_line(text) == line


def test_what_is_printed_fits_80_columns_and_holds_no_control_characters(steps: dict[str, StepClusters]) -> None:
    step = steps["url"]
    cluster = step.largest[0]
    evil = cluster._replace(kept=cluster.kept._replace(line="\x1b]0;title\x07 " + "ü" * 200, url=None))
    console = make_console(width=80, record=True)
    show_clusters(console, [step._replace(largest=[evil])])
    shown = console.export_text()
    assert "2 to 3" in shown
    assert "\\x1b]0;title" in shown
    assert not {"\x1b", "\x07"} & set(shown)
    assert max(map(len, shown.splitlines())) <= 80
