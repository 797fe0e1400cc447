"""Settings of line dedup: presets say what the sources say, and what excludes itself is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from curate.dedup.lines import PRESETS, LinesSettings, Scheme, SpansSettings
from curate.dedup.substring import SubstringSettings


def test_without_a_preset_it_is_llama_3s() -> None:
    settings = LinesSettings()
    assert settings.scheme() == LinesSettings(preset="llama3").scheme()
    assert (settings.max_count, settings.count, settings.keep) == (6, "occurrences", "none")
    assert (settings.scope, settings.bucket_documents) == ("global", 30_000_000)


def test_ccnet_counts_documents_and_empty_lines_and_keeps_none() -> None:
    scheme = LinesSettings(preset="ccnet").scheme()
    assert scheme == Scheme("lines", 1, "ccnet", "documents", 1, "none", True, "global", "all", 1)
    assert scheme.once_a_document


def test_c4_keeps_one_copy_and_blank_lines_and_documents_of_three_sentences() -> None:
    scheme = LinesSettings(preset="c4").scheme()
    assert scheme == Scheme("lines", 1, "lower", "occurrences", 1, "first", False, "global", "all", 1, 0, 3)


def test_spans_are_three_sentences_with_the_bounds_of_datatrove() -> None:
    scheme = SpansSettings().scheme()
    assert (scheme.unit, scheme.span, scheme.keep, scheme.max_count) == ("sentences", 3, "first", 1)
    assert (scheme.min_words, scheme.min_sentences) == (50, 3)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_keys_beside_a_preset_change_it_and_written_out_it_loads_again(preset: Any) -> None:
    changed = LinesSettings(preset=preset, scope="language", bucket_documents=10)
    assert LinesSettings.model_validate(changed.model_dump()) == changed
    as_published = LinesSettings(preset=preset)
    assert LinesSettings.model_validate(as_published.model_dump()) == as_published
    bucket = as_published.bucket_documents
    assert changed.scheme()._replace(scope="global", bucket_documents=bucket) == as_published.scheme()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"preset": "ccnet", "keep": "first"}, 'keep = "first" goes with count = "occurrences"'),
        ({"keep": "first"}, 'keep = "first" goes with max_count = 1, not 6'),
        ({"preset": "c5"}, "'ccnet', 'llama3' or 'c4'"),
        ({"max_count": 0}, "greater than or equal to 1"),
        ({"bucket_documents": 0}, "greater than or equal to 1"),
        ({"bucket_documents": "some"}, "'all'"),
        ({"normalise": "none"}, "'strip', 'lower', 'ccnet' or 'comparable'"),
        ({"min_length": 3}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        LinesSettings.model_validate(given)


@pytest.mark.parametrize(("length", "good"), [(15, False), (16, True), (1 << 16, True), ((1 << 16) + 1, False)])
def test_passages_have_16_bytes_to_64_kib(length: int, good: bool) -> None:
    if good:
        assert SubstringSettings(length_bytes=length).length_bytes == length
        return
    with pytest.raises(ValidationError):
        SubstringSettings(length_bytes=length)
