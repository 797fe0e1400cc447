"""What kernels on text begin with: decoding as CPython does, tables of characters, buffers, digests of sources."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.text import compiled, tables
from curate.text.buffers import text_buffers
from curate.text.utf8 import count_characters, decode, entry_at

EDGES = "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
# whole characters, cut ones, overlong ones, surrogates and what lies beyond Unicode
BAD = [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"]
pieces = st.sampled_from([character.encode() for character in EDGES] + BAD)
hostile = st.lists(pieces | pieces.map(lambda piece: piece[:-1]) | st.binary(max_size=3), max_size=20).map(b"".join)


@settings(deadline=None)  # the first example is compiled
@given(hostile)
def test_bytes_decode_as_cpython_decodes_them(document: bytes) -> None:
    data, at, points = np.frombuffer(document, dtype=np.uint8), 0, []
    while at < len(document):
        point, width = decode(data, at, len(document))
        points.append(point)
        at += width
    assert points == [ord(character) for character in document.decode("utf-8", "surrogateescape")]
    assert count_characters(data, len(document)) == len(points)


def test_a_table_in_two_stages_gives_back_every_entry() -> None:
    flat = (np.arange(tables.CODE_POINTS) // 1000 % 7).astype(np.uint16)
    index, entries = tables.two_stages(flat)
    assert index.shape == (tables.INDEX_SIZE,)
    assert len(entries) < len(flat) // 10
    for point in (0, 999, 1000, 0xD800, 0x10FFFF):
        assert entry_at(index, entries, point) == tables.entry_of(chr(point), index, entries) == flat[point]


def test_a_table_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.unicodedata, "unidata_version", tables.UNICODE_VERSION)
    file = tmp_path / "table.bin"
    tables.write_table(file, np.array([1, 0x1234], dtype=">u4"))
    assert file.read_bytes() == b"\1\0\0\0\x34\x12\0\0"
    table = tables.read_table(file, np.uint32)
    assert table.tolist() == [1, 0x1234]
    assert not table.flags.writeable


def test_a_table_of_another_unicode_version_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.unicodedata, "unidata_version", "1.0.0")
    with pytest.raises(SystemExit, match=r"this Python has Unicode 1\.0\.0"):
        tables.write_table(tmp_path / "table.bin", np.zeros(1, dtype=np.uint16))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_buffers_honour_offsets_slices_and_nulls(kind: pa.DataType) -> None:
    texts = pa.array([b"before", "zwölf".encode(), None, b"", b"after"]).cast(kind)
    data, bounds = text_buffers(texts.slice(1, 3))
    assert [data[start:end].tobytes() for start, end in pairwise(bounds)] == [
        "zwölf".encode(),
        b"",
        b"",
    ]
    assert text_buffers(texts.slice(5))[1].tolist() == [0]


def test_a_digest_of_sources_changes_with_any_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("text/compiled.py", "dedup/fold_kernel.py", "dedup/fold_table.bin", "dedup/other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(compiled, "PACKAGE", tmp_path)
    before = compiled.source_digest("dedup/fold_*")
    (tmp_path / "dedup/other.py").write_text("changed")
    assert compiled.source_digest("dedup/fold_*") == before
    (tmp_path / "dedup/fold_table.bin").write_text("changed")
    after = compiled.source_digest("dedup/fold_*")
    assert after != before
    (tmp_path / "text/compiled.py").write_text("changed")
    assert compiled.source_digest("dedup/fold_*") not in {before, after}


def test_a_digest_of_no_file_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="no file of the package matches dedup/gone_"):
        compiled.source_digest("dedup/gone_*")
