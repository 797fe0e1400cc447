"""What holds for every kind of dedup."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.dedup import DEDUPS, IMPLIED
from curate.dedup.keys import hash_words
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


@pytest.mark.parametrize("name", DEDUPS)
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


@pytest.mark.parametrize("name", DEDUPS)
def test_settings_of_every_kind_refuse_unknown_keys(name: str) -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        DEDUPS[name].settings.model_validate({"nonsense": 1})


def test_equal_ids_are_found_by_the_kind_that_every_run_begins_with() -> None:
    documents = _documents(6)
    rows = DEDUPS["id"].keys(None, documents, DEDUPS["id"].settings(), {})
    assert (rows.key == id_words(documents.column("id").combine_chunks())).all()
    assert rows.valid.all()
    assert "id" in IMPLIED


def test_a_key_is_the_big_endian_words_of_the_digest() -> None:
    words, known = hash_words([b"", None])
    # the published xxh3-128 of nothing
    assert f"{int(words[0, 0]):016x}{int(words[0, 1]):016x}" == "99aa06d3014798d86001c324468d497f"
    assert words[1].tolist() == [0, 0]
    assert known.tolist() == [True, False]
