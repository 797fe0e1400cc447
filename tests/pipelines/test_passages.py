"""The step that cuts repeated passages, from end to end, also where anchors collide or memory is short."""

from __future__ import annotations

import functools
import pathlib

import pyarrow as pa
import pytest
from cut_runs import SHARED, Dedup, dedup_in, texts_of
from plain_cuts import files_with_passages, passages_left

from curate.dedup.substring import Anchors, Passages, anchors
from curate.pipelines import substrings
from curate.report.run_folder import read_run


@pytest.fixture
def dedup(tmp_path: pathlib.Path) -> Dedup:
    return dedup_in(tmp_path)


def test_texts_of_different_scopes_are_apart_even_where_anchors_collide(
    dedup: Dedup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substrings, "anchors", lambda *given: anchors(*given)._replace(key=anchors(*given).key * 0))
    files = [{"a": f"A. {SHARED}"}, {"b": f"B. {SHARED}", "c": f"C. {SHARED}"}]
    found = dedup(files, "substring", 'length_bytes = 60\nscope = "source"')
    assert [SHARED in found[name].text for name in "abc"].count(True) == 2
    assert SHARED in found["a"].text


def test_one_text_of_one_character_is_cut_in_bounded_memory(dedup: Dedup) -> None:
    texts = {"run": "=" * 2_000_000, "other": "-" * 100 + "=" * 150 + "+" * 100}
    found = dedup([{"run": texts["run"]}, {"other": texts["other"]}], "substring", "length_bytes = 100")
    assert texts_of(found) == {"run": "=" * 100, "other": "-" * 100 + "+" * 100}


def test_passages_that_are_left_are_what_the_definition_leaves(dedup: Dedup, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_with_passages(1)
    expected = passages_left(files, 40)
    assert any(expected.get(name, "") != text for texts in files for name, text in texts.items())
    found = dedup(files, "substring", "length_bytes = 40")
    assert texts_of(found) == expected
    small = "unit_bytes = 4_096\npartition_bytes = 3_000\nroll_bytes = 700"
    assert dedup(files, "substring", "length_bytes = 40", engine=small, read="batch_bytes = 500") == found
    # with memory for a few passages the rest waits in files
    monkeypatch.setattr(substrings, "Passages", functools.partial(Passages, passages=16, store_bytes=200))
    assert dedup(files, "substring", "length_bytes = 40") == found
    assert dedup(files, "substring", "length_bytes = 40", engine=small) == found
    monkeypatch.undo()
    # anchors that collide are compared, not believed
    monkeypatch.setattr(substrings, "anchors", lambda *given: anchors(*given)._replace(key=anchors(*given).key * 0))
    assert dedup(files, "substring", "length_bytes = 40") == found


def test_a_key_that_all_passages_share_is_told_apart_by_longer_anchors(
    dedup: Dedup, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    files = files_with_passages(4)
    expected = dedup(files, "substring", "length_bytes = 40")

    def collide(text: pa.Array, size: int, gram: int | None = None) -> Anchors:
        found = anchors(text, size, gram)
        return found if gram else found._replace(key=found.key * 0)

    monkeypatch.setattr(substrings, "anchors", collide)
    # a hundredth of the passages at once: without longer anchors it would take as many rounds
    monkeypatch.setattr(substrings, "Passages", functools.partial(Passages, passages=64, store_bytes=2_000))
    assert dedup(files, "substring", "length_bytes = 40") == expected
    (phase,) = read_run(str(tmp_path / "run-1")).of_stage("substring.compare")
    assert max(receipt.stats["rounds"] for receipt in phase.done) <= 3


@pytest.mark.parametrize("scope", ["global", "source"])
@pytest.mark.parametrize("seed", [2, 3])
def test_passages_of_long_characters_are_cut_as_the_definition_says(dedup: Dedup, seed: int, scope: str) -> None:
    files = files_with_passages(seed, "aéж中\U0001f642")
    settings = f'length_bytes = 40\nscope = "{scope}"'
    expected = passages_left(files, 40, by_source=scope == "source")
    assert any(expected.get(name, "") != text for texts in files for name, text in texts.items())
    assert texts_of(dedup(files, "substring", settings)) == expected
