"""Signatures are datasketch's bit for bit, and bands find the pairs that its index finds."""

from __future__ import annotations

import itertools
import random

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.dedup.minhash import (
    EMPTY,
    PRESETS,
    MinHashSettings,
    band_keys,
    detection_curve,
    optimal_shape,
    permutations,
    signatures,
    to_datasketch,
)
from curate.dedup.shingles import comparable, hash_shingle

WORDS = ["the", "a", "quick", "Brown", "fox", "jumps", "12", "dogs,", "naïve", "слово", "extraordinarily", "eighteen"]
texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=30).map(" ".join)


def oracle(text: str | None, chosen: MinHashSettings) -> datasketch.MinHash:
    """The sketch that datasketch makes of the n-grams of a comparable text."""
    words = (text or "").split()
    sketch = datasketch.MinHash(chosen.permutations, seed=chosen.seed, hashfunc=hash_shingle)
    sketch.update_batch([tuple(words[at : at + chosen.ngram]) for at in range(len(words) - chosen.ngram + 1)])
    return sketch


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | texts, min_size=1, max_size=5),
    st.integers(1, 6),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_signatures_are_datasketchs_bit_for_bit(documents: list[str | None], ngram: int, width: int, seed: int) -> None:
    chosen = MinHashSettings(bands=1, rows=width, ngram=ngram, seed=seed, unit="words")
    text = pa.array(documents, pa.large_string())
    found = signatures(text, chosen)
    assert found.values.dtype == np.uint32
    for row, document in enumerate(comparable(text).to_pylist()):
        assert np.array_equal(found.values[row], oracle(document, chosen).hashvalues)
        assert found.valid[row] == (len((document or "").split()) >= ngram)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1])
@pytest.mark.parametrize("count", [1, 112, 9000])
def test_permutations_are_those_that_datasketch_draws(seed: int, count: int) -> None:
    assert np.array_equal(permutations(seed, count), datasketch.MinHash(count, seed=seed).permutations)


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=1, max_size=6), st.integers(0, 6))
def test_neighbours_splits_and_slices_change_nothing(documents: list[str], cut: int) -> None:
    chosen = MinHashSettings(ngram=2)
    text = pa.array(documents, pa.large_string())
    together = signatures(text, chosen)
    parts = [signatures(part, chosen) for part in (text.slice(0, cut), text.slice(cut))]
    assert np.array_equal(np.concatenate([part.values for part in parts]), together.values)
    assert np.array_equal(np.concatenate([part.valid for part in parts]), together.valid)


def test_signatures_never_change() -> None:
    # finished runs are compared with new ones
    found = signatures(pa.array(["The quick brown fox jumps over the lazy dog."]), MinHashSettings())
    assert found.values[0, :3].tolist() == [831573721, 1460054315, 563032649]
    assert band_keys(found.values, MinHashSettings())[0, :2].tolist() == [15656657243751330459, 4164541341482435895]


@pytest.mark.parametrize("document", [None, "", " \n", "one two three four", "... !!! ???"])
def test_empty_and_short_texts_have_no_signature(document: str | None) -> None:
    found = signatures(pa.array([document], pa.large_string()), MinHashSettings())
    assert not found.valid[0]
    assert np.all(found.values == EMPTY)


def near_copies(count: int) -> pa.Array:
    """Families of texts whose members differ in 0 to 12 of 120 words."""
    generator = random.Random(7)
    documents = []
    for family in range(count):
        words = [f"w{generator.randrange(10**6)}x{family}" for _ in range(120)]
        for changes in range(0, 13, 2):
            copy = list(words)
            for place in generator.sample(range(120), changes):
                copy[place] = f"v{generator.randrange(10**6)}"
            documents.append(" ".join(copy))
    return pa.array([*documents, "", "too short"], pa.large_string())


@pytest.mark.parametrize(
    "chosen", [MinHashSettings(), MinHashSettings(bands=9, rows=13), MinHashSettings(bands=40, rows=2, seed=5)]
)
def test_candidates_are_those_of_datasketchs_index(chosen: MinHashSettings) -> None:
    text = near_copies(12)
    found = signatures(text, chosen)
    keys = band_keys(found.values, chosen)
    rows = np.flatnonzero(found.valid)
    ours = {(int(a), int(b)) for a, b in itertools.combinations(rows.tolist(), 2) if bool((keys[a] == keys[b]).any())}
    index = datasketch.MinHashLSH(num_perm=chosen.permutations, params=(chosen.bands, chosen.rows))
    sketches = {row: oracle(comparable(text)[row].as_py(), chosen) for row in rows.tolist()}
    for row, sketch in sketches.items():
        index.insert(row, sketch)
    theirs = {(row, other) for row, sketch in sketches.items() for other in index.query(sketch) if row < other}
    assert ours == theirs
    assert ours


def test_keys_are_equal_where_bands_are_and_differ_between_bands() -> None:
    chosen = MinHashSettings(bands=3, rows=2, permutations=7)
    values = np.array([[1, 2, 1, 2, 1, 2, 9], [1, 2, 2, 1, 1, 2, 8], [0, 0, 0, 0, 0, 0, 0]], dtype=np.uint32)
    keys = band_keys(values, chosen)
    assert keys.shape == (3, 3)
    assert (keys[0] == keys[1]).tolist() == [True, False, True]
    assert len(np.unique(keys)) == 3 * 3 - 2
    with pytest.raises(ValueError, match="too short"):
        band_keys(values[:, :5], chosen)


def test_a_stored_row_is_a_datasketch_sketch() -> None:
    chosen = MinHashSettings(unit="words")
    text = pa.array(["one two three four five six seven", "one two three four five six eight"])
    left, right = (to_datasketch(row, chosen) for row in signatures(text, chosen).values)
    assert left.jaccard(right) == pytest.approx(0.5, abs=0.2)
    left.update(("three", "four", "five", "six", "eight"))
    right.update(("three", "four", "five", "six", "seven"))
    assert left == right


# Probabilities at a similarity of 0.7, 0.8 and 0.9 as published for these settings
@pytest.mark.parametrize(
    ("given_settings", "expected"),
    [
        ({"preset": "fineweb"}, (0.565, 0.924, 1.0)),
        ({"preset": "refinedweb"}, (0.302, 0.995, 1.0)),
        ({"preset": "dclm"}, (0.358, 0.964, 1.0)),
        ({"bands": 14, "rows": 9}, (0.44, 0.87, 1.0)),
        ({"bands": 9, "rows": 13}, (0.08, 0.40, 0.93)),
    ],
)
def test_detection_curves_are_the_published_ones(given_settings: dict[str, object], expected: tuple[float]) -> None:
    curve = detection_curve(MinHashSettings.model_validate(given_settings), (0.7, 0.8, 0.9))
    assert tuple(curve.values()) == pytest.approx(expected, abs=0.005)


def test_a_curve_rises_to_certainty() -> None:
    curve = detection_curve(MinHashSettings())
    assert list(curve) == sorted(curve)
    assert list(curve.values()) == sorted(curve.values())
    assert curve[1.0] == 1.0


def test_shapes_for_a_threshold_are_those_of_datasketchs_optimizer() -> None:
    # the shapes of RedPajama-V2
    assert optimal_shape(0.8, 128) == (9, 13)
    assert optimal_shape(0.9, 128) == (5, 25)
    chosen = MinHashSettings(permutations=128, threshold=0.9)
    assert (chosen.bands, chosen.rows, chosen.permutations) == (5, 25, 128)
    with pytest.raises(ValueError, match="give bands and rows"):
        optimal_shape(0.8, 513)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_is_a_shape(preset: str) -> None:
    chosen = MinHashSettings.model_validate({"preset": preset})
    assert (chosen.bands, chosen.rows) == PRESETS[preset]
    assert chosen.permutations == chosen.bands * chosen.rows


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"preset": "dclm"},
        {"bands": 20, "rows": 5},
        {"permutations": 64},
        {"permutations": 200, "bands": 9, "rows": 9},
    ],
)
def test_settings_written_out_are_the_same_settings(written: dict[str, object]) -> None:
    chosen = MinHashSettings.model_validate(written)
    assert MinHashSettings.model_validate(chosen.model_dump(exclude_none=True)) == chosen
    assert MinHashSettings.model_validate(chosen.model_dump()) == chosen


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"bands": 20}, "bands and rows belong together"),
        ({"preset": "dclm", "bands": 14, "rows": 8}, "93 bands of 15 rows, not 14 of 8"),
        ({"bands": 4, "rows": 3, "permutations": 11}, "need 12 permutations, not 11"),
        ({"bands": "4", "rows": 3}, "valid integer"),
        ({"permutations": "many"}, "valid integer"),
        ({"permutations": 0}, "greater than or equal to 1"),
        ({"permutations": 128, "threshold": 1.5}, "less than or equal to 1"),
        ({"preset": "c4"}, "'fineweb', 'refinedweb' or 'dclm'"),
        ({"preset": ["dclm"]}, "'fineweb', 'refinedweb' or 'dclm'"),
        ({"bands": 300, "rows": 300}, "65536"),
        ({"threshold": 0.0}, "greater than 0"),
        ({"unit": "tokens"}, "'words', 'characters', 'auto' or 'code'"),
        ({"ngrams": 5}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(written: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MinHashSettings.model_validate(written)


def test_one_permutation_is_one_band_of_one_row() -> None:
    settings = MinHashSettings(permutations=1)
    assert (settings.bands, settings.rows) == (1, 1)
