"""Dedup steps that cut repeated text, from end to end: what is left, whatever the files, partitions or order."""

from __future__ import annotations

import json
import pathlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from cut_runs import SHARED, Cut, Dedup, dedup_in, documents_after, texts_of
from plain_cuts import plain_lines, random_files

from curate.engine.driver import Driver
from curate.engine.receipts import run_task
from curate.engine.tasks import BATCH, DOCUMENT, Job, TaskSpec
from curate.errors import AlarmError
from curate.pipelines import part_texts
from curate.pipelines.parts import read_batches
from curate.pipelines.recipe import Recipe, load_recipe
from curate.pipelines.run import Options, Summary, run
from curate.report.samples import read_samples
from curate.tokenize import registry


@pytest.fixture
def dedup(tmp_path: pathlib.Path) -> Dedup:
    return dedup_in(tmp_path)


CRAWL = {
    "a": "Home\nThe first page says this.\nCopyright 2019\nHome",
    "b": "home\nAnother page says that.\ncopyright 2024",
    "c": "Only here.\nOnly here.\nAnd this.",
    "d": "HOME\nCopyright 1999",
}


def test_ccnet_removes_every_copy_and_the_documents_that_are_nothing_else(dedup: Dedup) -> None:
    found = dedup([CRAWL], "lines", 'preset = "ccnet"')
    assert texts_of(found) == {
        "a": "The first page says this.",
        "b": "Another page says that.",
        "c": "Only here.\nAnd this.",
    }
    assert found["d"] == Cut("", keep=False, reason="duplicate.lines")


@pytest.mark.parametrize(("scheme", "max_count"), [("ccnet", 1), ("llama3", 3), ("c4", 1)])
def test_what_is_left_is_what_the_definition_leaves(dedup: Dedup, scheme: str, max_count: int) -> None:
    files = random_files(max_count)
    found = dedup(files, "lines", f'preset = "{scheme}"\nmax_count = {max_count}')
    assert texts_of(found) == plain_lines(files, scheme, max_count)
    dropped = {cut.reason for cut in found.values() if not cut.keep}
    assert dropped == {"duplicate.lines"}


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        ("lines", 'preset = "c4"'),
        ("c4_spans", "sentences = 2\nmin_words = 1\nmin_sentences = 1"),
        ("substring", "length_bytes = 20"),
    ],
)
def test_units_partitions_and_files_change_nothing(dedup: Dedup, step: str, settings: str) -> None:
    files = random_files(5)
    once = dedup(files, step, settings)
    assert any(cut.text != text for texts in files for name, text in texts.items() for cut in [once[name]])
    small = "unit_bytes = 4_096\npartition_bytes = 3_000\nroll_bytes = 700"
    assert dedup(files, step, settings, engine=small, read="batch_bytes = 500") == once
    assert dedup([dict(reversed(texts.items())) for texts in files], step, settings) == once


def test_buckets_follow_from_ids_and_each_counts_for_itself(dedup: Dedup) -> None:
    texts = {str(number): f"Menu\nOnly {number}" for number in range(40)}
    whole = dedup([texts], "lines", "max_count = 25")
    apart = dedup([texts], "lines", "max_count = 25\nbucket_documents = 20")
    assert all(cut.text.startswith("Only") for cut in whole.values())
    assert all(cut.text.startswith("Menu") for cut in apart.values())


EVERYWHERE = {
    "lines": "max_count = 1",
    "c4_spans": "min_words = 1\nmin_sentences = 1",
    "substring": "length_bytes = 60",
}


@pytest.mark.parametrize("step", sorted(EVERYWHERE))
@pytest.mark.parametrize(
    ("scope", "crawls", "meet"),
    [("global", "", True), ("source", "", False), ("crawl", "ab", False), ("crawl", "aa", True)],
)
def test_texts_of_different_scopes_are_not_compared(
    dedup: Dedup, step: str, scope: str, crawls: str, meet: bool
) -> None:
    files = [{"a": f"{SHARED}\nNobody has this."}, {"b": f"Others have that.\n{SHARED}"}]
    found = dedup(files, step, f'{EVERYWHERE[step]}\nscope = "{scope}"', crawls=crawls)
    assert (SHARED in found["b"].text) != meet
    # lines: every copy goes
    assert (SHARED in found["a"].text) != (meet and step == "lines")


@pytest.mark.parametrize("step", sorted(EVERYWHERE))
def test_texts_of_different_languages_are_not_compared(dedup: Dedup, step: str) -> None:
    german = "Diese Seite ist auf Deutsch geschrieben, und zwar von vorne bis hinten, mit vielen deutschen Wörtern. "
    english = "This page is written in English, from its beginning to its end, and it has many English words. "
    files = [{"en": f"{english * 3}\n{SHARED}"}, {"de": f"{german * 5}\n{SHARED}", "en2": f"{SHARED}\nOnly here."}]
    found = dedup(files, step, f'{EVERYWHERE[step]}\nscope = "language"')
    assert SHARED in found["de"].text
    assert found["en2"].text.strip() == "Only here."
    assert (SHARED in found["en"].text) == (step != "lines")


def test_c4_drops_what_has_fewer_than_three_sentences_left(dedup: Dedup) -> None:
    files = [{"a": "Menu here."}, {"b": "Menu here.\nOne.\nTwo.\nThree.", "c": "menu here.\nFour.\nFive."}]
    found = dedup(files, "lines", 'preset = "c4"')
    assert texts_of(found) == {"a": "Menu here.", "b": "One.\nTwo.\nThree."}
    assert dedup(files, "lines", 'preset = "c4"\nmin_sentences = 2')["c"].keep


@pytest.mark.parametrize("step", sorted(EVERYWHERE))
def test_a_page_repeated_thousands_of_times_stays_once_or_not_at_all(dedup: Dedup, step: str) -> None:
    dice = random.Random(1)
    page = "\n".join(" ".join(dice.choices(("one", "two", "three", "four"), k=9)) + f" {n}." for n in range(15))
    texts = {str(number): page for number in range(3_000)} | {"other": "Nobody else says this."}
    found = dedup([texts], step, f'{EVERYWHERE[step]}\nalarm = "off"', read="batch_bytes = 200_000")
    kept = sorted(texts_of(found).values())
    assert kept == ["Nobody else says this."] + ([] if step == "lines" else [page])
    assert {cut.text for cut in found.values() if not cut.keep} == {""}


@pytest.mark.parametrize("step", sorted(EVERYWHERE))
def test_empty_and_very_short_texts_stay_as_they_are(dedup: Dedup, step: str) -> None:
    texts = {str(number): text for number, text in enumerate(["", "", " ", "\n", "\n\n", ".", ".", "\r"])}
    found = dedup([texts], step, EVERYWHERE[step].replace("max_count = 1", "max_count = 2"))
    assert {name: cut.text for name, cut in found.items()} == texts
    assert all(cut.keep for cut in found.values())


def test_an_alarm_counts_what_is_cut_out_of_documents_that_stay(dedup: Dedup) -> None:
    page = "\n".join(f"Everybody says this, and says it in line {'x' * number}." for number in range(30))
    texts = {str(number): f"{page}\nOnly {'y' * number} here." for number in range(10)}
    cut, size = 10 * len(page + "\n"), sum(map(len, texts.values()))
    alarm = 'preset = "ccnet"\nalarm = {{ min_documents = 10, max_lost_share_per_source = {} }}'
    with pytest.raises(AlarmError, match=rf"source s0: {cut:,} of {size:,} bytes would be cut") as told:
        dedup([texts], "lines", alarm.format(cut / size - 1e-6))
    assert told.value.commands == ("lines",)
    assert all(found.keep for found in dedup([texts], "lines", alarm.format(cut / size + 1e-6)).values())


def test_a_line_goes_only_above_the_bound(dedup: Dedup) -> None:
    texts = {str(number): f"Twice\nThrice\n{number}" if number < 2 else f"Thrice\n{number}" for number in range(3)}
    found = dedup([texts], "lines", "max_count = 2")
    assert texts_of(found) == {"0": "Twice\n0", "1": "Twice\n1", "2": "2"}


def test_of_a_span_that_occurs_again_one_copy_stays(dedup: Dedup) -> None:
    span = "We sell shoes. We ship them fast. Call us now!"
    files = [
        {"best": f"Our shop is old. {span} It stands in Rome."},
        {"other": f"Nothing to say. {span.upper()} That was all.", "two": "We sell shoes. We ship them fast. Good."},
        {"nothing": span},
    ]
    found = dedup(files, "c4_spans", "min_words = 1\nmin_sentences = 1")
    assert texts_of(found) == {
        "best": files[0]["best"],
        "other": "Nothing to say. That was all.",
        "two": files[1]["two"],
    }
    assert found["nothing"].reason == "duplicate.c4_spans"
    longer = dedup(files, "c4_spans", "min_words = 7\nmin_sentences = 1")
    assert longer["other"].reason == "duplicate.c4_spans"
    assert dedup(files, "c4_spans", "min_words = 6\nmin_sentences = 3")["other"].reason == "duplicate.c4_spans"
    assert longer["two"].keep


def test_filters_and_cleaners_after_a_cut_see_what_is_left(tmp_path: pathlib.Path) -> None:
    texts = {
        "long": "Menu\nThis line has enough words.\nno end mark",
        "short": "Menu\nno end mark here",
        "x": "Menu\nWell, this one too.",
    }
    path = tmp_path / "texts.jsonl"
    path.write_text(
        "".join(json.dumps({"id": name, "text": text, "name": name}) + "\n" for name, text in texts.items())
    )
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "after"\nsteps = ["lines", "c4_lines", "few"]\n'
        f'[[sources]]\nname = "web"\ninput = ["{path}"]\nmeta = ["name"]\n'
        '[dedup.lines]\nmax_count = 2\nmin_bytes = 1\n[filters.few.words]\nsignal = "words.count"\nmin = 1\n'
        '[filters.few.before]\nsignal = "words.count@lines"\nmax = 10\n'
    )
    run(load_recipe(str(recipe)), str(tmp_path / "run"), Options(executor="inline"))
    found = documents_after(tmp_path / "run")
    assert texts_of(found) == {"long": "This line has enough words.", "x": "Well, this one too."}
    assert found["short"].reason == "few.words"
    assert [sample.reason for sample in read_samples(str(tmp_path / "run"), "few.words")] == ["few.words"]


def test_a_changed_step_encodes_only_parts_whose_cuts_changed(
    tmp_path: pathlib.Path, small_recipe: Callable[..., Recipe], run_inline: Callable[..., Summary]
) -> None:
    own = ('steps=["lines"]', "dedup.lines.max_count=12", "tokenizer.train.sample_bytes=4000")
    first = run_inline(small_recipe(*own), tmp_path / "run")
    again = run_inline(small_recipe(*own), tmp_path / "run")
    other = run_inline(small_recipe(*own, "dedup.lines.max_count=1000000"), tmp_path / "run")
    assert first.executed["tokenize"] > 3
    assert not again.executed
    assert other.executed["cuts.apply"] == first.executed["cuts.apply"]
    assert other.executed["tokenize"] > 0
    fresh = run_inline(small_recipe(*own), tmp_path / "fresh")
    assert fresh.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        ("lines", 'preset = "ccnet"'),
        ("lines", 'preset = "c4"'),
        ("c4_spans", "sentences = 2\nmin_words = 1\nmin_sentences = 1"),
        ("substring", "length_bytes = 20"),
    ],
)
def test_how_many_documents_are_read_at_once_changes_nothing(
    dedup: Dedup, monkeypatch: pytest.MonkeyPatch, step: str, settings: str
) -> None:
    files = random_files(4)
    once = dedup(files, step, settings)

    def few_at_once(*given: Any) -> Iterator[tuple[int, pa.RecordBatch]]:
        for first, batch in read_batches(*given):
            for start in range(0, len(batch), 3):
                yield first + start, batch.slice(start, 3)

    monkeypatch.setattr(part_texts, "read_batches", few_at_once)
    assert dedup(files, step, settings) == once


def test_cuts_of_several_steps_follow_each_other(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    shared = "This sentence stands in both of the documents, word for word, and it is long."
    texts = {"a": f"Menu\n{shared} A.", "b": f"Menu\nB. {shared}"}
    path = tmp_path / "texts.jsonl"
    rows = [{"id": name, "text": text, "name": name} for name, text in texts.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "two"\nsteps = ["lines", "substring", "exact", "minhash"]\n'
        f'[[sources]]\nname = "web"\ninput = ["{path}"]\nmeta = ["name"]\n'
        '[dedup.lines]\npreset = "ccnet"\n[dedup.substring]\nlength_bytes = 50\n'
        "[tokenizer]\nadd_bos = false\nadd_eos = false\n[tokenizer.train]\nvocab_size = 300\n"
        "[shards]\ncontext_length = 16\nlayout = 'documents'\n"
    )
    run(load_recipe(str(recipe)), str(tmp_path / "run"), Options(executor="inline"))
    found = {name: cut.text for name, cut in documents_after(tmp_path / "run").items()}
    assert sorted(found.values(), key=len)[1] in (f"{shared} A.", f"B. {shared}")
    assert min(found.values(), key=len).strip(" ") in ("A.", "B.")
    # the shards hold the texts of the last view
    tokenizer = registry.load(str(tmp_path / "run" / "shards" / "tokenizer"))
    tokens = []
    for shard in (tmp_path / "run" / "shards").glob("*.arrow"):
        tokens += pa.ipc.open_file(str(shard)).read_all().column("input_ids").to_pylist()
    assert sorted(map(tokenizer.decode, tokens)) == sorted(found.values())


def test_a_document_goes_below_the_bound_and_stays_at_it(dedup: Dedup) -> None:
    texts = {str(number): f"Menu\n{'x' * number} {number}" for number in range(2, 6)}
    found = dedup([texts], "lines", 'preset = "ccnet"\nmin_bytes = 6')
    assert {name: cut.keep for name, cut in found.items()} == {"2": False, "3": False, "4": True, "5": True}
    # what lost nothing is not measured
    assert dedup([{"a": "x", "b": "y"}], "lines", 'preset = "ccnet"\nmin_bytes = 6')["a"].keep


def test_measuring_one_document_at_a_time_gives_the_same_files(
    tmp_path: pathlib.Path,
    small_recipe: Callable[..., Recipe],
    run_inline: Callable[..., Summary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specs: list[TaskSpec] = []
    original = Driver.run_phase

    def noted(self: Driver, name: str, given: Sequence[TaskSpec], prepare: Any = None) -> Any:
        specs.extend(spec for spec in given if spec.stage == "measure")
        return original(self, name, given, prepare)

    monkeypatch.setattr(Driver, "run_phase", noted)
    steps = 'steps=["lines", "language", "c4_lines", "gopher_quality"]'
    run_inline(small_recipe(steps, "dedup.lines.max_count=2", "mix.seed=1"), tmp_path / "run")
    job = Job(specs[0], str(tmp_path / "run"))
    labels: list[str] = []
    whole = run_task(job, labels.append)
    batches = [label for label in labels if label.startswith(BATCH)]
    assert run_task(replace(job, careful=batches), labels.append).outputs == whole.outputs
    documents = [label for label in labels if label.startswith(DOCUMENT)]
    assert len(documents) > 5
    # a document that felled its worker twice is left out, and told
    lost = replace(job, spec=replace(job.spec, version=99), skip={documents[0]: "error.crash"})
    receipt = run_task(lost)
    assert [found["reason"] for found in receipt.quarantined] == ["error.crash"]
    assert receipt.flows["kept"].count == whole.flows["kept"].count - 1
