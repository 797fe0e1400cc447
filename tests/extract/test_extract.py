"""Pages to text: engines, limits and errors."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import InputError, RecipeError
from curate.extract import ENGINES, LIBRARIES, ExtractSettings, engines, extract

SETTINGS = ExtractSettings()
SENTENCE = "The harbour was quiet in the morning, and the boats lay still between the long stone piers. "
ARTICLE = (
    "<!DOCTYPE html><html><head><title>Boats</title><script>var x = '<p>no</p>';</script></head><body>"
    "<nav><ul><li><a href=/>Home</a></li><li><a href=/news>News</a></li></ul></nav>"
    f"<div><div><main><article><h1>Boats</h1><p>{SENTENCE * 4}</p><p>Second. {SENTENCE * 3}</p>"
    f"<ul><li>First item. {SENTENCE}</li><li>Another item. {SENTENCE}</li></ul>"
    f"<p>{SENTENCE}</p></article></main></div></div>"
    "<footer>Imprint Privacy Cookies</footer></body></html>"
)


def kind_of(body: bytes, mime: str = "text/html", limits: ExtractSettings = SETTINGS) -> str:
    with pytest.raises(InputError) as caught:
        extract(body, mime, None, limits)
    return caught.value.kind


@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
def test_main_text_keeps_its_paragraphs_and_loses_what_is_around_it(engine: str) -> None:
    pytest.importorskip(engine)
    text = extract(ARTICLE.encode(), "text/html", "utf-8", ExtractSettings(engine=engine))
    lines = [line for line in text.split("\n") if line.strip()]
    assert any(line.startswith("The harbour") for line in lines)
    assert any(line.startswith("Second.") for line in lines)
    assert any("First item." in line and "Another item." not in line for line in lines)
    assert "Imprint" not in text
    assert "Home" not in text
    assert "var x" not in text


def test_a_short_page_whose_main_content_is_missed_gives_all_its_text() -> None:
    page = "<html><body><header>" + f"<p>{SENTENCE}</p>" * 20 + "</header></body></html>"
    assert SENTENCE.strip() in extract(page.encode(), "text/html", None, SETTINGS)


def test_plain_text_is_passed_through_decoded() -> None:
    body = "  Grüße\r\naus <b>Wien</b>\r\0\n".encode("cp1252")
    assert extract(body, "text/plain", "iso-8859-1", SETTINGS) == "Grüße\naus <b>Wien</b>"


def test_a_page_without_text_is_named_empty() -> None:
    for body in (b"", b"<html><body></body></html>", b"\0\0\0", b"<!-- only -->", b"<script>x</script>"):
        assert kind_of(body) == "empty"
    assert kind_of(b" \n ", "text/plain") == "empty"


def test_a_page_exactly_at_the_byte_limit_passes_and_one_more_byte_does_not() -> None:
    body = ARTICLE.encode()
    assert extract(body, "text/html", None, ExtractSettings(max_html_bytes=len(body)))
    assert kind_of(body, limits=ExtractSettings(max_html_bytes=len(body) - 1)) == "html_too_large"


@pytest.mark.parametrize("opening", ["<div>", "<b>", "<svg><g>", "<table><tr><td>", "<div></nothing>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_page_too_deep_is_refused_before_the_parser_in_any_encoding(opening: str, encoding: str) -> None:
    body = (opening * 100_000 + "x").encode(encoding)
    start = time.process_time()
    assert kind_of(body) == "html_too_deep"
    assert time.process_time() - start < 5


def test_markup_that_only_decoding_reveals_is_counted() -> None:
    # in Shift-JIS the second byte of a pair may look like markup, so that raw bytes would hide what follows
    body = b"<meta charset=shift_jis><i title='" + b"\x83\x27'>" + b"<div>" * 100_000
    assert kind_of(body) == "html_too_deep"


def test_a_page_of_too_many_elements_is_refused_and_text_is_counted_in_bytes() -> None:
    body = b"<p>" * 101 + b"x"
    assert kind_of(body, limits=ExtractSettings(max_html_elements=100)) == "html_too_many_elements"
    assert extract(body, "text/html", None, ExtractSettings(max_html_elements=101)) == "x"
    word = "\u00fc" * 10
    assert kind_of(word.encode(), "text/plain", ExtractSettings(max_text_bytes=19)) == "text_too_large"
    assert extract(word.encode(), "text/plain", "utf-8", ExtractSettings(max_text_bytes=20)) == word


def test_an_engine_that_fails_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(html: str) -> str:
        raise ValueError("what the page says")

    monkeypatch.setitem(ENGINES, "resiliparse", broken)
    with pytest.raises(InputError, match="resiliparse failed with ValueError") as caught:
        extract(b"<p>x", "text/html", None, SETTINGS)
    assert caught.value.kind == "extract"
    assert "page says" not in str(caught.value)


def test_a_missing_extra_and_an_unknown_engine_are_mistakes_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    engines._trafilatura.cache_clear()
    with pytest.raises(RecipeError, match=r"curate-llm\[trafilatura\]"):
        extract(b"<p>x", "text/html", None, ExtractSettings(engine="trafilatura"))
    engines._trafilatura.cache_clear()
    with pytest.raises(RecipeError, match="not one of resiliparse, trafilatura"):
        extract(b"<p>x", "text/html", None, ExtractSettings(engine="magic"))


def test_every_engine_names_the_libraries_that_shape_its_output() -> None:
    assert set(ENGINES) == set(LIBRARIES)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=400), st.sampled_from(["text/html", "text/plain"]))
def test_any_body_gives_clean_text_or_a_named_error(body: bytes, mime: str) -> None:
    try:
        text = extract(body, mime, None, SETTINGS)
    except InputError:
        return
    assert text
    assert "\0" not in text
    text.encode()
