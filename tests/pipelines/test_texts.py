from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import RecipeError
from curate.pipelines import texts
from curate.pipelines.texts import list_texts, read_texts
from curate.readers import ReadSettings


def read(folder: Path, column: str = "text") -> tuple[list[str], Counter[str]]:
    tally: Counter[str] = Counter()
    found = list(read_texts(list_texts([str(folder)]), ReadSettings(columns={"text": column}), tally))
    return found, tally


def test_reads_documents_of_every_format_in_the_order_of_file_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain\ntext\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": "from json"}).encode() + b"\n"))
    pq.write_table(pa.table({"text": ["from parquet"]}), tmp_path / "c.parquet")
    found, tally = read(tmp_path)
    assert [text.strip() for text in found] == ["plain\ntext", "from json", "from parquet"]
    assert tally == {"texts": 3}


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n{broken\n{"other": 1}\n')
    found, tally = read(tmp_path)
    assert found == ["good"]
    assert tally["texts"] == 1
    assert sum(count for name, count in tally.items() if name.startswith("error.")) == 2


def test_the_column_of_the_text_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "good"}\n')
    assert read(tmp_path, "body")[0] == ["good"]


def test_a_plain_text_is_read_in_blocks_that_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "BLOCK_BYTES", 7)
    text = "Grüße\nan alle\n\nまた明日\nletzte Zeile ohne Umbruch"
    (tmp_path / "a.md").write_text("\ufeff" + text, encoding="utf-8")
    found, _ = read(tmp_path)
    assert "".join(found) == text
    assert len(found) > 3


def test_bytes_that_are_no_utf8_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 ol\xe9\n")
    found, tally = read(tmp_path)
    assert found == ["caf\ufffd ol\ufffd\n"]
    assert tally["replaced.utf8"] == 2


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 5, 1 << 20])
def test_only_what_was_replaced_counts_wherever_blocks_end(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "BLOCK_BYTES", block_bytes)
    # a true U+FFFD, a cut off sequence, a byte that begins none, and one cut off by the end of the file
    (tmp_path / "a.txt").write_bytes("\ufffd\ufffd a\ufffd".encode() + b"\xe4\xb8 b \xff \xe4")
    found, tally = read(tmp_path)
    assert "".join(found) == "\ufffd\ufffd a\ufffd\ufffd b \ufffd \ufffd"
    assert tally["replaced.utf8"] == 3


def test_inputs_that_cannot_be_read_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no file matches"):
        list_texts([str(tmp_path / "*.txt")])
    (tmp_path / "a.xyz").write_text("?")
    (tmp_path / "b.abc").write_text("?")
    with pytest.raises(RecipeError, match="unknown extension") as raised:
        list_texts([str(tmp_path)])
    assert len(raised.value.mistakes) == 2
