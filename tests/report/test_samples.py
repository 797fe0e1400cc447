from __future__ import annotations

import json
from typing import Any

import pytest

from curate.errors import RecipeError
from curate.filters.rules import GroupLimits, Limit, ResolvedRule
from curate.report.samples import read_samples

WORDS = ResolvedRule(reason="quality.words", signal="words.count", low=Limit(value=50))
MEAN_LENGTH = ResolvedRule(reason="quality.mean_length", signal="words.mean_length", high=Limit(value=10))


def numbers(built: Any, samples: Any) -> list[int]:
    """Return which documents of the built run were found."""
    rows = [
        (row["id"].hex(), doc.number)
        for part, docs in enumerate(built.parts)
        for row, doc in zip(built.verdicts[part].to_pylist(), docs, strict=True)
    ]
    return [dict(rows)[sample.id] for sample in samples]


def test_dropped_documents_come_nearest_to_the_line_first(little_run: Any) -> None:
    samples = read_samples(str(little_run.folder), "quality.words")
    assert numbers(little_run, samples) == [1, 2]
    assert [(sample.value, sample.bound) for sample in samples] == [(49, "min 50"), (10, "min 50")]
    assert samples[0].distance == pytest.approx(1 / 50)
    assert samples[0].url == "https://a.example/1"


def test_a_whole_filter_is_the_sum_of_its_rules(little_run: Any) -> None:
    samples = read_samples(str(little_run.folder), "quality")
    assert [sample.reason for sample in samples] == [
        "quality.words",
        "quality.mean_length",
        "quality.words",
        "quality.long",
    ]


def test_tells_which_other_rules_the_document_fails(little_run: Any) -> None:
    (_, second) = read_samples(str(little_run.folder), "quality.words")
    assert second.also == ["quality.mean_length"]


def test_the_upper_bound_is_told_for_what_is_above_it(little_run: Any) -> None:
    (sample,) = read_samples(str(little_run.folder), "quality.mean_length")
    assert (sample.value, sample.bound) == (10.5, "max 10")


def test_kept_documents_come_nearest_to_the_line_first(little_run: Any) -> None:
    samples = read_samples(str(little_run.folder), "quality.words", kept=True)
    assert numbers(little_run, samples) == [7, 0, 6]


def test_without_a_reason_each_kept_document_is_told_for_its_nearest_rule(little_run: Any) -> None:
    samples = read_samples(str(little_run.folder), kept=True)
    assert numbers(little_run, samples)[0] == 7
    assert samples[0].reason == "quality.words"
    assert len({sample.id for sample in samples}) == len(samples) == 3


def test_lists_have_no_distance_and_an_order_that_does_not_change(builder: Any, doc: Any) -> None:
    built = builder([doc(n, language="fr") for n in range(20)]).collect().duplicates("duplicate.id").decide().tally()
    samples = read_samples(str(built.folder), "language.code", number=5)
    assert [sample.distance for sample in samples] == [None] * 5
    assert {sample.bound for sample in samples} == {"any_of en, de"}
    assert samples == read_samples(str(built.folder), "language.code", number=5)
    assert numbers(built, samples) != list(range(5))


def test_samples_do_not_depend_on_how_documents_are_split_into_parts(builder: Any, doc: Any, tmp_path: Any) -> None:
    docs = [doc(n, words=n) for n in range(40)]
    whole = builder(docs).collect().duplicates("duplicate.id").decide().tally()
    one = read_samples(str(whole.folder), "quality.words", number=7)
    whole.folder.rename(tmp_path / "whole")
    cut = builder(docs[:3], docs[3:25], docs[25:]).collect().duplicates("duplicate.id").decide().tally()
    assert read_samples(str(cut.folder), "quality.words", number=7) == one
    assert [sample.value for sample in one] == [39, 38, 37, 36, 35, 34, 33]


def test_a_duplicate_names_the_document_that_was_kept(little_run: Any) -> None:
    (sample,) = read_samples(str(little_run.folder), "duplicate.exact")
    kept = read_samples(str(little_run.folder), "quality.words", kept=True)
    assert sample.kept_id in {one.id for one in kept}
    assert (sample.signal, sample.value, sample.bound) == (None, None, None)


def test_a_rule_that_marks_shows_what_it_marked(little_run: Any) -> None:
    samples = read_samples(str(little_run.folder), "quality.long")
    assert numbers(little_run, samples) == [6]
    assert samples[0].bound == "max 1000"


def test_quantile_bounds_are_told_per_group(builder: Any, doc: Any) -> None:
    limits = GroupLimits(
        quantile=0.5, per="language.code", limits={"en": Limit(value=40), "de": Limit(value=400, tie=0)}
    )
    rules = [ResolvedRule(reason="best.words", signal="words.count", low=limits)]
    docs = [doc(0, words=39), doc(1, words=300, language="de"), doc(2, words=50), doc(3, words=5, language="xx")]
    built = builder(docs, rules=rules).collect().duplicates("duplicate.id").decide().tally()
    samples = read_samples(str(built.folder), "best.words")
    assert numbers(built, samples) == [0, 1]
    assert [sample.bound for sample in samples] == ["min 40 (quantile 0.5 of en)", "min 400 (quantile 0.5 of de)"]
    # a language without a limit passes, and has no distance
    assert numbers(built, read_samples(str(built.folder), "best.words", kept=True)) == [2, 3]


def test_a_bound_of_zero_has_a_distance(builder: Any, doc: Any) -> None:
    rules = [ResolvedRule(reason="some.words", signal="words.count", low=Limit(value=0), low_inclusive=False)]
    docs = [doc(0, words=0), doc(1, words=3), doc(2, words=1)]
    built = builder(docs, rules=rules).collect().duplicates("duplicate.id").decide().tally()
    (dropped,) = read_samples(str(built.folder), "some.words")
    assert (dropped.distance, dropped.bound) == (0.0, "above 0")
    assert numbers(built, read_samples(str(built.folder), "some.words", kept=True)) == [2, 1]


@pytest.mark.parametrize("most", [0, 2])
def test_who_passes_at_zero_is_near_to_no_bound(builder: Any, doc: Any, most: int) -> None:
    rules = [
        ResolvedRule(reason="no.words", signal="words.count", high=Limit(value=most)),
        ResolvedRule(reason="mean.length", signal="words.mean_length", high=Limit(value=10)),
    ]
    docs = [doc(n, words=0, mean_length=9 - n) for n in range(3)]
    built = builder(docs, rules=rules).collect().duplicates("duplicate.id").decide().tally()
    samples = read_samples(str(built.folder), kept=True)
    assert [(sample.reason, sample.value) for sample in samples] == [("mean.length", value) for value in (9, 8, 7)]
    assert [one.distance for one in read_samples(str(built.folder), "no.words", kept=True)] == [None] * 3


def test_kept_samples_are_spread_over_the_rules_in_any_parts(builder: Any, doc: Any, tmp_path: Any) -> None:
    # fifty documents stand at one bound, few come near to the others: each rule has its turn
    docs = [doc(n, words=50) for n in range(50)]
    docs += [doc(50 + n, words=500, mean_length=8 + n / 10) for n in range(5)]
    docs += [doc(55 + n, words=900 + n) for n in range(3)]
    whole = builder(docs).collect().duplicates("duplicate.id").decide().tally()
    samples = read_samples(str(whole.folder), kept=True, number=6)
    assert [sample.reason for sample in samples].count("quality.words") == 2
    assert [sample.reason for sample in samples].count("quality.mean_length") == 2
    assert [sample.reason for sample in samples].count("quality.long") == 2
    distances = [sample.distance for sample in samples]
    assert distances == sorted(distances)
    whole.folder.rename(tmp_path / "whole")
    cut = builder(docs[:20], docs[20:53], docs[53:57], docs[57:]).collect().duplicates("duplicate.id").decide().tally()
    assert read_samples(str(cut.folder), kept=True, number=6) == samples


def test_a_rule_that_every_document_is_nearest_to_does_not_hide_the_others(builder: Any, doc: Any) -> None:
    # mean_length stays within a fifth of its bound, where words never comes
    docs = [doc(n, words=500 + n, mean_length=9 - n / 100) for n in range(9)]
    rules = [MEAN_LENGTH, WORDS]
    built = builder(docs, rules=rules).collect().duplicates("duplicate.id").decide().tally()
    samples = read_samples(str(built.folder), kept=True, number=4)
    assert [sample.reason for sample in samples] == ["quality.mean_length"] * 2 + ["quality.words"] * 2
    assert len({sample.id for sample in samples}) == 4


def test_a_filter_whose_name_begins_like_an_error_is_sampled(builder: Any, doc: Any) -> None:
    rules = [ResolvedRule(reason="errors_in_text.words", signal="words.count", low=Limit(value=50))]
    built = builder([doc(0, words=1)], rules=rules).collect().duplicates("duplicate.id").decide().tally()
    assert numbers(built, read_samples(str(built.folder), "errors_in_text")) == [0]
    assert numbers(built, read_samples(str(built.folder), "errors_in_text.words")) == [0]


def test_a_bound_beyond_every_double_has_no_distance(builder: Any, doc: Any) -> None:
    rules = [ResolvedRule(reason="some.words", signal="words.count", high=Limit(value=10**400))]
    built = builder([doc(0), doc(1)], rules=rules).collect().duplicates("duplicate.id").decide().tally()
    samples = read_samples(str(built.folder), "some.words", kept=True)
    assert [(sample.distance, sample.bound) for sample in samples] == [(None, None)] * 2


def test_missing_signals_come_last(builder: Any, doc: Any) -> None:
    rules = [ResolvedRule(reason="some.words", signal="words.count", low=Limit(value=50), missing="drop")]
    built = builder([doc(0, words=None), doc(1, words=1)], rules=rules).collect().duplicates("duplicate.id")
    samples = read_samples(str(built.decide().tally().folder), "some.words")
    assert [sample.value for sample in samples] == [1, None]


def test_errors_are_shown_from_the_rejects(little_run: Any) -> None:
    (sample,) = read_samples(str(little_run.folder), "error.empty")
    assert (sample.reason, sample.detail, sample.text) == ("error.empty", "the page holds no text", "")


def test_an_unknown_reason_is_a_mistake_that_names_the_known_ones(little_run: Any) -> None:
    with pytest.raises(RecipeError, match=r"quality\.word: is no reason.*did you mean quality\.words") as caught:
        read_samples(str(little_run.folder), "quality.word")
    assert str(caught.value).splitlines()[1:3] == ["  language.code", "  quality.words"]
    with pytest.raises(RecipeError, match="no record has it"):
        read_samples(str(little_run.folder), "error.truncated")
    with pytest.raises(RecipeError, match="counted but not stored"):
        read_samples(str(little_run.folder), "skipped.revisit")


def test_a_run_without_a_decision_says_so(builder: Any, doc: Any) -> None:
    with pytest.raises(RecipeError, match="nothing is decided yet"):
        read_samples(str(builder([doc(0)]).collect().folder), kept=True)
    unfinished = builder([doc(0)], [doc(1)]).collect()
    unfinished.decide(done=1)
    with pytest.raises(RecipeError, match="1 of 2 tasks done"):
        read_samples(str(unfinished.folder), "quality.words")


def test_parts_of_equal_content_share_a_task_and_are_both_seen(builder: Any, doc: Any) -> None:
    built = builder([doc(0, words=1)], [doc(0, words=1)]).collect().duplicates("duplicate.id").decide().tally()
    plan = built.folder / "plan" / "02-decide-language-quality.json"
    tasks = json.loads(plan.read_text())
    tasks["tasks"][1]["key"] = tasks["tasks"][0]["key"]
    plan.write_text(json.dumps(tasks))
    assert numbers(built, read_samples(str(built.folder), "quality.words")) == [0, 0]
