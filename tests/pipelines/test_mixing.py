from __future__ import annotations

import hashlib
import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.exchange import partition_range
from curate.errors import RecipeError
from curate.pipelines.mixing import (
    BINS,
    MixPlan,
    copies_of,
    draw,
    merge_histograms,
    plan_mix,
    selection_keys,
    shuffle_keys,
    token_histogram,
)

B = 10**9
# LLaMA (2302.13971), Table 1: sampling proportion, epochs; unique tokens follow from both
LLAMA_TABLE_1 = {
    "commoncrawl": (0.67, 1.10, 853 * B),
    "c4": (0.15, 1.06, 198 * B),
    "github": (0.045, 0.64, 98 * B),
    "wikipedia": (0.045, 2.45, 257 * B // 10),
    "books": (0.045, 2.23, 283 * B // 10),
    "arxiv": (0.025, 1.06, 33 * B),
    "stackexchange": (0.02, 1.03, 272 * B // 10),
}


def make_ids(count: int, seed: int = 0) -> pa.Array:
    raw = np.random.default_rng(seed).bytes(16 * count)
    return pa.Array.from_buffers(pa.binary(16), count, [None, pa.py_buffer(raw)])


def spread(tokens: int) -> dict[int, int]:
    """A histogram of `tokens` spread evenly."""
    return {b: tokens // BINS + (b < tokens % BINS) for b in range(BINS)}


def test_the_planner_gives_the_epochs_of_llama_table_1() -> None:
    plan = plan_mix(
        {name: spread(unique) for name, (_, _, unique) in LLAMA_TABLE_1.items()},
        weights={name: weight for name, (weight, _, _) in LLAMA_TABLE_1.items()},
        tokens=1400 * B,
    )
    for name, (_, epochs, _) in LLAMA_TABLE_1.items():
        assert plan.quotas[name].epochs == pytest.approx(epochs, abs=0.01), name
    assert sum(quota.wanted_tokens for quota in plan.quotas.values()) == 1400 * B
    assert not plan.warnings


@pytest.mark.parametrize("share", [0.003, 0.1, 0.45, 0.97, 1.0, 2.45, 3.0])
def test_a_fractional_epoch_takes_the_right_share_of_tokens(share: float) -> None:
    ids = make_ids(30_000)
    tokens = np.random.default_rng(1).lognormal(6, 1.2, len(ids)).astype(np.int64) + 1
    keys = selection_keys(ids, 7)
    total = int(tokens.sum())
    plan = plan_mix({"a": token_histogram(keys, tokens)}, tokens=round(total * share), seed=7)
    drawn = int((copies_of(keys, plan.quotas["a"]) * tokens).sum())
    # off by at most the documents of one bin
    assert abs(drawn - total * share) <= 2 * total / BINS + tokens.max()


def test_without_weights_or_budget_every_document_is_seen_once() -> None:
    ids, sources = make_ids(1000), np.arange(1000) % 3
    keys = selection_keys(ids, 0)
    histograms = {name: token_histogram(keys[sources == i], np.full(int((sources == i).sum()), 7)) for i, name in
                  enumerate("abc")}  # fmt: skip
    rows, copies = draw(ids, sources, ["a", "b", "c"], plan_mix(histograms))
    assert rows.tolist() == list(range(1000))
    assert not copies.any()


def test_copies_are_numbered_from_zero() -> None:
    ids = make_ids(4)
    plan = plan_mix({"a": {0: 10}}, tokens=30)
    rows, copies = draw(ids, np.zeros(4, dtype=np.uint16), ["a"], plan)
    assert rows.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert copies.tolist() == [0, 1, 2] * 4


def test_a_source_of_weight_zero_gives_nothing() -> None:
    plan = plan_mix({"a": {0: 10}, "b": {}}, weights={"a": 1.0, "b": 0.0}, tokens=10)
    rows, _ = draw(make_ids(6), np.array([0, 1] * 3), ["a", "b"], plan)
    assert rows.tolist() == [0, 2, 4]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=4), st.integers(0, 2**40))
def test_any_split_gives_the_same_histogram_and_the_same_draw(cuts: list[int], seed: int) -> None:
    ids = make_ids(60, seed % 1000)
    tokens = np.arange(60) * 3
    whole = token_histogram(selection_keys(ids, seed), tokens)
    edges = [0, *sorted(cuts), 60]
    parts = [token_histogram(selection_keys(ids[a:b], seed), tokens[a:b]) for a, b in itertools.pairwise(edges)]
    assert merge_histograms(parts) == dict(sorted(whole.items()))
    assert merge_histograms(json.loads(json.dumps(parts))) == dict(sorted(whole.items()))
    assert sum(whole.values()) == tokens.sum()


def test_keys_depend_on_id_seed_and_copy_and_on_nothing_else() -> None:
    ids = make_ids(500)
    zero = np.zeros(500, dtype=np.int64)
    keys = [shuffle_keys(ids, zero, 1), shuffle_keys(ids, zero + 1, 1), shuffle_keys(ids, zero, 2)]
    assert len({tuple(row) for key in keys for row in key.tolist()}) == 1500
    order = np.random.default_rng(2).permutation(500)
    assert (shuffle_keys(ids.take(pa.array(order)), zero, 1) == keys[0][order]).all()
    assert not (selection_keys(ids, 1) == keys[0][:, 0]).any()


def plain_mix64(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def plain_hash(doc_id: bytes, purpose: str, seed: int) -> int:
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    k0, k1 = (int.from_bytes(digest[i : i + 8], "little") for i in (0, 8))
    w0, w1 = (int.from_bytes(doc_id[i : i + 8], "big") for i in (0, 8))
    return plain_mix64((plain_mix64(w0 ^ k0) + w1) % 2**64 ^ k1)


def test_keys_follow_their_plain_definition() -> None:
    doc_ids = [bytes(range(16)), b"\xff" * 16, bytes(16)]
    ids = pa.array(doc_ids, pa.binary(16))
    assert selection_keys(ids, 42).tolist() == [plain_hash(doc_id, "select", 42) for doc_id in doc_ids]
    copies = [0, 3, 1]
    expected = [
        [
            plain_mix64((plain_hash(doc_id, f"shuffle{half}", 42) + (copy + 1) * 0x9E3779B97F4A7C15) % 2**64)
            for half in (0, 1)
        ]
        for doc_id, copy in zip(doc_ids, copies, strict=True)
    ]
    assert shuffle_keys(ids, np.array(copies), 42).tolist() == expected
    assert f"{selection_keys(ids, 42)[0]:016x}" == "b1cee969d5b8ceeb"


def test_keys_are_spread_evenly_even_over_ids_that_are_not() -> None:
    ids = pa.array([i.to_bytes(16, "big") for i in range(20_000)], pa.binary(16))
    counts = np.bincount((selection_keys(ids, 3) >> np.uint64(60)).astype(int), minlength=16)
    assert abs(counts - 1250).max() < 200
    highs = shuffle_keys(ids, np.zeros(20_000), 3)[:, 0]
    ranges = [partition_range(partition, 7) for partition in range(7)]
    parts = np.array([((highs >= np.uint64(low)) & (highs <= np.uint64(high - 1))).sum() for low, high in ranges])
    assert parts.sum() == 20_000
    assert abs(parts - 20_000 / 7).max() < 300


def test_every_mistake_is_listed_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        plan_mix(
            {"web": {0: 5}, "code": {}, "books": {1: 2}},
            weights={"web": 0.5, "code": 0.3, "arxiv": 0.1, "books": float("nan")},
            tokens=0,
        )
    text = str(caught.value)
    for part in (
        "mix.tokens = 0",
        "arxiv: no such source",
        "code = 0.3: the source has no token",
        "books = nan",
        "sum to",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("total", "fine"), [(1.0 + 0.9e-6, True), (1.0 - 0.9e-6, True), (1.0 + 1.1e-6, False), (0.99, False)]
)
def test_weights_must_sum_to_one_within_a_millionth(total: float, fine: bool) -> None:
    weights = {"a": 0.5, "b": total - 0.5}
    if fine:
        assert plan_mix({"a": {0: 5}, "b": {0: 5}}, weights=weights)
    else:
        with pytest.raises(RecipeError, match="not to 1"):
            plan_mix({"a": {0: 5}, "b": {0: 5}}, weights=weights)


def test_a_source_without_a_weight_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="source b has no weight"):
        plan_mix({"a": {0: 5}, "b": {0: 5}}, weights={"a": 1.0})


def test_a_run_that_kept_nothing_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="no source has a token"):
        plan_mix({"a": {}})


def test_too_many_epochs_are_a_warning_with_a_way_out() -> None:
    plan = plan_mix({"a": {0: 100}, "b": {0: 1000}}, weights={"a": 0.5, "b": 0.5}, tokens=1000, max_epochs=4)
    assert len(plan.warnings) == 1
    assert "a: 5.00 epochs" in plan.warnings[0]
    assert "0.4" in plan.warnings[0]
    assert not plan_mix({"a": {0: 100}}, tokens=400, max_epochs=4).warnings


def test_a_plan_survives_json() -> None:
    plan = plan_mix({"a": spread(12_345), "b": {9: 4}}, weights={"a": 0.3, "b": 0.7}, tokens=999, seed=5, max_epochs=1)
    assert MixPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
