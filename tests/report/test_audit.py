"""The audit says of each dedup step what a plain comparison of every removed document says."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_run import SIZE, jaccard, run_it, verdicts, words

from curate.errors import RecipeError
from curate.report.audit import StepAudit, read_audit
from curate.report.audit_sample import draw_samples
from curate.report.audit_texts import first_difference, lens_of
from curate.report.dedup_tables import show_audit
from curate.report.run_folder import read_run
from curate.report.terminal import make_console
from curate.schema import ID


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made: pathlib.Path = run_it(tmp_path_factory.mktemp("audit") / "one")
    return made


@pytest.fixture(scope="module")
def audits(folder: pathlib.Path) -> dict[str, StepAudit]:
    return {audit.step: audit for audit in read_audit(str(folder))}


def test_every_removal_is_found_again_with_its_exact_similarity(
    folder: pathlib.Path, audits: dict[str, StepAudit]
) -> None:
    rows = verdicts(folder, "decide-late")
    for step, audit in audits.items():
        removed = [row for row in rows.values() if row["reason"] == f"duplicate.{step}"]
        near = [jaccard(row["text"], rows[row["kept_id"].hex()]["text"]) for row in removed]
        assert audit.removed == audit.sampled == audit.rate.compared == len(removed)
        assert audit.rate.false == sum(one < 0.8 for one in near)
        assert [example.similarity for example in audit.examples] == pytest.approx(sorted(near)[:5])


def test_captures_that_say_different_things_are_false_and_equal_ones_are_not(audits: dict[str, StepAudit]) -> None:
    assert list(audits) == ["url", "minhash"]
    url, minhash = audits["url"], audits["minhash"]
    assert (url.rate.false, url.removed) == (SIZE, 3 * SIZE)
    assert {name: (rate.false, rate.compared) for name, rate in url.sources.items()} == {
        "news": (SIZE, SIZE),
        "shop": (0, 2 * SIZE),
    }
    assert (minhash.rate.false, minhash.removed) == (0, SIZE)
    assert url.rate.interval == (1 / 3, 1 / 3), "all were compared: there is nothing to estimate"


def test_chains_are_followed_to_what_is_left(audits: dict[str, StepAudit]) -> None:
    # copy went for first, and first for near; long, for which lost went, was dropped by a filter
    url = audits["url"]
    assert url.chained == SIZE
    assert url.gone == {"late.words": SIZE}
    assert (url.end.compared, url.end.false) == (2 * SIZE, SIZE)


def test_a_stricter_threshold_finds_the_near_duplicates_far(folder: pathlib.Path) -> None:
    (audit,) = read_audit(str(folder), "duplicate.minhash", threshold=0.99)
    assert audit.rate.share == 1.0
    assert audit.threshold == 0.99


def test_a_sample_does_not_depend_on_files_or_their_order(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = run_it(tmp_path / "other", 4, "[engine]\nunit_bytes = 4096\nroll_bytes = 2000\n")
    assert len(read_run(str(other)).parts()) > len(read_run(str(folder)).parts())
    for seed in (0, 7):
        one, two = (read_audit(str(run), sample=9, seed=seed) for run in (folder, other))
        assert [audit.to_json() for audit in one] == [audit.to_json() for audit in two]
        assert one[0].sampled == 9


def test_another_seed_is_another_sample_and_each_document_has_the_same_chance(folder: pathlib.Path) -> None:
    run = read_run(str(folder))
    seen: Counter[tuple[int, int]] = Counter()
    for seed in range(300):
        seen.update(draw_samples(run, run.parts(), ["url"], 12, seed)["url"].places())
    assert len(seen) == 36
    # 100 expected of each, standard deviation 8
    assert max(abs(count - 100) for count in seen.values()) < 40


def test_an_estimate_holds_the_truth_in_its_interval(folder: pathlib.Path) -> None:
    missed = 0
    for seed in range(40):
        (audit,) = read_audit(str(folder), "url", sample=12, seed=seed, number=0)
        missed += not audit.rate.interval.low <= 1 / 3 <= audit.rate.interval.high
    assert missed <= 4


def test_what_was_removed_for_a_document_of_another_run_is_counted_apart(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for part in read_run(str(copy)).parts():
        assert part.verdicts is not None
        table = pq.read_table(copy / part.verdicts.path)
        foreign = [bytes(16) if why == "duplicate.minhash" else None for why in table["reason"].to_pylist()]
        kept = pa.array([new or old for new, old in zip(foreign, table["kept_id"].to_pylist(), strict=True)], ID)
        at = table.schema.get_field_index("kept_id")
        pq.write_table(table.set_column(at, table.schema.field(at), kept), copy / part.verdicts.path)
    (audit,) = read_audit(str(copy), "minhash")
    assert (audit.sampled, audit.elsewhere, audit.rate.compared) == (SIZE, SIZE, 0)
    assert audit.rate.interval == (0.0, 1.0)
    assert audit.rate.share is None


def test_equal_ids_with_different_texts_are_false_removals(tmp_path: pathlib.Path) -> None:
    texts = [" ".join(words(seed, 30)) for seed in (1, 2, 3)]
    rows = [*((f"same-{n}", texts[0]) for n in range(5) for _ in range(2)), *(("clash", text) for text in texts)]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in rows))
    (tmp_path / "ids.toml").write_text(
        'name = "ids"\n[[sources]]\nname = "web"\ninput = "ids.jsonl"\n[read.columns]\nid = "id"\n'
    )
    from curate.pipelines.recipe import load_recipe
    from curate.pipelines.run import Options, run

    run(load_recipe(str(tmp_path / "ids.toml")), str(tmp_path / "run"), Options(executor="inline"))
    (audit,) = read_audit(str(tmp_path / "run"))
    assert (audit.step, audit.removed, audit.rate.false) == ("id", 7, 2)


def test_a_wrong_step_is_told_with_those_that_there_are(folder: pathlib.Path) -> None:
    with pytest.raises(RecipeError, match=r"--step minhsh: .*minhash.*steps: id, url, minhash"):
        read_audit(str(folder), "minhsh")


@pytest.mark.parametrize(
    ("one", "other", "passages"),
    [
        ("the same", "the same", ("", "")),
        ("begins alike", "begins otherwise", ("begins alike", "begins otherwise")),
        ("short", "short and longer", ("short", "short and longer")),
        ("x" * 50 + "left", "x" * 50 + "right", ("…" + "x" * 30 + "left", "…" + "x" * 30 + "right")),
        ("", "all", ("", "all")),
    ],
)
def test_passages_begin_shortly_before_the_first_difference(one: str, other: str, passages: tuple[str, str]) -> None:
    assert first_difference(one, other) == passages


def test_texts_are_compared_in_the_view_and_settings_of_the_step() -> None:
    recipe = {
        "steps": ["c4_lines", "near", "c4_lines_tfds", "url"],
        "dedup": {"near": {"kind": "minhash", "ngram": 3, "alarm": {"min_documents": 1}}, "url": {"kind": "url"}},
    }
    assert lens_of(recipe, "near")[:2] == ("c4_lines", ("c4_lines",))
    assert lens_of(recipe, "near").settings.ngram == 3
    assert lens_of(recipe, "url")[:2] == ("c4_lines_tfds", ("c4_lines", "c4_lines_tfds"))
    assert lens_of(recipe, "url").settings.ngram == 5
    assert lens_of(recipe, "id").view == "extracted"


def test_what_is_printed_fits_80_columns_and_holds_no_control_characters(audits: dict[str, StepAudit]) -> None:
    url = audits["url"]
    evil = url.examples[0]._replace(
        removed=url.examples[0].removed._replace(url="https://a/\x1b[31m", passage="\x9b2J\u202ex")
    )
    console = make_console(width=80, record=True)
    show_audit(console, [url._replace(examples=[evil])])
    shown = console.export_text()
    assert "33.33%" in shown
    assert "\\x1b[31m" in shown
    assert not set(shown) & {"\x1b", "\x9b", "\u202e"}
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("kind", "told"), [("semantic", True), ("url", False)])
def test_far_texts_of_a_semantic_step_are_not_called_wrong(
    audits: dict[str, StepAudit], kind: str, *, told: bool
) -> None:
    assert audits["url"].kind == "url"
    console = make_console(width=80, record=True)
    show_audit(console, [audits["url"]._replace(kind=kind)])
    assert ("may still mean the same" in " ".join(console.export_text().split())) == told
