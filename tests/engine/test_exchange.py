from __future__ import annotations

import itertools
import pathlib
import tempfile
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine import exchange
from curate.errors import InputError

SCHEMA = pa.schema([("key", pa.uint64()), ("tie", pa.uint64()), ("payload", pa.large_string())])
SORT = ("key", "tie")


def batch(rows: list[tuple[int, int]]) -> pa.RecordBatch:
    keys = pa.array([key for key, _ in rows], pa.uint64())
    ties = pa.array([tie for _, tie in rows], pa.uint64())
    return pa.record_batch([keys, ties, pa.array([f"{k}-{t}" for k, t in rows], pa.large_string())], schema=SCHEMA)


def pairs(batches: list[pa.RecordBatch]) -> list[tuple[int, int]]:
    return [(row["key"], row["tie"]) for part in batches for row in part.to_pylist()]


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> list[str]:
    """Three run files whose rows interleave, with one key that dominates."""
    generator = np.random.default_rng(7)
    paths = []
    for number in range(3):
        keys = generator.integers(0, 1 << 64, 4000, dtype=np.uint64)
        keys[:2500] = 1 << 63
        rows = [(int(key), number * 10_000 + index) for index, key in enumerate(keys)]
        paths.append(str(tmp_path / f"{number}.run"))
        exchange.write_run(paths[-1], [batch(rows[:1000]), batch(rows[1000:])], SCHEMA, SORT)
    return paths


def test_merges_run_files_in_key_order(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    merged = pairs(list(exchange.merge(runs)))
    assert merged == sorted(merged)
    assert len(merged) == 12_000


def test_partitions_tile_the_keys(runs: list[str]) -> None:
    whole = pairs(list(exchange.merge(runs)))
    for count in (1, 2, 3, 7):
        spans = [exchange.partition_range(index, count) for index in range(count)]
        assert spans[0][0] == 0
        assert spans[-1][1] == exchange.KEY_SPAN
        assert [pair for low, high in spans for pair in pairs(list(exchange.merge(runs, low, high)))] == whole


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 10_000, 1 << 20])
def test_chunks_change_only_where_batches_end(
    tmp_path: pathlib.Path, runs: list[str], monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    paths = []
    for number, path in enumerate(runs):
        paths.append(str(tmp_path / f"small-{number}.run"))
        exchange.write_run(paths[-1], exchange.merge([path]), SCHEMA, SORT)
    for low, high in (exchange.partition_range(index, 3) for index in range(3)):
        one_by_one = list(exchange.merge(paths, low, high, 1))
        ahead = list(exchange.merge(paths, low, high, chunk_bytes))
        assert pairs(ahead) == pairs(one_by_one)
        assert len(ahead) <= len(one_by_one)
    assert len(ahead) < len(one_by_one) / 2 or chunk_bytes < 10_000


def test_small_blocks_change_nothing(tmp_path: pathlib.Path, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(list(exchange.merge(runs)))
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    paths = []
    for number, path in enumerate(runs):
        paths.append(str(tmp_path / f"small-{number}.run"))
        exchange.write_run(paths[-1], exchange.merge([path]), SCHEMA, SORT)
    assert pairs(list(exchange.merge(paths))) == whole


def test_spilling_gives_the_same_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(index * 7919 % 5003, index) for index in range(5000)]
    batches = [batch(rows[start : start + 500]) for start in range(0, 5000, 500)]
    at_once, spilled = tmp_path / "once.run", tmp_path / "spilled.run"
    exchange.write_run(str(at_once), batches, SCHEMA, SORT)
    monkeypatch.setattr(exchange, "SORT_BYTES", 20_000)
    exchange.write_run(str(spilled), batches, SCHEMA, SORT)
    assert pairs(list(exchange.merge([str(spilled)]))) == sorted(rows)
    assert [path.name for path in tmp_path.iterdir() if ".tmp" in path.name] == []


def test_a_giant_key_is_merged_in_bounded_memory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 64 << 10)
    paths = []
    for number in range(4):
        ties = np.arange(600_000, dtype=np.uint64) * np.uint64(4) + np.uint64(number)
        schema = pa.schema([("key", pa.uint64()), ("tie", pa.uint64())])
        paths.append(str(tmp_path / f"{number}.run"))
        exchange.write_run(
            paths[-1], [pa.record_batch([np.zeros(600_000, np.uint64), ties], schema=schema)], schema, SORT
        )
    total = sum((tmp_path / f"{number}.run").stat().st_size for number in range(4))
    before = pa.total_allocated_bytes()
    peak = rows = 0
    tracemalloc.start()
    last = -1
    for part in exchange.merge(paths):
        ties = part.column("tie").to_numpy()
        assert int(ties[0]) > last
        last = int(ties[-1])
        rows += len(part)
        peak = max(peak, pa.total_allocated_bytes() - before)
    python_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 2_400_000
    assert peak + python_peak < total / 3


def test_refuses_a_file_that_was_cut_off(runs: list[str]) -> None:
    data = pathlib.Path(runs[0]).read_bytes()
    pathlib.Path(runs[0]).write_bytes(data[:-7])
    with pytest.raises(InputError, match="was cut off"):
        exchange.RunReader(runs[0])


@given(st.integers(1, 400), st.integers(1, 1 << 34), st.integers(1, 64))
def test_merge_groups_tile_the_files_and_shrink_their_number(files: int, total: int, partitions: int) -> None:
    groups = exchange.merge_groups(files, total, partitions)
    if groups:
        assert list(itertools.chain(*groups)) == list(range(files))
        assert len(groups) < files
        assert all(len(group) <= exchange.MAX_FAN_IN for group in groups)
    else:
        assert files <= exchange.MAX_FAN_IN


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1 << 64 - 1)), max_size=60))
def test_sort_order_is_the_order_of_tuples(rows: list[tuple[int, int, int]]) -> None:
    columns = [np.array([row[at] for row in rows], dtype=np.uint64) for at in range(3)]
    order = exchange.sort_order(columns)
    assert [rows[at] for at in order] == sorted(rows)


def test_equal_rows_of_many_files_all_arrive(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 300)
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.run"))
        exchange.write_run(paths[-1], [batch([(n, n % 3) for n in range(200)])], SCHEMA, SORT)
    assert pairs(list(exchange.merge(paths))) == sorted((n, n % 3) for n in range(200) for _ in paths)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_sorted_runs_become_one_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(exchange, "MAX_SPILLS", 2)
    rows = [[(key, run) for key in range(run, 100, 3)] for run in range(count)]
    runs = ([batch(run[:10]), batch(run[10:])] for run in rows)
    assert exchange.write_runs(str(tmp_path / "one.run"), runs, SCHEMA, SORT) == sum(map(len, rows))
    assert pairs(list(exchange.merge([str(tmp_path / "one.run")]))) == sorted(itertools.chain(*rows))
    assert [path.name for path in tmp_path.iterdir()] == ["one.run"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=80), st.integers(1, 30))
def test_equal_rows_are_written_once_if_asked_for(rows: list[tuple[int, int]], size: int) -> None:
    schema = pa.schema(list(SCHEMA)[:2])
    batches = [batch(rows[at : at + size]).select(SORT) for at in range(0, len(rows), size)]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(exchange, "SORT_BYTES", 500)
        patch.setattr(exchange, "CHUNK_BYTES", 100)
        patch.setattr(exchange, "MAX_SPILLS", 2)
        path = f"{folder}/distinct.run"
        assert exchange.write_run(path, batches, schema, SORT, distinct=True) == len(set(rows))
        assert pairs(list(exchange.merge([path]))) == sorted(set(rows))


def test_rows_that_wait_hold_their_own_block_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 1000)
    paths = []
    for number in range(4):  # dense keys, and a last one far away, for which the others would be held
        paths.append(str(tmp_path / f"{number}.run"))
        rows = [*((number * 10_000 + at, at) for at in range(4000)), ((1 << 63) + number, 0)]
        exchange.write_run(paths[-1], [batch(rows)], SCHEMA, SORT)
    held: list[pa.RecordBatch] = []
    split = exchange._split

    def watched(rows: list[pa.RecordBatch], *others: object) -> list[pa.RecordBatch]:
        heads = split(rows, *others)  # type: ignore[arg-type]
        held.extend(rows)
        return heads

    monkeypatch.setattr(exchange, "_split", watched)
    assert len(pairs(list(exchange.merge(paths, chunk_bytes=100_000)))) == 16_004
    roots = []
    for rows in held:
        buffer = rows.column(0).buffers()[1]
        while buffer.parent is not None:
            buffer = buffer.parent
        roots.append(buffer.size)
    assert roots
    assert max(roots) < 2000


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 20) | st.integers(0, (1 << 64) - 1), max_size=60), min_size=1, max_size=4),
    st.integers(1, 4),
    st.lists(st.integers(0, 20) | st.integers(0, 1 << 64), min_size=2, max_size=4).map(sorted),
    st.sampled_from([1, 2000, 1 << 20]),
)
def test_an_index_of_any_step_finds_every_range(
    keys: list[list[int]], step: int, bounds: list[int], chunk_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(exchange, "INDEX_STEP", step)
        patch.setattr(exchange, "BLOCK_BYTES", 100)
        paths = []
        for number, own in enumerate(keys):
            paths.append(f"{folder}/{number}.run")
            exchange.write_run(paths[-1], [batch([(key, number) for key in own])], SCHEMA, SORT)
        rows = sorted((key, number) for number, own in enumerate(keys) for key in own)
        for low, high in itertools.pairwise(bounds):
            found = list(exchange.merge(paths, low, high, chunk_bytes))
            assert pairs(found) == [row for row in rows if low <= row[0] < high]
            assert all(len(part) for part in found)
