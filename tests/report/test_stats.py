from __future__ import annotations

import json
from typing import Any

import pytest

from curate.engine.receipts import receipt_path, write_receipt
from curate.engine.tasks import Receipt, TaskSpec
from curate.errors import InvariantError, RecipeError
from curate.filters.rules import Limit, ResolvedRule
from curate.report.stats import Amount, read_stats


def test_counts_records_errors_and_documents(little_run: Any) -> None:
    stats = read_stats(str(little_run.folder))
    assert (stats.records, stats.skipped, stats.errors) == (11, {"revisit": 2}, {"empty": 1})
    assert stats.documents.documents == 8
    assert stats.kept.documents == 3
    assert stats.dropped.documents == 5
    assert stats.unfinished is None


def test_in_is_kept_and_dropped_and_errors_and_skipped(little_run: Any) -> None:
    stats = read_stats(str(little_run.folder))
    out = stats.kept.documents + stats.dropped.documents + sum(stats.errors.values()) + sum(stats.skipped.values())
    assert stats.records == out


def test_steps_come_in_the_order_of_the_recipe_with_their_reasons(little_run: Any) -> None:
    steps = {step.name: step for step in read_stats(str(little_run.folder)).steps}
    assert list(steps) == ["duplicate.id", "language", "quality", "duplicate.exact"]
    reasons = {reason.name: reason.dropped.documents for reason in steps["quality"].reasons}
    # a rule that marks drops nothing, so it is no reason
    assert reasons == {"quality.words": 2, "quality.mean_length": 1}
    assert [steps[name].dropped.documents for name in ("duplicate.id", "language", "duplicate.exact")] == [0, 1, 1]


def test_marks_are_counted_under_their_whole_name(builder: Any, doc: Any) -> None:
    rules = [
        ResolvedRule(reason=reason, signal="words.count", high=Limit(value=10), action="mark")
        for reason in ("quality.long|wide", "other.wide")
    ]
    built = builder([doc(0), doc(1, words=1)], rules=rules).collect().duplicates("duplicate.id").decide().tally()
    assert read_stats(str(built.folder)).marks == {"other.wide": 1, "quality.long|wide": 1}


def test_bytes_and_tokens_are_summed_per_reason(little_run: Any) -> None:
    (words, _) = next(step for step in read_stats(str(little_run.folder)).steps if step.name == "quality").reasons
    assert words.dropped == Amount(documents=2, bytes=2 * len("Some text."), tokens=49 + 10)


def test_groups_by_language_and_by_source(little_run: Any) -> None:
    stats = read_stats(str(little_run.folder))
    assert [(group.name, group.documents.documents, group.kept.documents) for group in stats.languages] == [
        ("en", 6, 2),
        ("de", 1, 1),
        ("fr", 1, 0),
    ]
    assert [(group.name, group.kept.tokens) for group in stats.sources] == [("web", 100 + 2000 + 51)]
    assert stats.source_records["web"]["skipped.revisit"] == 2


def test_tokens_are_unknown_before_they_are_counted(builder: Any, doc: Any) -> None:
    built = builder([doc(0), doc(1, words=1)]).collect().duplicates("duplicate.id").decide().tally(tokens=False)
    stats = read_stats(str(built.folder))
    assert stats.kept == Amount(1, len("Some text."), None)
    assert stats.dropped.tokens is None


def test_the_last_complete_tally_counts(builder: Any, doc: Any) -> None:
    built = builder([doc(0)]).collect().duplicates("duplicate.id").decide().tally(tokens=False).tally()
    assert read_stats(str(built.folder)).kept.tokens == 100


def test_receipts_of_earlier_plans_do_not_count(little_run: Any) -> None:
    before = read_stats(str(little_run.folder))
    old = TaskSpec("collect", 1, "map", "none:none", "old", {"source": "web"}, {})
    flows = Receipt.from_json(json.loads(next((little_run.folder / "receipts").iterdir()).read_text())).flows
    stats = {"records": 5, "error.empty": 5}
    write_receipt(str(little_run.folder), Receipt(old.key, "collect", "old", {}, flows, stats, {}, [], {}))
    assert read_stats(str(little_run.folder)) == before


def test_an_unfinished_run_names_its_phase_and_shows_what_is_known(builder: Any, doc: Any) -> None:
    built = builder([doc(0)], [doc(1, words=1)]).collect().duplicates("duplicate.id").decide(done=1)
    stats = read_stats(str(built.folder))
    assert stats.unfinished == "the phase decide-language-quality has 1 of 2 tasks done"
    assert [step.name for step in stats.steps] == ["duplicate.id", "language + quality"]
    assert stats.documents == Amount(2, None, None)


def test_a_run_that_stopped_in_its_first_phase_shows_its_records(builder: Any, doc: Any) -> None:
    stats = read_stats(str(builder([doc(0)], [doc(1)]).collect(done=1).folder))
    assert stats.unfinished == "the phase collect has 1 of 2 tasks done"
    assert (stats.records, stats.kept.documents) == (4, 1)


def test_a_run_whose_recipe_makes_shards_is_unfinished_after_the_tally(little_run: Any) -> None:
    (little_run.folder / "recipe.toml").write_text('name = "little"\n[tokenizer.train]\nvocab_size = 300\n')
    assert read_stats(str(little_run.folder)).unfinished == "the phase tally is done, what follows has not begun"


def test_documents_that_do_not_add_up_are_an_error(little_run: Any) -> None:
    plan = json.loads((little_run.folder / "plan" / "04-tally.json").read_text())
    path = little_run.folder / receipt_path(plan["tasks"][0]["key"])
    receipt = json.loads(path.read_text())
    key = next(name for name in receipt["stats"] if name.endswith("|kept|documents"))
    receipt["stats"][key] += 1
    path.write_text(json.dumps(receipt))
    with pytest.raises(InvariantError, match="8 documents were collected, 9 tallied"):
        read_stats(str(little_run.folder))


def test_records_that_do_not_add_up_are_an_error(builder: Any, doc: Any) -> None:
    built = builder([doc(0)], stats={"records": 3, "skipped.revisit": 1})
    with pytest.raises(InvariantError, match="records were read"):
        read_stats(str(built.collect().folder))


def test_names_may_hold_the_separator_of_the_statistics(builder: Any, doc: Any) -> None:
    from curate.filters.rules import Limit, ResolvedRule

    rules = [ResolvedRule(reason="odd.a|b", signal="words.count", low=Limit(value=50))]
    built = builder([doc(0, words=1), doc(1)], rules=rules).collect().duplicates("duplicate.id").decide().tally()
    (_, odd) = read_stats(str(built.folder)).steps
    assert [(reason.name, reason.dropped.documents) for reason in odd.reasons] == [("odd.a|b", 1)]


def test_phases_are_read_by_number_beyond_a_hundred(builder: Any, doc: Any) -> None:
    built = builder([doc(0)]).collect()
    built.phases = 99
    built.duplicates("duplicate.id").decide().tally()
    assert [path.name for path in sorted((built.folder / "plan").iterdir())][1].startswith("100")
    assert [step.name for step in read_stats(str(built.folder)).steps] == ["duplicate.id", "language", "quality"]


def test_json_holds_everything_that_is_known(little_run: Any) -> None:
    data = json.loads(json.dumps(read_stats(str(little_run.folder)).to_json()))
    assert data["records"] == 11
    assert data["steps"][2]["reasons"][0] == {
        "reason": "quality.words",
        "documents": 2,
        "bytes": 20,
        "tokens": 59,
    }
    assert data["sources"][0]["records"]["records"] == 11


def test_a_folder_that_is_no_run_is_a_mistake(tmp_path: Any) -> None:
    with pytest.raises(RecipeError, match="no run folder"):
        read_stats(str(tmp_path))
