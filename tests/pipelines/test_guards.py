"""Dedup that takes too much stops the run, says what it took, and goes on only when it is told to."""

from __future__ import annotations

import json
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from curate.engine.tasks import Receipt
from curate.errors import AlarmError, RecipeError
from curate.pipelines.guards import _bucket, check_alarm, largest_clusters, losses
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, Summary, run
from curate.pipelines.settings import NO_ALARM, AlarmSettings

WORDS = "quick brown foxes jump over lazy dogs while cold rivers carry water past old mills"
Start = Callable[..., Summary]


def page(number: int) -> str:
    rng = np.random.default_rng(number)
    return " ".join(rng.choice(WORDS.split(), 30)) + "."


def write(path: pathlib.Path, texts: list[str]) -> None:
    lines = [json.dumps({"id": f"{path.stem}-{n}", "text": text}) for n, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Start:
    """Return a function that runs a recipe over two sources: of `books` 19 of 20 documents are one template, of `web`
    5 of 20 are copies of another page."""
    write(tmp_path / "books.jsonl", [page(0)] * 20)
    write(tmp_path / "web.jsonl", [*map(page, range(1, 16)), *[page(1)] * 5])
    (tmp_path / "two.toml").write_text(
        'name = "two"\nsteps = ["exact"]\n[[sources]]\nname = "books"\ninput = "books.jsonl"\n'
        '[[sources]]\nname = "web"\ninput = "web.jsonl"\n'
        "[dedup.exact.alarm]\nmin_documents = 20\n"
        "[tokenizer.train]\nvocab_size = 300\n[shards]\ncontext_length = 64\n"
    )

    def go(*overrides: str, folder: str = "run") -> Summary:
        recipe = load_recipe(str(tmp_path / "two.toml"), overrides)
        return run(recipe, str(tmp_path / folder), Options(executor="inline"))

    return go


def test_a_source_that_loses_too_much_stops_the_run_with_its_figures(start: Start, tmp_path: pathlib.Path) -> None:
    with pytest.raises(AlarmError) as caught:
        start()
    message = str(caught.value)
    assert caught.value.step == "exact"
    assert "source books: 19 of 20 documents would go (95.00%); max_lost_share_per_source = 0.9" in message
    assert "web" not in message
    assert "--allow-loss exact" in message
    assert not (tmp_path / "run" / "shards" / "manifest.json").exists()


def test_a_run_that_was_stopped_goes_on_with_the_override_and_does_nothing_twice(
    start: Start, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(AlarmError):
        start()
    with pytest.raises(AlarmError):
        start()
    resumed = start("dedup.exact.alarm=off")
    assert set(resumed.executed) == {
        "tokenizer.count",
        "tokenizer.sum",
        "tokenizer",
        "tokenize",
        "tally",
        "shuffle",
        "pack",
    }
    whole = start("dedup.exact.alarm=off", folder="whole")
    assert resumed.fingerprint == whole.fingerprint
    other = start("dedup.exact.alarm.max_lost_share_per_source=0.95", folder="whole")
    assert other.fingerprint == whole.fingerprint, "an alarm shapes no bytes"
    assert not other.executed


@pytest.mark.parametrize(
    ("bounds", "stops"),
    [
        ("{max_lost_share_per_source = 0.95, min_documents = 20}", False),
        ("{max_lost_share_per_source = 0.9499, min_documents = 20}", True),
        ("{max_lost_share_per_source = 0.1, min_documents = 21}", False),
        ("{max_cluster_size = 20}", False),
        ("{max_cluster_size = 19}", True),
        ("{}", False),
    ],
)
def test_each_bound_holds_just_inside_and_breaks_just_outside(start: Start, bounds: str, stops: bool) -> None:
    if stops:
        with pytest.raises(AlarmError):
            start(f"dedup.exact.alarm={bounds}", "dedup.id.alarm=off")
    else:
        assert start(f"dedup.exact.alarm={bounds}").fingerprint


def test_the_step_that_every_run_begins_with_has_an_alarm_too(tmp_path: pathlib.Path) -> None:
    rows = [json.dumps({"id": "the same", "text": page(n)}) for n in range(1000)]
    (tmp_path / "keys.jsonl").write_text("\n".join(rows))
    (tmp_path / "keys.toml").write_text(
        'name = "keys"\n[[sources]]\nname = "web"\ninput = "keys.jsonl"\n[read.columns]\nid = "id"\n'
    )
    recipe = str(tmp_path / "keys.toml")
    with pytest.raises(AlarmError, match="source web: 999 of 1,000 documents"):
        run(load_recipe(recipe), str(tmp_path / "run"), Options(executor="inline"))
    told = load_recipe(recipe, ["dedup.id.alarm=off"])
    assert load_recipe_text(told.resolved_toml(), tmp_path).dedup == told.dedup
    run(told, str(tmp_path / "run"), Options(executor="inline"))


def load_recipe_text(text: str, folder: pathlib.Path) -> Any:
    path = folder / "again.toml"
    path.write_text(text)
    return load_recipe(str(path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dedup.exact.alarm=1", "is a table"),
        ("dedup.exact.alarm.max_lost_share_per_source=1.5", "less than or equal to 1"),
        ("dedup.exact.alarm.max_lost=0.5", "unknown key"),
        ("dedup.minhash.alarm=off", "no step of this name"),
        ("dedup.id.normalise=none", "unknown key"),
    ],
)
def test_a_wrong_alarm_is_told_before_any_work(start: Start, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        start(override)


def receipt(stats: dict[str, int], largest: list[list[Any]] | None = None) -> Receipt:
    return Receipt("key", "duplicates.apply", "part", {}, {}, stats, {"largest": largest or []}, (), {})


def told(stats: dict[str, int], **bounds: Any) -> list[str]:
    try:
        check_alarm("minhash", [receipt(stats)], AlarmSettings(**bounds), "runs/one")
    except AlarmError as error:
        return list(error.broken)
    return []


def test_the_defaults_catch_a_source_of_859092_documents_that_is_left_with_2() -> None:
    stats = {"before|tools|en|documents": 859_092, "removed|tools|en|documents": 859_090}
    assert told(stats) == [
        f"{by}: 859,090 of 859,092 documents would go (100.00%); max_lost_share_per_{by.split()[0]} = 0.9"
        for by in ("source tools", "language en")
    ]


def test_a_language_that_was_not_measured_is_none_and_a_small_one_is_not_judged() -> None:
    stats = {"before|a|unknown|documents": 2000, "removed|a|unknown|documents": 1990}
    stats |= {"before|b|unknown|documents": 100_000, "before|b|fr|documents": 999, "removed|b|fr|documents": 999}
    assert [line.partition(":")[0] for line in told(stats)] == ["source a"]
    assert [line.partition(":")[0] for line in told(stats, min_documents=999)] == ["source a", "language fr"]


def test_the_largest_of_many_clusters_are_told_and_no_number_is_made_up() -> None:
    with pytest.raises(AlarmError) as stopped:
        check_alarm("exact", [receipt({}, [[200_000, f"{n:02}"] for n in range(30)])], AlarmSettings(), "run")
    assert stopped.value.broken[0] == "the cluster of 00: 200,000 documents; max_cluster_size = 100,000"
    assert stopped.value.broken[-1] == "and at least 10 more"


def test_nothing_exceeds_an_alarm_that_is_off() -> None:
    stats = {"before|a|en|documents": 10**15, "removed|a|en|documents": 10**15}
    check_alarm("exact", [receipt(stats, [[10**15, "00"]])], NO_ALARM, "run")


def test_counts_of_receipts_add_up_in_any_order() -> None:
    one = receipt({"before|a|en|documents": 5, "removed|a|en|documents": 1, "before|a|en|bytes": 50}, [[4, "bb"]])
    other = receipt({"before|a|de|documents": 3, "removed|a|de|bytes": 9, "before|b|de|documents": 1}, [[4, "aa"]])
    for receipts in ([one, other], [other, one]):
        assert [tuple(loss) for loss in losses(receipts, "source")] == [("a", 8, 1, 50, 9), ("b", 1, 0, 0, 0)]
        assert [loss.name for loss in losses(receipts, "language")] == ["en", "de"]
        assert largest_clusters(receipts, 20) == [(4, "aa"), (4, "bb")]


def test_an_alarm_lists_ten_bounds_and_counts_the_rest_and_travels_between_processes() -> None:
    stats = {f"{kind}|s{n}|unknown|documents": 1000 for n in range(13) for kind in ("before", "removed")}
    lines = told(stats)
    assert len(lines) == 11
    assert lines[-1] == "and 3 more"
    error = AlarmError("exact", lines, "run", ("lines",))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_sizes_fall_into_powers_of_two() -> None:
    sizes = np.array([1, 2, 3, 4, 7, 8, 2**40 - 1, 2**40])
    assert _bucket(sizes).tolist() == [0, 1, 1, 2, 2, 3, 39, 40]
