"""JSONL and Parquet: mapped columns, bad rows, and splits."""

from __future__ import annotations

import gzip
import itertools
import json
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import InputError
from curate.readers import READERS, ReadSettings, Reject, detect_format
from curate.schema import DOCUMENT
from curate.storage import InputFile

SETTINGS = ReadSettings()


def write(folder: Path, name: str, data: bytes) -> InputFile:
    (folder / name).write_bytes(data)
    return InputFile(str(folder / name), name, len(data))


def read(
    kind: str, file: InputFile, start: int = 0, end: int | None = None, settings: ReadSettings = SETTINGS
) -> tuple[list[dict[str, Any]], list[Reject], Counter[str]]:
    tally: Counter[str] = Counter()
    items = list(READERS[kind].read(file, start, file.size if end is None else end, "mine", settings, tally))
    rejects = [item for item in items if isinstance(item, Reject)]
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    assert all(batch.schema.equals(DOCUMENT, check_metadata=True) for batch in batches)
    for batch in batches:
        batch.validate(full=True)
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert tally["records"] == len(rows) + len(rejects)
    return rows, rejects, tally


def lines(count: int, words: int = 5) -> list[bytes]:
    return [json.dumps({"text": f"text {n} " * words, "n": n}).encode() + b"\n" for n in range(count)]


COMPRESS = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstandard.compress, ".lz4": lz4.frame.compress}


@pytest.mark.parametrize("suffix", list(COMPRESS))
def test_reads_jsonl_in_every_compression(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path, "a.jsonl" + suffix, COMPRESS[suffix](b"".join(lines(50))))
    rows, rejects, _ = read(detect_format(file.name), file)
    assert [row["text"] for row in rows] == [f"text {n} " * 5 for n in range(50)]
    assert not rejects
    assert {row["source"] for row in rows} == {"mine"}
    assert READERS["jsonl"].splittable(file) == (suffix == "")


def test_columns_are_mapped_by_name_and_by_path(tmp_path: Path) -> None:
    row = {
        "content": "hello",
        "meta": {"url": " http://a.org/x y "},
        "when": 1700000000,
        "key": 7,
        "lang": "en",
        "n": None,
    }
    mapping = {"text": "content", "url": "meta.url", "date": "when", "id": "key"}
    mapped = ReadSettings(columns=mapping, meta=("lang", "n", "none"))
    [found], _, _ = read("jsonl", write(tmp_path, "a.jsonl", json.dumps(row).encode()), settings=mapped)
    assert (found["text"], found["url"]) == ("hello", "http://a.org/x%20y")
    assert found["date"] == datetime.fromisoformat("2023-11-14T22:13:20")
    assert found["meta"] == [("lang", "en")]
    table = pa.table(
        {"content": ["hello"], "meta": [{"url": "http://a.org/x y"}], "when": [1700000000], "key": [7], "lang": ["en"]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    file = InputFile(str(tmp_path / "a.parquet"), "a.parquet", (tmp_path / "a.parquet").stat().st_size)
    [same], _, _ = read("parquet", file, settings=mapped)
    assert {name: same[name] for name in same if name != "origin"} == {
        name: found[name] for name in found if name != "origin"
    }


def test_an_unknown_column_name_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="texts is not one of text, url, date, id"):
        ReadSettings(columns={"texts": "x"})


def test_ids_follow_from_what_rows_say_not_from_where_they_stand(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": "b", "id": "k"}, {"text": "c", "url": "http://x.org"}, {"text": "a", "id": "k2"}]
    data = [json.dumps(row).encode() + b"\n" for row in rows]
    one = read("jsonl", write(tmp_path, "a.jsonl", b"".join(data)))[0]
    two = read("jsonl", write(tmp_path, "b.jsonl.gz", gzip.compress(b"".join(reversed(data)))))[0]
    assert [row["id"] for row in one] == [row["id"] for row in reversed(two)]
    assert len({row["id"] for row in one}) == 4


def test_bad_lines_are_named_and_quote_nothing(tmp_path: Path) -> None:
    bad = [
        b"{not json SECRET",
        b"[1, 2]",
        b'"text"',
        b'{"text": null}',
        b'{"text": 5}',
        b'{"other": "SECRET"}',
        b"\xff\xfe",
    ]
    bad.append(b'{"text":' + b"[" * 100_000)
    data = b"\n".join([b'{"text": "first"}', *bad, b"", b"  ", b'{"text": "last"}'])
    rows, rejects, _ = read("jsonl", write(tmp_path, "a.jsonl", data))
    assert [row["text"] for row in rows] == ["first", "last"]
    assert Counter(reject.reason for reject in rejects) == {"error.json": 5, "error.no_text": 3}
    assert not any("SECRET" in reject.detail for reject in rejects)
    assert all(reject.detail.startswith(f"a.jsonl:{reject.offset}: ") for reject in rejects)


def test_text_is_cleaned_of_what_arrow_cannot_hold(tmp_path: Path) -> None:
    data = b'{"text": "a\\u0000b\\ud800c\\ud83d\\ude00", "url": "http://x\\ud800", "id": "\\udfff"}'
    [row], _, _ = read("jsonl", write(tmp_path, "a.jsonl", data))
    assert row["text"] == "ab\ufffdc\U0001f600"


def test_a_line_above_the_limit_is_refused(tmp_path: Path) -> None:
    data = b"".join(lines(2)) + b'{"text": "' + b"x" * 5_000_000 + b'"}\n' + b"".join(lines(2))
    rows, rejects, _ = read("jsonl", write(tmp_path, "a.jsonl", data), settings=ReadSettings(max_record_bytes=1000))
    assert len(rows) == 4
    assert [reject.reason for reject in rejects] == ["error.record_too_large"]


@pytest.mark.parametrize("suffix", ["", ".zst", ".lz4"])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_of_jsonl_yields_each_line_once(tmp_path: Path, suffix: str, data: Any) -> None:
    text = b"".join(lines(data.draw(st.integers(0, 20)), data.draw(st.integers(1, 30))))
    if data.draw(st.booleans()):
        text = text.rstrip(b"\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    newlines = [at + 1 for at, byte in enumerate(text) if byte == 10]
    cuts = sorted(cuts + data.draw(st.lists(st.sampled_from(newlines or [0]), max_size=3)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    file = write(tmp_path, "x", b"".join(map(COMPRESS[suffix], pieces)) if suffix else text)
    reader = READERS["jsonl"]
    offsets = data.draw(st.lists(st.integers(0, file.size), max_size=6))
    edges = sorted({0, file.size, *(reader.boundary(file, offset) for offset in offsets)})
    whole = read("jsonl", file)
    parts = [read("jsonl", file, start, end) for start, end in itertools.pairwise(edges)]
    assert [row for part in parts for row in part[0]] == whole[0]
    assert len(whole[0]) == text.count(b"text") // (text.split(b"\n")[0].count(b"text") or 1)
    assert not whole[1]


def test_a_truncated_compressed_file_yields_what_is_whole(tmp_path: Path) -> None:
    for suffix in (".gz", ".zst", ".lz4"):
        data = COMPRESS[suffix](b"".join(lines(10_000, 30)))
        rows, rejects, _ = read("jsonl", write(tmp_path, "a.jsonl" + suffix, data[: len(data) // 2]))
        assert [reject.reason for reject in rejects] in (["error.truncated"], ["error.corrupt"])
        assert 0 < len(rows) < 10_000
        assert [row["text"] for row in rows] == [f"text {n} " * 30 for n in range(len(rows))]


def parquet(folder: Path, rows: int, group: int, **options: Any) -> InputFile:
    path = folder / "a.parquet"
    table = pa.table({"text": [f"text {n}" for n in range(rows)], "url": [f"http://x.org/{n}" for n in range(rows)]})
    pq.write_table(table, path, row_group_size=group, **options)
    return InputFile(str(path), path.name, path.stat().st_size)


def test_parquet_splits_at_its_row_groups(tmp_path: Path) -> None:
    file = parquet(tmp_path, 1000, 100)
    reader = READERS["parquet"]
    assert reader.splittable(file)
    edges = sorted({reader.boundary(file, offset) for offset in range(0, file.size + 1, 7)})
    assert len(edges) == 11
    assert edges[0] == 0
    assert edges[-1] == file.size
    parts = [read("parquet", file, start, end)[0] for start, end in itertools.pairwise(edges)]
    assert [row for part in parts for row in part] == read("parquet", file)[0]
    assert all(
        start <= row["origin"]["offset"] < end
        for part, start, end in zip(parts, edges, edges[1:], strict=False)
        for row in part
    )


def test_parquet_batches_are_bounded(tmp_path: Path) -> None:
    file = parquet(tmp_path, 1000, 1000)
    tally: Counter[str] = Counter()
    batches = list(READERS["parquet"].read(file, 0, file.size, "s", ReadSettings(batch_bytes=2000), tally))
    assert len(batches) > 10


def test_parquet_rows_without_text_and_with_broken_utf_8(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"bad \xff\xfe", None], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": raw}), tmp_path / "a.parquet")
    file = InputFile(str(tmp_path / "a.parquet"), "a.parquet", (tmp_path / "a.parquet").stat().st_size)
    rows, rejects, _ = read("parquet", file)
    assert [row["text"] for row in rows] == ["good", "bad \ufffd\ufffd"]
    assert [reject.reason for reject in rejects] == ["error.no_text"]


def test_a_damaged_parquet_file_is_one_reject_per_damage(tmp_path: Path) -> None:
    file = parquet(tmp_path, 1000, 100, compression="zstd", use_dictionary=False)
    content = bytearray(Path(file.uri).read_bytes())
    cut = write(tmp_path, "cut.parquet", bytes(content[:-10]))
    assert [reject.reason for reject in read("parquet", cut)[1]] == ["error.corrupt"]
    assert READERS["parquet"].boundary(cut, 5) == cut.size
    assert not READERS["parquet"].splittable(cut)
    start = READERS["parquet"].boundary(file, file.size // 2)
    content[start + 40 : start + 80] = bytes(40)
    rows, rejects, _ = read("parquet", write(tmp_path, "b.parquet", bytes(content)))
    assert [reject.reason for reject in rejects] == ["error.corrupt"]
    assert rejects[0].offset == start
    assert len(rows) == 900


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CC-MAIN-2024.warc.gz", "warc"),
        ("x.warc.wet.gz", "wet"),
        ("x.warc.wat.gz", "warc"),
        ("a/b.arc", "arc"),
        ("A.JSONL.ZST", "jsonl"),
        ("part-0.parquet", "parquet"),
        ("x.warc.zst", "warc"),
    ],
)
def test_formats_are_known_by_their_extensions(name: str, kind: str) -> None:
    assert detect_format(name) == kind


def test_an_unknown_extension_is_a_clear_error() -> None:
    with pytest.raises(InputError, match=r"x\.pdf: unknown extension"):
        detect_format("x.pdf")


def test_odd_dates_are_no_dates_and_end_nothing(tmp_path: Path) -> None:
    data = b'{"text": "a", "date": ' + b"9" * 400 + b'}\n{"text": "b", "date": 1e400}\n{"text": "c"}\n'
    rows, rejects, _ = read("jsonl", write(tmp_path, "a.jsonl", data))
    assert [(row["text"], row["date"]) for row in rows] == [("a", None), ("b", None), ("c", None)]
    assert not rejects


def stored(folder: Path, table: pa.Table) -> InputFile:
    path = folder / "t.parquet"
    pq.write_table(table, path)
    return InputFile(str(path), path.name, path.stat().st_size)


def test_parquet_dates_of_every_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    days = pa.array([18262, None], pa.date32())
    nanoseconds = pa.array([1577836800123456789, None], pa.timestamp("ns"))
    far = pa.array([10**15, 1577836800000], pa.timestamp("ms"))
    day = datetime.fromisoformat("2020-01-01")
    for dates, expected in ((days, [day, None]), (nanoseconds, [day, None]), (far, [None, day])):
        rows, rejects, _ = read("parquet", stored(tmp_path, pa.table({"text": ["a", "b"], "date": dates})))
        assert [row["date"] for row in rows] == expected
        assert not rejects


def test_a_column_that_occurs_twice_and_bad_utf_8_in_a_struct_reject_rows_only(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a", "b"]), pa.array(["c", "d"])], names=["text", "text"])
    rows, rejects, _ = read("parquet", stored(tmp_path, twice))
    assert [reject.reason for reject in rejects] == ["error.no_text"] * 2
    bad = pa.array([b"good", b"bad \xff", b"fine"], pa.binary()).view(pa.string())
    nested = pa.table(
        {"data": pa.StructArray.from_arrays([bad], ["text"]), "more": pa.StructArray.from_arrays([bad], ["x"])}
    )
    file = stored(tmp_path, nested)
    rows, rejects, _ = read("parquet", file, settings=ReadSettings(columns={"text": "data.text"}))
    assert [row["text"] for row in rows] == ["good", "bad \ufffd", "fine"]
    rows, rejects, _ = read("parquet", file, settings=ReadSettings(columns={"text": "data.text"}, meta=("more",)))
    assert [row["text"] for row in rows] == ["good", "fine"]
    assert [reject.reason for reject in rejects] == ["error.row"]


def test_a_value_that_many_rows_share_is_decoded_in_small_runs(tmp_path: Path) -> None:
    for texts in (pa.array(["x" * 50_000] * 500), pa.array(["x" * 50_000] * 500).dictionary_encode()):
        file = stored(tmp_path, pa.table({"text": texts}))
        small = ReadSettings(batch_bytes=1 << 20)
        batches = list(READERS["parquet"].read(file, 0, file.size, "s", small, Counter()))
        assert sum(batch.num_rows for batch in batches) == 500
        assert max(batch.nbytes for batch in batches) < 3 << 20
