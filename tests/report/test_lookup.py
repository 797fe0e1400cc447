"""Near-duplicates of new texts in a finished run; its index, and ours, find the same candidates."""

from __future__ import annotations

import io
import json
import pathlib
import random
import shutil
import sys
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.dedup.minhash import MinHashSettings, band_keys, signatures, to_datasketch
from curate.errors import RecipeError
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.report import lookup
from curate.report.lookup import Lookup, look_up, make_index, read_texts_to_look_up


def words(seed: int, count: int) -> list[str]:
    dice = random.Random(seed)
    return ["".join(dice.choices("abcdefghij", k=6)) for _ in range(count)]


def page(seed: int, *ends: str) -> str:
    return " ".join([*words(seed, 200), *ends])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run over ten pages, a copy of the first, and a page that a rule drops."""
    folder = tmp_path_factory.mktemp("lookup")
    texts = [*((f"page-{n}", page(n)) for n in range(10)), ("copy", page(0, "end")), ("short", " ".join(words(0, 190)))]
    rows = [{"id": key, "text": text, "url": f"http://example.com/{key}"} for key, text in texts]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "near.toml").write_text(
        'name = "near"\nsteps = ["minhash", "long"]\n[[sources]]\nname = "web"\ninput = ["texts.jsonl"]\n'
        '[filters.long.words]\nsignal = "words.count"\nmin = 200\n[engine]\nunit_bytes = 4096\n'
        '[dedup.minhash]\nquality = "words.count"\n'
    )
    run(load_recipe(str(folder / "near.toml")), str(folder / "run"), Options(executor="inline"))
    return folder / "run"


def test_the_index_of_datasketch_and_our_bands_find_the_same_candidates() -> None:
    dice = random.Random(4)
    templates = [words(seed, 60) for seed in range(4)]
    texts = []
    for _ in range(300):
        text = list(dice.choice(templates))
        for _ in range(dice.randrange(7)):
            text[dice.randrange(60)] = "".join(dice.choices("abcdefghij", k=6))
        texts.append(" ".join(text))
    chosen = MinHashSettings()
    values = signatures(pa.array(texts, pa.large_string()), chosen).values
    buckets: dict[int, list[int]] = defaultdict(list)
    for row, keys in enumerate(band_keys(values, chosen).tolist()):
        for key in keys:
            buckets[key].append(row)
    ours = {pair for bucket in buckets.values() for pair in combinations(sorted(bucket), 2)}
    index = make_index(enumerate(values), chosen)
    theirs = {
        (row, other) for row in range(300) for other in index.query(to_datasketch(values[row], chosen)) if row < other
    }
    assert len(ours) > 1000
    assert ours == theirs


@pytest.mark.parametrize("index_documents", [50_000, 3, 1])
def test_every_document_near_to_a_text_is_told_with_what_became_of_it(
    finished: pathlib.Path, monkeypatch: pytest.MonkeyPatch, index_documents: int
) -> None:
    monkeypatch.setattr(lookup, "INDEX_DOCUMENTS", index_documents)
    texts = [("new", page(0, "other")), ("far", page(77)), ("short", "only four words here"), ("same", page(3))]
    found = look_up(str(finished), texts)
    assert [(one.text, one.short, len(one.near)) for one in found] == [
        ("new", False, 3), ("far", False, 0), ("short", True, 0), ("same", False, 1),
    ]  # fmt: skip
    told = {one.url: one for one in found[0].near}
    assert {url: one.kept for url, one in told.items()} == {
        "http://example.com/copy": True, "http://example.com/page-0": False, "http://example.com/short": False,
    }  # fmt: skip
    assert told["http://example.com/page-0"].reason == "duplicate.minhash"
    similarities = [one.similarity for one in found[0].near]
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[-1] >= 0.8
    (same,) = found[3].near
    assert (same.similarity, same.source, same.kept) == (1.0, "web", True)


@pytest.mark.parametrize("index_documents", [50_000, 1])
def test_the_nearest_are_told_and_all_are_counted(
    finished: pathlib.Path, monkeypatch: pytest.MonkeyPatch, index_documents: int
) -> None:
    (whole,) = look_up(str(finished), [("new", page(0, "other"))])
    monkeypatch.setattr(lookup, "INDEX_DOCUMENTS", index_documents)
    for number in (0, 1, 2, 3):
        (one,) = look_up(str(finished), [("new", page(0, "other"))], number=number)
        assert (one.found, one.near) == (3, whole.near[:number])


def test_the_threshold_decides_what_is_told(finished: pathlib.Path) -> None:
    text = [("half", " ".join([*words(5, 200)[:174], *words(55, 26)]))]
    assert look_up(str(finished), text)[0].near == []
    (near,) = look_up(str(finished), text, threshold=0.6)[0].near
    assert 0.6 <= near.similarity < 0.8


def test_files_and_standard_input_are_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\nno json\n')
    (tmp_path / "b.txt").write_bytes("größer\n".encode() * 300_000)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"stdin \xff")))
    tally: Counter[str] = Counter()
    names = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.txt"), "-"]
    texts = dict(read_texts_to_look_up(names, tally))
    assert list(texts) == ["a.jsonl:1", "a.jsonl:2", "b.txt", "-"]
    assert texts["b.txt"] == "größer\n" * 300_000
    assert texts["-"] == "stdin \ufffd"
    assert sum(count for reason, count in tally.items() if reason.startswith("error.")) == 1
    with pytest.raises(RecipeError, match="nowhere"):
        list(read_texts_to_look_up([str(tmp_path / "nowhere.jsonl")], tally))


def test_the_command_prints_it_and_as_json(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps({"text": page(0, "\x1b[31mother")}) + "\n")
    runner = CliRunner()
    shown = runner.invoke(app, ["dedup", "lookup", str(finished), str(path)])
    assert shown.exit_code == 0, shown.output
    assert "new.jsonl:1: 3 near-duplicates" in shown.stdout
    assert "dropped: duplicate.minhash" in shown.stdout
    assert "http://example.com/copy" in shown.stdout
    data = json.loads(runner.invoke(app, ["dedup", "lookup", str(finished), str(path), "--json"]).stdout)
    assert [len(one["near"]) for one in data] == [3]
    assert set(data[0]) == set(Lookup._fields)


def test_a_folder_without_signatures_is_a_mistake(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new.txt"
    path.write_text("text")
    done = CliRunner().invoke(app, ["dedup", "lookup", str(tmp_path), str(path)])
    assert done.exit_code == 2
    assert "has no minhash step" in done.stderr


def test_of_several_steps_one_is_to_be_named(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "signatures"
    folder.mkdir()
    for name in ("minhash", "second"):
        shutil.copy(finished / "signatures" / "minhash.json", folder / f"{name}.json")
    with pytest.raises(RecipeError, match="name one with --step: minhash, second"):
        look_up(str(tmp_path), [])
    with pytest.raises(RecipeError, match="no signatures of a step third: its steps are minhash, second"):
        look_up(str(tmp_path), [], step="third")


def test_nothing_to_look_up_finds_nothing(finished: pathlib.Path) -> None:
    assert look_up(str(finished), []) == []
    assert np.isfinite([one.bytes for one in look_up(str(finished), [("x", "")])]).all()


def test_a_file_without_texts_is_told_of(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "none.jsonl"
    path.write_text("")
    done = CliRunner().invoke(app, ["dedup", "lookup", str(finished), str(path)])
    assert (done.exit_code, done.stdout) == (0, "no texts to look up: the files hold none\n")
