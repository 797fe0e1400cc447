"""A run that is deduplicated against finished ones: what these kept wins, and none of them is touched."""

from __future__ import annotations

import json
import pathlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import datasketch
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_digests import digests_of

from curate.dedup.minhash import MinHashSettings, signatures, to_datasketch
from curate.errors import CurateError, RecipeError
from curate.pipelines import near_duplicates
from curate.pipelines.older_runs import read_signature_manifest
from curate.pipelines.plan import plan
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, Summary, run
from curate.pipelines.signatures import read_signatures

FINISH_S = 900
LEFT = ("verdicts", "signatures")
Verdicts = dict[str, dict[str, Any]]
Start = Callable[..., tuple[pathlib.Path, Summary]]


def words(seed: int, count: int) -> list[str]:
    dice = random.Random(seed)
    return ["".join(dice.choices("abcdefghij", k=6)) for _ in range(count)]


def page(seed: int, *ends: str) -> str:
    return " ".join([*words(seed, 200), *ends])


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Start:
    """Return a function that runs MinHash dedup over texts by id."""

    def go(
        name: str, texts: Iterable[tuple[str, str]], settings: str = "", steps: str = '["minhash"]', more: str = ""
    ) -> Any:
        lines = "".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts)
        (tmp_path / f"{name}.jsonl").write_text(lines)
        (tmp_path / f"{name}.toml").write_text(
            f'name = "near"\nsteps = {steps}\n{more}\n[[sources]]\nname = "web"\ninput = ["{name}.jsonl"]\n'
            f"[dedup.minhash]\n{settings}\n[engine]\nunit_bytes = 4096\npartition_bytes = 50_000\n"
        )
        folder = tmp_path / f"run-{name}"
        recipe = load_recipe(str(tmp_path / f"{name}.toml"))
        return folder, run(recipe, str(folder), Options(executor="inline"))

    return go


def texts_of(folder: pathlib.Path) -> tuple[Verdicts, dict[str, str]]:
    """Return the last verdicts, and the texts, by hexadecimal id."""
    manifest = read_signature_manifest(str(folder))
    rows = pa.concat_tables([pq.read_table(file.verdicts.path) for file in manifest.files]).to_pylist()
    table = pq.read_table(folder / "documents", columns=["id", "text"]).to_pydict()
    texts = {name.hex(): text for name, text in zip(*table.values(), strict=True)}
    return {row["id"].hex(): row for row in rows}, texts


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def first(count: int = 10) -> list[tuple[str, str]]:
    return [(f"old-{n}", page(n)) for n in range(count)]


def second(count: int = 10) -> list[tuple[str, str]]:
    """Near-copies of half of the old texts, copies of those, and texts that are new."""
    near = [(f"near-{n}", page(n, "end")) for n in range(count // 2)]
    return [*near, *((f"copy-{n}", page(n, "end")) for n in range(2)), *((f"new-{n}", page(50 + n)) for n in range(5))]


@pytest.mark.parametrize("leader_bytes", [1 << 20, 4])
def test_what_an_older_run_kept_wins_and_the_older_run_stays_as_it_was(
    start: Start, monkeypatch: pytest.MonkeyPatch, leader_bytes: int
) -> None:
    # with room for one leader, every star of several takes several rounds
    monkeypatch.setattr(near_duplicates, "LEADER_BYTES", leader_bytes)
    older, _ = start("first", [*first(), ("old-copy", page(0, "more"))])
    before = contents(older)
    old_verdicts, old_texts = texts_of(older)
    folder, _ = start("second", second(), f'against = ["{older}"]\nquality = "words.count"')
    verdicts, texts = texts_of(folder)
    kept = {texts[name] for name, row in verdicts.items() if row["keep"]}
    assert kept == {page(50 + n) for n in range(5)}
    for name, row in verdicts.items():
        if not row["keep"]:
            assert row["reason"] == "duplicate.minhash"
            assert row["similarity"] >= 0.8
            named = row["kept_id"].hex()
            assert old_verdicts[named]["keep"]
            assert old_texts[named].split()[:100] == texts[name].split()[:100]
    assert contents(older) == before


def test_only_signature_files_and_verdicts_of_an_older_run_are_read(start: Start) -> None:
    older, _ = start("first", first())
    for gone in ("documents", "signals", "dedup", "receipts", "plan"):
        shutil.rmtree(older / gone)
    folder, _ = start("second", second(), f'against = ["{older}"]')
    assert sum(row["keep"] for row in texts_of(folder)[0].values()) == 5


def test_where_an_older_run_lies_is_no_part_of_a_task(start: Start, tmp_path: pathlib.Path) -> None:
    older, _ = start("first", first())
    folder, _ = start("second", second(), f'against = ["{older}"]')
    files = {path.name for path in (folder / "receipts").iterdir()}
    older.rename(tmp_path / "elsewhere")
    _, again = start("second", second(), f'against = ["{tmp_path / "elsewhere"}"]')
    assert not again.executed
    assert {path.name for path in (folder / "receipts").iterdir()} == files
    # named twice it is one run
    _, again = start("second", second(), f'against = ["elsewhere", "{tmp_path / "elsewhere"}"]')
    assert not again.executed


def test_a_document_that_an_older_run_dropped_later_does_not_count(start: Start) -> None:
    rule = '[filters.long.words]\nsignal = "words.count"\nmin = 201'
    older, _ = start("first", [*first(), ("long", page(60, "x"))], steps='["minhash", "long"]', more=rule)
    folder, _ = start("second", [*second(), ("longer", page(60))], f'against = ["{older}"]')
    verdicts, texts = texts_of(folder)
    dropped = [texts[name] for name, row in verdicts.items() if not row["keep"]]
    # the two copies within this run, and what is near the only page that the older run kept
    assert sorted(dropped) == sorted([page(0, "end"), page(1, "end"), page(60)])


def test_several_older_runs_and_chains_of_them(start: Start) -> None:
    one, _ = start("one", first(5))
    two, _ = start("two", [*first(8)[4:], ("other", page(70))], f'against = ["{one}"]')
    assert sum(row["keep"] for row in texts_of(two)[0].values()) == 4
    three, _ = start("three", [*second(20), ("again", page(70, "end"))], f'against = ["{one}", "{two}"]')
    verdicts, texts = texts_of(three)
    kept = {texts[name] for name, row in verdicts.items() if row["keep"]}
    assert kept == {page(50 + n) for n in range(5)} | {page(8, "end"), page(9, "end")}


def test_older_runs_that_kept_near_copies_of_each_other(start: Start) -> None:
    one, _ = start("one", first(5))
    two, _ = start("two", [(f"two-{n}", page(n, "other")) for n in range(5)])
    folder, _ = start("three", second(), f'against = ["{one}", "{two}"]')
    verdicts, texts = texts_of(folder)
    assert {texts[name] for name, row in verdicts.items() if row["keep"]} == {page(50 + n) for n in range(5)}
    kept = {name for run_folder in (one, two) for name in texts_of(run_folder)[1]}
    assert {row["kept_id"].hex() for row in verdicts.values() if not row["keep"]} <= kept


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("ngram = 6", "ngram is 5 there and 6 here"),
        ("seed = 2", "seed is 1 there and 2 here"),
        ("threshold = 0.7", "threshold is 0.8 there and 0.7 here"),
        ("bands = 7\nrows = 16", "bands is 14 there and 7 here; rows is 8 there and 16 here"),
        ("permutations = 128", "permutations is 112 there and 128 here"),
        ('scope = "source"', "scope is global there and source here"),
    ],
)
def test_an_older_run_with_other_settings_is_refused_with_the_difference(
    start: Start, tmp_path: pathlib.Path, settings: str, told: str
) -> None:
    older, _ = start("first", first(3))
    with pytest.raises(RecipeError) as error:
        start("second", second(), f'against = ["{older}"]\n{settings}')
    assert told in str(error.value)
    assert str(older) in str(error.value)
    assert not (tmp_path / "run-second").exists()


def test_documents_of_other_scopes_do_not_meet_older_ones(start: Start, tmp_path: pathlib.Path) -> None:
    older, _ = start("first", first(), 'scope = "source"')
    folder, _ = start("second", second(), f'against = ["{older}"]\nscope = "source"')
    assert sum(row["keep"] for row in texts_of(folder)[0].values()) == 5
    recipe = tmp_path / "second.toml"
    recipe.write_text(recipe.read_text().replace('name = "web"', 'name = "books"'))
    run(load_recipe(str(recipe)), str(tmp_path / "books"), Options(executor="inline"))
    # nothing but the two copies within this run
    assert sum(not row["keep"] for row in texts_of(tmp_path / "books")[0].values()) == 2


def test_a_plan_against_an_older_run_says_what_is_left_and_does_nothing(start: Start, tmp_path: pathlib.Path) -> None:
    older, _ = start("first", first())
    folder, _ = start("second", second(), f'against = ["{older}"]')
    recipe = load_recipe(str(tmp_path / "second.toml"))
    before = contents(folder)
    assert plan(recipe, str(folder)).next is None
    assert contents(folder) == before


def test_an_older_run_of_another_text_is_refused(start: Start) -> None:
    older, _ = start("first", first(3))
    with pytest.raises(RecipeError, match="the text is as extracted there and what c4_lines left here"):
        start("second", second(), f'against = ["{older}"]', steps='["c4_lines", "minhash"]')


def test_a_run_that_is_not_finished_is_refused(start: Start, tmp_path: pathlib.Path) -> None:
    older, _ = start("first", first(3))
    (older / "signatures" / "minhash.json").unlink()
    refused = {older: "not finished, or has no minhash step", tmp_path / "nowhere": "there is no run"}
    for run_folder, told in refused.items():
        with pytest.raises(RecipeError, match=told):
            start("second", second(), f'against = ["{run_folder}"]')


def test_a_run_against_itself_is_refused_and_stays_as_it_was(start: Start) -> None:
    older, _ = start("first", first(3))
    before = contents(older / "signatures")
    with pytest.raises(RecipeError, match=r"minhash\.against.*is the folder of this run"):
        start("first", first(3), f'against = ["{older}/../{older.name}"]')
    assert contents(older / "signatures") == before


def test_an_older_run_with_a_damaged_file_is_refused(start: Start) -> None:
    older, _ = start("first", first(3))
    file = next((older / "signatures").glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CurateError, match="not what its receipt says"):
        start("second", second(), f'against = ["{older}"]')
    (older / "signatures" / "minhash.json").write_text('{"format": "curate signatures 1"}')
    with pytest.raises(RecipeError, match="is damaged"):
        start("second", second(), f'against = ["{older}"]')


def test_containment_does_not_show_in_signatures(start: Start) -> None:
    with pytest.raises(RecipeError, match="against needs similarity"):
        start("second", second(), 'against = ["run-first"]\nsimilarity = "containment"')


def test_a_stored_signature_is_datasketch_s_bit_for_bit(start: Start) -> None:
    folder, _ = start("first", [*first(), ("short", "four words are few")], "permutations = 64\nseed = 7")
    manifest = read_signature_manifest(str(folder))
    assert manifest.settings.permutations == 64
    _, texts = texts_of(folder)
    found = [batch for file in manifest.files for batch in read_signatures(file.signatures.path)]
    assert sum(len(batch.row) for batch in found) == 10
    for batch in found:
        for ids, values in zip(batch.ids.tolist(), batch.values, strict=True):
            text = texts[f"{ids[0]:016x}{ids[1]:016x}"]
            sketch = to_datasketch(values, manifest.settings)
            assert isinstance(sketch, datasketch.MinHash)
            own = signatures(pa.array([text], pa.large_string()), MinHashSettings(permutations=64, seed=7)).values[0]
            assert sketch.hashvalues.tolist() == own.tolist()


@pytest.mark.slow
def test_a_death_at_every_commit_step_changes_nothing(start: Start, tmp_path: pathlib.Path) -> None:
    older, _ = start("first", first())
    before = contents(older)
    folder, _ = start("second", second(), f'against = ["{older}"]')
    killed = pathlib.Path(__file__).parent / "killed.py"
    command = [sys.executable, str(killed), str(tmp_path / "second.toml"), str(tmp_path / "killed")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=FINISH_S)
    assert found.returncode == 0, found.stderr
    deaths = json.loads(found.stdout)["deaths"]
    for phase in ("older-bands", "older-stars", "older-0-sets", "older-0-compare", "older-apply"):
        assert any(f"duplicate.minhash-{phase}" in death for death in deaths), phase
    assert digests_of(tmp_path / "killed", LEFT) == digests_of(folder, LEFT)
    assert contents(older) == before


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_bytes_of_inline(start: Start, tmp_path: pathlib.Path) -> None:
    older, _ = start("first", first())
    folder, _ = start("second", second(), f'against = ["{older}"]')
    run(load_recipe(str(tmp_path / "second.toml")), str(tmp_path / "ray"), Options(executor="ray", workers=2))
    assert digests_of(tmp_path / "ray", LEFT) == digests_of(folder, LEFT)
