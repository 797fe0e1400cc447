"""Dedup steps that cut repeated text, from end to end: what is left, whatever the files, partitions or order."""

from __future__ import annotations

import functools
import json
import pathlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_cuts import files_with_passages, passages_left, plain_lines, random_files

from curate.dedup.substring import Anchors, Passages, anchors
from curate.engine.driver import Driver
from curate.engine.receipts import run_task
from curate.engine.tasks import BATCH, DOCUMENT, Job, TaskSpec
from curate.errors import AlarmError
from curate.pipelines import part_texts, substrings
from curate.pipelines.part_texts import stored_texts
from curate.pipelines.parts import read_batches
from curate.pipelines.recipe import Recipe, load_recipe, view_names
from curate.pipelines.run import Options, Summary, run
from curate.report.run_folder import read_run
from curate.report.samples import read_samples
from curate.tokenize import registry


class Cut(NamedTuple):
    """A document after the last step: its text, whether it is kept, and why not."""

    text: str
    keep: bool
    reason: str | None


Dedup = Callable[..., dict[str, Cut]]


def documents_after(folder: pathlib.Path) -> dict[str, Cut]:
    """Return the documents of a run by name, in its last view."""
    recipe = load_recipe(str(folder / "recipe.toml"))
    views = view_names(recipe)[1:]
    found = {}
    for part in read_run(str(folder)).parts():
        assert part.verdicts is not None
        verdicts = pq.read_table(folder / part.verdicts.path).to_pylist()
        edits = {view: str(folder / ref.path) for view, ref in part.edits.items()}
        for numbers, batch, text in stored_texts(str(folder / part.documents.path), edits, views, ["meta"]):
            rows = zip(numbers.tolist(), batch.column("meta").to_pylist(), text.to_pylist(), strict=True)
            for number, meta, left in rows:
                verdict = verdicts[number]
                found[dict(meta)["name"]] = Cut(left, verdict["keep"], verdict["reason"])
    return found


@pytest.fixture
def dedup(tmp_path: pathlib.Path) -> Dedup:
    """Return a function that runs one dedup step over texts and returns what is left by name."""
    runs = iter(range(1000))

    def start(
        files: Iterable[Mapping[str, str]],
        step: str,
        settings: str = "",
        engine: str = "",
        read: str = "",
        crawls: Sequence[str] = (),
    ) -> dict[str, Cut]:
        number = next(runs)
        folder = tmp_path / f"run-{number}"
        sources = []
        for place, texts in enumerate(files):
            path = tmp_path / f"{number}-{place}.jsonl"
            rows = [{"id": name, "text": text, "name": name} for name, text in texts.items()]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            sources.append(
                f'[[sources]]\nname = "s{place}"\ninput = ["{path}"]\nmeta = ["name"]\npriority = {-place}\n'
                + (f'crawl = "{crawls[place]}"\n' if crawls else "")
            )
        recipe = tmp_path / "cut.toml"
        recipe.write_text(
            f'name = "cut"\nsteps = ["{step}"]\n{"".join(sources)}\n[read]\n{read}\n'
            f"[dedup.{step}]\n{settings}\n[engine]\n{engine}\n"
        )
        run(load_recipe(str(recipe)), str(folder), Options(executor="inline"))
        return documents_after(folder)

    return start


def texts_of(found: Mapping[str, Cut]) -> dict[str, str]:
    return {name: cut.text for name, cut in found.items() if cut.keep}


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


SHARED = "We sell all kinds of shoes. We ship them to you within a day. Call us now, on any day!"
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


def test_texts_of_different_scopes_are_apart_even_where_anchors_collide(
    dedup: Dedup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substrings, "anchors", lambda *given: anchors(*given)._replace(key=anchors(*given).key * 0))
    files = [{"a": f"A. {SHARED}"}, {"b": f"B. {SHARED}", "c": f"C. {SHARED}"}]
    found = dedup(files, "substring", 'length_bytes = 60\nscope = "source"')
    assert [SHARED in found[name].text for name in "abc"].count(True) == 2
    assert SHARED in found["a"].text


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


def test_one_text_of_one_character_is_cut_in_bounded_memory(dedup: Dedup) -> None:
    texts = {"run": "=" * 2_000_000, "other": "-" * 100 + "=" * 150 + "+" * 100}
    found = dedup([{"run": texts["run"]}, {"other": texts["other"]}], "substring", "length_bytes = 100")
    assert texts_of(found) == {"run": "=" * 100, "other": "-" * 100 + "+" * 100}


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


def test_passages_that_are_left_are_what_the_definition_leaves(dedup: Dedup, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_with_passages(1)
    expected = passages_left(files, 40)
    assert any(expected.get(name, "") != text for texts in files for name, text in texts.items())
    found = dedup(files, "substring", "length_bytes = 40")
    assert texts_of(found) == expected
    small = "unit_bytes = 4_096\npartition_bytes = 3_000\nroll_bytes = 700"
    assert dedup(files, "substring", "length_bytes = 40", engine=small, read="batch_bytes = 500") == found
    # with memory for a few passages the rest waits in files
    monkeypatch.setattr(substrings, "Passages", functools.partial(Passages, passages=16, store_bytes=200))
    assert dedup(files, "substring", "length_bytes = 40") == found
    assert dedup(files, "substring", "length_bytes = 40", engine=small) == found
    monkeypatch.undo()
    # anchors that collide are compared, not believed
    monkeypatch.setattr(substrings, "anchors", lambda *given: anchors(*given)._replace(key=anchors(*given).key * 0))
    assert dedup(files, "substring", "length_bytes = 40") == found


def test_a_key_that_all_passages_share_is_told_apart_by_longer_anchors(
    dedup: Dedup, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    files = files_with_passages(4)
    expected = dedup(files, "substring", "length_bytes = 40")

    def collide(text: pa.Array, size: int, gram: int | None = None) -> Anchors:
        found = anchors(text, size, gram)
        return found if gram else found._replace(key=found.key * 0)

    monkeypatch.setattr(substrings, "anchors", collide)
    # a hundredth of the passages at once: without longer anchors it would take as many rounds
    monkeypatch.setattr(substrings, "Passages", functools.partial(Passages, passages=64, store_bytes=2_000))
    assert dedup(files, "substring", "length_bytes = 40") == expected
    (phase,) = read_run(str(tmp_path / "run-1")).of_stage("substring.compare")
    assert max(receipt.stats["rounds"] for receipt in phase.done) <= 3


@pytest.mark.parametrize("scope", ["global", "source"])
@pytest.mark.parametrize("seed", [2, 3])
def test_passages_of_long_characters_are_cut_as_the_definition_says(dedup: Dedup, seed: int, scope: str) -> None:
    files = files_with_passages(seed, "aéж中\U0001f642")
    settings = f'length_bytes = 40\nscope = "{scope}"'
    expected = passages_left(files, 40, by_source=scope == "source")
    assert any(expected.get(name, "") != text for texts in files for name, text in texts.items())
    assert texts_of(dedup(files, "substring", settings)) == expected


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
