"""The stages of a MinHash step alone: rows in any chunks, and input that would cost too much or join too much."""

from __future__ import annotations

import json
import pathlib
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.minhash import MinHashSettings
from curate.engine.driver import Silent
from curate.engine.ledger import Ledger
from curate.pipelines import signatures
from curate.pipelines.near_duplicate_sets import MEMBER, ROOT, SET_ROW, SET_SORT
from curate.pipelines.near_duplicates import Walk, bucket_members
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run

Row = tuple[int, int, int]

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 9)), min_size=1, max_size=40).map(sorted)


def plain_stars(rows: list[Row], *, meets: bool) -> set[tuple[int, int, int]]:
    """(document, root, role) of everything that (key, new, id) rows ask for: the definition."""
    buckets: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for key, new, identity in rows:
        buckets[key].append((new, identity))
    asked = set()
    for bucket in buckets.values():
        if meets and {new for new, _ in bucket} != {0, 1}:
            continue
        if not meets and len(bucket) == 1:
            continue
        root = bucket[0][1]
        roles = [new if meets else int(identity != root) for new, identity in bucket]
        asked |= {(identity, root, role) for (_, identity), role in zip(bucket, roles, strict=True)}
    return asked


@settings(max_examples=300, deadline=None)
@given(ROWS, st.lists(st.integers(1, 40), max_size=6), st.booleans())
def test_stars_are_the_same_in_any_chunks(rows: list[Row], cuts: list[int], meets: bool) -> None:
    if not meets:
        rows = sorted((key, 1, identity) for key, _, identity in rows)
    table = np.array(rows, dtype=np.uint64)
    asked = set()
    waiting = np.zeros((0, 3), dtype=np.uint64)
    for part in np.split(table, sorted(min(cut, len(rows)) for cut in cuts)):
        if not len(part):
            continue
        held = np.concatenate([waiting, part])
        chunk = {"key": held[:, 0], "new": held[:, 1], "id_hi": held[:, 2]}
        found, heads, role, left = bucket_members(chunk, meets=meets)
        asked |= set(
            zip(chunk["id_hi"][found].tolist(), chunk["id_hi"][heads].tolist(), role.astype(int).tolist(), strict=True)
        )
        waiting = held[left]
    assert asked == plain_stars(rows, meets=meets)


def test_a_page_repeated_a_million_times_is_settled_with_one_leader_in_memory() -> None:
    walk = Walk(MinHashSettings(), final=True, older=False, memory_bytes=10_000)
    size = 1000
    pages = pa.array([np.arange(0, 1000, 7, dtype="<u4").tobytes()] * size, pa.large_binary())
    dropped = 0
    for start in range(0, 1_000_000, size):
        columns = {name: np.zeros(size, dtype=np.uint64) for name in SET_SORT}
        columns["id_lo"] = columns["row"] = np.arange(start, start + size, dtype=np.uint64)
        columns["role"] = np.where(columns["row"] == 0, ROOT, MEMBER).astype(np.uint64)
        chunk = pa.record_batch([*(pa.array(columns[name]) for name in SET_SORT), pages], schema=SET_ROW)
        found = walk.take(chunk, np.arange(size))
        dropped += found.changes.column("drop").true_count
        assert walk.settler.open == 1
        assert not len(found.left)
    (last,) = walk.end().to_pylist()
    assert (dropped, last["drop"], last["cluster_size"]) == (999_999, False, 1_000_000)
    assert walk.settler.compared == 999_999


class Heard(Silent):
    """A progress that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_what_verification_cost_is_told_once(tmp_path: pathlib.Path) -> None:
    stats, folder = finished(tmp_path, boilerplate(3, shared=100, own=2))
    heard = Heard()
    recipe = load_recipe(str(tmp_path / "near.toml"))
    run(recipe, str(tmp_path / "again"), Options(executor="inline"), heard)
    (note,) = [note for note in heard.notes if "verification" in note]
    compared, similar = stats["minhash.compare compared"], stats["minhash.compare similar"]
    assert (compared, similar) == (3, 3)  # what these settle is not compared again
    moved = sum(path.stat().st_size for path in set_files(tmp_path / "again"))
    expected = f"verification: {compared} pairs compared, {similar} similar, {moved:,} bytes of shingle sets moved"
    assert note == f"duplicate.minhash: {expected}"
    again = Heard()
    run(recipe, str(tmp_path / "again"), Options(executor="inline"), again)
    assert not again.notes
    assert folder.exists()


def set_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    ledger = Ledger(str(folder))
    ledger.load()
    for receipt in ledger.receipts.values():
        if receipt.stage == "minhash.sets":
            yield from (folder / ref.path for ref in receipt.files("run"))


def finished(folder: pathlib.Path, texts: list[str], settings: str = "") -> tuple[Counter[str], pathlib.Path]:
    """Run a MinHash step over texts and return its statistics."""
    lines = "".join(json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(texts))
    (folder / "texts.jsonl").write_text(lines)
    (folder / "near.toml").write_text(
        'name = "near"\nsteps = ["minhash"]\n[[sources]]\nname = "web"\ninput = ["texts.jsonl"]\n'
        f"[dedup.minhash]\n{settings}\n"
    )
    heard = Heard()
    run(load_recipe(str(folder / "near.toml")), str(folder / "run"), Options(executor="inline"), heard)
    assert sum("verification:" in note for note in heard.notes) == 1
    ledger = Ledger(str(folder / "run"))
    ledger.load()
    stats: Counter[str] = Counter()
    for receipt in ledger.receipts.values():
        stats.update({f"{receipt.stage} {name}": count for name, count in receipt.stats.items()})
        if receipt.stage == "duplicates.apply":
            stats["dropped"] += receipt.flows["dropped"].count
    return stats, folder / "run"


def boilerplate(pages: int, shared: int, own: int) -> list[str]:
    dice = np.random.default_rng(8)
    letters = np.array(list("abcdefghijklmnop"))
    words = ["".join(letters[row]) for row in dice.integers(0, 16, (shared + pages * own, 6))]
    return [" ".join([*words[:shared], *words[shared + n * own : shared + (n + 1) * own]]) for n in range(pages)]


def test_pages_of_mostly_boilerplate_are_neither_joined_nor_all_compared(tmp_path: pathlib.Path) -> None:
    stats, _ = finished(tmp_path, boilerplate(3000, shared=150, own=50), "bands = 40\nrows = 4")
    # nearly every pair of a similarity of 0.58 shares a band: 4.5 million pairs
    assert stats["dropped"] == 0
    assert stats["minhash.stars candidates"] > 30_000
    assert stats["minhash.compare compared"] < 3000 * 2999 / 2 / 20


@pytest.mark.parametrize("settings", ["", 'verify = "estimated"'])
def test_forced_collisions_of_all_documents_in_all_bands_join_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    monkeypatch.setattr(
        signatures, "band_keys", lambda values, chosen: np.zeros((len(values), chosen.bands), dtype=np.uint64)
    )
    texts = boilerplate(1500, shared=0, own=60)
    stats, _ = finished(tmp_path, [*texts, *(f"{text} more" for text in texts[:20])], settings)
    assert stats["dropped"] == 20
    pairs = 1520 * 1519 / 2
    assert stats["minhash.compare compared"] <= (pairs if settings else pairs / 20)


def test_empty_and_very_short_documents_have_no_signature_and_no_copies(tmp_path: pathlib.Path) -> None:
    texts = ["", " ", "\n\t", "one", "one two three four", "!!! ??? ...", "\u200b\u200b", "1 2 3 4", "a b c d e"] * 30
    stats, _ = finished(tmp_path, texts)
    # of nine texts only the last has a shingle of five words
    assert stats["dropped"] == 29
    assert stats["minhash.bands documents"] == 30


def test_a_giant_cluster_is_joined_in_files_as_in_memory(tmp_path: pathlib.Path) -> None:
    # digits would all read as 0
    ends = ["".join("abcdefghij"[int(digit)] for digit in str(number)) for number in range(5000)]
    texts = [f"{text} {end}" for text, end in zip(boilerplate(1, shared=100, own=0) * 5000, ends, strict=True)]
    found = []
    for name, chosen in (("memory", ""), ("files", "\nmax_edges_in_memory = 100")):
        (tmp_path / name).mkdir()
        stats, _ = finished(tmp_path / name, texts, f'alarm = "off"{chosen}')
        found.append((stats["dropped"], stats["duplicates.apply changes"]))
    assert found[0] == found[1]
    assert found[0][0] > 4990
