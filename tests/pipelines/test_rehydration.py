"""Kept documents are seen as often as the sizes of their clusters say, within quotas and epochs, to the same bytes."""

from __future__ import annotations

import json
import pathlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError, TaskError
from curate.pipelines.mixing import copies_of, draw, plan_mix, selection_keys, token_histogram
from curate.pipelines.recipe import load_recipe
from curate.pipelines.rehydration import repeats_of
from curate.pipelines.run import Options, Summary, run
from curate.pipelines.settings import FINEWEB2_REPEATS, RehydrateSettings
from curate.shards.reader import ShardSet

RECIPE = """
name = "wet"
steps = ["exact", "minhash"]
[[sources]]
name = "a"
input = "a.jsonl"
[[sources]]
name = "b"
input = "b.jsonl"
[read.columns]
id = "id"
[dedup.exact.alarm]
max_cluster_size = 5000
[tokenizer.train]
vocab_size = 300
[shards]
layout = "documents"
[mix.rehydrate]
"""
COPIES = {"a": [1, 2, 3, 4, 5, 7, 1, 1], "b": [1] * 10 + [2] * 10}
"""How many near-copies each page of a source has, itself included."""


def text(number: int, copy: int) -> str:
    rng = random.Random(number)
    words = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(120)]
    return " ".join([*words, "end" * (copy + 1)])


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Callable[..., Summary]:
    """Return a function that runs the recipe: every near-copy stands there twice, which `exact` removes first."""
    number = 0
    for source, counts in COPIES.items():
        lines = []
        for count in counts:
            number += 1
            for copy in range(count):
                row = {"text": text(number, copy)}
                lines += [json.dumps(row | {"id": f"{number}-{copy}-{twin}"}) for twin in range(2)]
        (tmp_path / f"{source}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "wet.toml").write_text(RECIPE)

    def go(*overrides: str, folder: str = "run") -> Summary:
        recipe = load_recipe(str(tmp_path / "wet.toml"), overrides)
        return run(recipe, str(tmp_path / folder), Options(executor="inline"))

    return go


def seen(folder: pathlib.Path) -> Counter[str]:
    """Return how often the shards hold each document."""
    shards = ShardSet.open(str(folder / "shards"))
    return Counter(shards.row(number).doc_ids[0].hex() for number in range(len(shards)))


def manifest(folder: pathlib.Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "shards" / "manifest.json").read_text())
    return found


def test_documents_are_repeated_by_the_clusters_of_the_step_and_no_other(
    start: Callable[..., Summary], tmp_path: pathlib.Path
) -> None:
    start()
    # sizes 1 2 3 4 5 7 become 1 2 3 3 5 5; the twins that `exact` removed count for nothing
    assert sorted(seen(tmp_path / "run").values()) == sorted([1, 2, 3, 3, 5, 5, 1, 1] + [1] * 10 + [2] * 10)
    assert manifest(tmp_path / "run")["repeats"] == {
        "a": {
            "1": {"documents": 3, "drawn": 3},
            "2": {"documents": 1, "drawn": 2},
            "3": {"documents": 2, "drawn": 6},
            "5": {"documents": 2, "drawn": 10},
        },
        "b": {"1": {"documents": 10, "drawn": 10}, "2": {"documents": 10, "drawn": 20}},
    }
    assert manifest(tmp_path / "run")["mix"]["a"]["documents"] == 21


def test_clusters_of_another_step_and_a_table_of_ones_own(
    start: Callable[..., Summary], tmp_path: pathlib.Path
) -> None:
    start("mix.rehydrate.step=exact", "mix.rehydrate.repeats={2 = 4}")
    assert set(seen(tmp_path / "run").values()) == {4}, "every document had a twin"
    changed = start("mix.rehydrate.step=minhash", "mix.rehydrate.repeats={2 = 4, 7 = 1}")
    assert set(changed.executed) == {"shuffle", "pack"}
    assert Counter(seen(tmp_path / "run").values()) == {4: 4 + 10, 1: 4 + 10}


def test_quotas_and_epochs_count_repeated_tokens(start: Callable[..., Summary], tmp_path: pathlib.Path) -> None:
    start("mix.tokens=100000", "mix.weights={a = 0.25, b = 0.75}")
    mix = manifest(tmp_path / "run")["mix"]
    for name, wanted in (("a", 25_000), ("b", 75_000)):
        longest = 5 * 1000
        assert abs(mix[name]["tokens"] - wanted) < longest, "off by at most one document with its repeats"
    drawn = seen(tmp_path / "run")
    repeats = manifest(tmp_path / "run")["repeats"]
    assert sum(cell["drawn"] for found in repeats.values() for cell in found.values()) == sum(drawn.values())
    epochs = mix["b"]["epochs"]
    for often, cell in repeats["b"].items():
        assert abs(cell["drawn"] / (cell["documents"] * int(often)) - epochs) < 1


def test_a_run_that_broke_in_the_shuffle_goes_on_to_the_same_bytes(
    start: Callable[..., Summary], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start("mix.tokens=30000", folder="whole")
    calls = iter([None])

    def fails_at_the_second_part(*given: Any) -> Any:
        if next(calls, "over") == "over":
            raise ValueError("broken")
        return draw(*given)

    with monkeypatch.context() as patch:
        patch.setattr("curate.pipelines.mixing.draw", fails_at_the_second_part)
        with pytest.raises(TaskError, match="broken"):
            start("mix.tokens=30000")
    resumed = start("mix.tokens=30000")
    assert resumed.executed["shuffle"] == 1, "the first part was shuffled before"
    assert set(resumed.executed) == {"shuffle", "pack"}
    assert resumed.fingerprint == whole.fingerprint
    settings = manifest(tmp_path / "run")["settings"]["mix"]["rehydrate"]
    assert settings == {"step": "minhash", "repeats": dict(FINEWEB2_REPEATS)}


def test_without_it_every_document_is_seen_once_and_the_manifest_says_nothing_of_it(
    start: Callable[..., Summary], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "wet.toml").write_text(RECIPE.replace("[mix.rehydrate]\n", ""))
    start()
    assert set(seen(tmp_path / "run").values()) == {1}
    assert "repeats" not in manifest(tmp_path / "run")
    assert "rehydrate" not in manifest(tmp_path / "run")["settings"]["mix"]


def test_fineweb2_repeats_by_the_size_at_or_below() -> None:
    sizes = np.array([1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**12])
    assert repeats_of(sizes, FINEWEB2_REPEATS).tolist() == [1, 2, 3, 3, 5, 5, 8, 8, 1, 1]
    assert repeats_of(sizes, {"10": 2}).tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert repeats_of(sizes, {}).tolist() == [1] * 10


@pytest.mark.parametrize("share", [0.2, 1.0, 2.45])
def test_a_fraction_of_an_epoch_is_one_of_repeated_tokens(share: float) -> None:
    rng = np.random.default_rng(3)
    ids = pa.array([rng.bytes(16) for _ in range(20_000)], pa.binary(16))
    tokens, repeats = rng.integers(1, 500, len(ids)), rng.integers(1, 9, len(ids))
    keys = selection_keys(ids, 1)
    total = int((tokens * repeats).sum())
    plan = plan_mix({"a": token_histogram(keys, tokens * repeats)}, tokens=round(total * share), seed=1)
    rows, copies = draw(ids, np.zeros(len(ids), dtype=np.uint16), ["a"], plan, repeats)
    assert abs(int(tokens[rows].sum()) - share * total) < total / 2000
    counts = np.bincount(rows, minlength=len(ids))
    assert (counts == copies_of(keys, plan.quotas["a"]) * repeats).all()
    assert len({*zip(rows.tolist(), copies.tolist(), strict=True)}) == len(rows), "each copy has a number of its own"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mix.rehydrate.step=url", "no dedup step that finds clusters is called 'url'; steps: exact, minhash"),
        ("mix.rehydrate.repeats={0 = 2}", "'0' is no size"),
        ("mix.rehydrate.repeats={02 = 2}", "'02' is no size"),
        ("mix.rehydrate.repeats={two = 2}", "'two' is no size"),
        ("mix.rehydrate.repeats={2 = 0}", "1 to 100 times"),
        ("mix.rehydrate.repeats={2 = 101}", "1 to 100 times"),
        ("mix.rehydrate.repeats={2 = 1.5}", "whole number"),
    ],
)
def test_mistakes_are_told_before_any_work(start: Callable[..., Summary], override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        start(override)


def test_a_step_that_cuts_has_no_clusters_to_repeat_by(start: Callable[..., Summary]) -> None:
    with pytest.raises(RecipeError, match="finds clusters is called 'lines'; steps: minhash"):
        start("mix.rehydrate.step=lines", 'steps=["minhash", "lines"]')


def test_a_mistake_in_the_step_itself_is_told_once(start: Callable[..., Summary]) -> None:
    with pytest.raises(RecipeError) as told:
        start("dedup.minhash.threshold=2")
    assert len(told.value.mistakes) == 1


def test_a_table_is_in_order_whatever_order_it_was_written_in() -> None:
    settings = RehydrateSettings(repeats={"100": 8, "5": 5, "20": 2})
    assert list(settings.repeats) == ["5", "20", "100"]
