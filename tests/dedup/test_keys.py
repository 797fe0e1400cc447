"""What holds for every kind of dedup."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from curate.dedup import DEDUPS, IMPLIED
from curate.dedup.keys import hash_words, quality_rank, scope_words
from curate.schema import DOCUMENT, id_words


def _documents(count: int) -> pa.Table:
    ids = [bytes([number]) * 16 for number in range(count)]
    columns = {
        "id": ids,
        "text": [f"text {number % 3}" for number in range(count)],
        "url": [f"http://example.com/{number % 2}" for number in range(count)],
        "source": ["a", "b"] * (count // 2),
        "date": [None] * count,
    }
    return pa.table({name: pa.array(values, DOCUMENT.field(name).type) for name, values in columns.items()})


@pytest.mark.parametrize("name", [name for name in DEDUPS if DEDUPS[name].keys])
def test_every_kind_gives_rows_for_any_batch(name: str) -> None:
    dedup = DEDUPS[name]
    settings = dedup.settings()
    documents = _documents(6)
    for batch in (documents, documents.slice(0, 0), documents.slice(2, 3)):
        text = batch.column("text").combine_chunks() if dedup.needs_text else None
        rows = dedup.keys(text, batch, settings, {"a": 1})
        assert rows.key.shape == (len(batch), 2)
        assert rows.rank.shape == rows.valid.shape == (len(batch),)
        assert (rows.key.dtype, rows.rank.dtype, rows.valid.dtype) == (np.uint64, np.uint64, np.bool_)
        better = np.array(batch.column("source").to_pylist()) == "a"
        if better.any() and not better.all():
            assert rows.rank[better].max() < rows.rank[~better].min()


@pytest.mark.parametrize("name", [name for name in DEDUPS if DEDUPS[name].keys])
def test_settings_of_every_kind_refuse_unknown_keys(name: str) -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        DEDUPS[name].settings.model_validate({"nonsense": 1})


def test_equal_ids_are_found_by_the_kind_that_every_run_begins_with() -> None:
    documents = _documents(6)
    rows = DEDUPS["id"].keys(None, documents, DEDUPS["id"].settings(), {})
    assert (rows.key == id_words(documents.column("id").combine_chunks())).all()
    assert rows.valid.all()
    assert "id" in IMPLIED


INT64 = [-(1 << 63), -(1 << 62), -1, 0, 1, 1 << 53, (1 << 53) + 1, (1 << 63) - 1]
FLOAT64 = [-np.inf, -1e308, -1.5, -5e-324, 0.0, 5e-324, 0.1, 0.1 + 2**-56, 1.0, np.inf]


@pytest.mark.parametrize(("values", "dtype"), [(INT64, pa.int64()), (FLOAT64, pa.float64())])
def test_the_larger_a_quality_the_smaller_its_rank(values: list[float], dtype: pa.DataType) -> None:
    ranks = quality_rank(pa.array(values, dtype)).tolist()
    assert ranks == sorted(set(ranks), reverse=True)
    (worst,) = quality_rank(pa.array([None], dtype)).tolist()
    assert worst == (1 << 64) - 1


def test_zero_has_one_rank() -> None:
    ranks = quality_rank(pa.array([0.0, -0.0]))
    assert ranks[0] == ranks[1]


def test_scopes_are_told_apart_and_those_of_no_name_are_one() -> None:
    words = scope_words(pa.chunked_array([["en", None, "de"], ["en", "", None]], pa.string()))
    equal = (words[:, None] == words[None, :]).all(axis=2)
    names = ["en", None, "de", "en", "", None]
    assert equal.tolist() == [[one == other for other in names] for one in names]


def test_a_key_is_the_big_endian_words_of_the_digest() -> None:
    words, known = hash_words([b"", None])
    # the published xxh3-128 of nothing
    assert f"{int(words[0, 0]):016x}{int(words[0, 1]):016x}" == "99aa06d3014798d86001c324468d497f"
    assert words[1].tolist() == [0, 0]
    assert known.tolist() == [True, False]


HOSTILE_TEXTS = [
    "",
    " ",
    "plain",
    "Two  Words\n",
    "two words",
    "\u00a0é\u3000e\u0301\u2028",
    "\x00\x1c\x7f\u200b",
    "ÀÉÎ ß ǅ İ Σς",
    "漢字 かな 한글 ไทย",
    "𝔘𝔫𝔦 👩‍👩‍👧",
    "a" * 1000,
    "\ufeff\ufffd\U0010ffff",
]
HOSTILE_URLS = [
    "https://www.Example.com:443/a/../b/?utm_source=x&b=2&a=1#f",
    "http://bücher.example/%7e%e9/ü?q=%zz",
    "http://user@[2001:DB8::1]:8080//x;jsessionid=1",
    "HTTP:\\\\a..b\\c",
    "not a url",
    "urn:isbn:1",
    None,
    "",
    "//x.org",
    "example.org:80/?",
    "http://a/%2541",
    "http://%00/",
]
GOLDEN = {
    ("id", 1): "4aa1baa8811d2988",
    ("exact", 1): "ec0ef1b3214ed14c",
    ("url", 1): "5cc1457d2a5279bd",
}


@pytest.mark.parametrize("name", [name for name in DEDUPS if DEDUPS[name].keys])
def test_output_changes_only_with_the_version(name: str) -> None:
    """If this fails, keys or ranks have changed: raise the `version` of that `Dedup`, and write the new digest here."""
    count = len(HOSTILE_TEXTS)
    documents = _documents(count).set_column(2, "url", pa.array(HOSTILE_URLS, pa.string()))
    dates = pa.array([None, 0, -1, 1 << 33, 1, 2, 3, 4, 5, 6, 7, 8], pa.timestamp("s"))
    documents = documents.set_column(4, "date", dates)
    dedup = DEDUPS[name]
    rows = dedup.keys(pa.array(HOSTILE_TEXTS, pa.large_string()), documents, dedup.settings(), {"a": 3, "b": -1})
    digest = xxhash.xxh3_64_hexdigest(b"".join(column.astype("<u8").tobytes() for column in rows))
    assert digest == GOLDEN[name, dedup.version]
