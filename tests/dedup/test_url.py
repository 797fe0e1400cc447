"""Canonical URLs, and which capture of a page stays."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.keys import MAX_PRIORITY
from curate.dedup.url import UrlSettings, canonical_url, url_keys
from curate.schema import DOCUMENT

DEFAULT = UrlSettings()
STRICT = UrlSettings(strip_www=False, sort_parameters=False, strip_trailing_slash=False, ignored_parameters=())

CASES = [
    ("http://example.com/a", "http://example.com/a"),
    ("https://example.com/a", "http://example.com/a"),
    ("HTTP://EXAMPLE.com/A", "http://example.com/A"),
    ("http://example.com", "http://example.com/"),
    ("http://example.com/", "http://example.com/"),
    ("http://example.com?", "http://example.com/"),
    ("http://example.com/a/", "http://example.com/a"),
    ("http://example.com/a//", "http://example.com/a"),
    ("http://example.com/a//b", "http://example.com/a//b"),
    ("http://www.example.com/", "http://example.com/"),
    ("http://www.www.example.com/", "http://example.com/"),
    ("http://www.com/", "http://www.com/"),
    ("http://wwwexample.com/", "http://wwwexample.com/"),
    ("http://example.com:80/a", "http://example.com/a"),
    ("https://example.com:443/a", "http://example.com/a"),
    ("http://example.com:/a", "http://example.com/a"),
    ("http://example.com:8080/a", "http://example.com:8080/a"),
    ("http://example.com:08080/a", "http://example.com:8080/a"),
    ("http://user:pass@example.com/a", "http://example.com/a"),
    ("http://a@b@example.com/a", "http://example.com/a"),
    ("http://example.com./a", "http://example.com/a"),
    ("http://www..example..com../a", "http://example.com/a"),
    ("http://example.com/a#part", "http://example.com/a"),
    ("http://example.com#part", "http://example.com/"),
    ("  http://example.com/a \n", "http://example.com/a"),
    ("http://exa\nmple.com/a\tb", "http://example.com/ab"),
    ("http:\\\\example.com\\a", "http://example.com/a"),
    ("//example.com/a", "http://example.com/a"),
    ("example.com/a", "http://example.com/a"),
    ("example.com:8080/a", "http://example.com:8080/a"),
    ("http://example.com/a/./b/../c", "http://example.com/a/c"),
    ("http://example.com/../../a", "http://example.com/a"),
    ("http://example.com/a/..", "http://example.com/"),
    ("http://example.com/%2e%2e/a", "http://example.com/a"),
    ("http://example.com/.well-known/x", "http://example.com/.well-known/x"),
    ("http://example.com/%7Euser/%41", "http://example.com/~user/A"),
    ("http://example.com/%c3%a9", "http://example.com/%C3%A9"),
    ("http://example.com/é", "http://example.com/%C3%A9"),
    ("http://example.com/a b", "http://example.com/a%20b"),
    ("http://example.com/100%", "http://example.com/100%25"),
    ("http://example.com/%2541", "http://example.com/%2541"),
    ("http://example.com/a%2Fb", "http://example.com/a%2Fb"),
    ("http://example.com/?b=2&a=1", "http://example.com/?a=1&b=2"),
    ("http://example.com/?a=2&a=1", "http://example.com/?a=2&a=1"),
    ("http://example.com/?a=1&&b=2&", "http://example.com/?a=1&b=2"),
    ("http://example.com/?a", "http://example.com/?a"),
    ("http://example.com/?a=", "http://example.com/?a="),
    ("http://example.com/?utm_source=x&id=7&utm_medium=y", "http://example.com/?id=7"),
    ("http://example.com/?UTM_Source=x", "http://example.com/"),
    ("http://example.com/?fbclid=1&gclid=2", "http://example.com/"),
    ("http://example.com/?%75tm_source=x", "http://example.com/"),
    ("http://example.com/?utmost=1", "http://example.com/?utmost=1"),
    ("http://example.com/?PHPSESSID=abc&p=1", "http://example.com/?p=1"),
    ("http://example.com/a;jsessionid=12AB?p=1", "http://example.com/a?p=1"),
    ("http://example.com/?u=http://other.org/?x=1", "http://example.com/?u=http://other.org/?x=1"),
    ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
    ("http://BÜCHER.example/a", "http://xn--bcher-kva.example/a"),
    ("http://xn--bcher-kva.example/a", "http://xn--bcher-kva.example/a"),
    ("http://b%C3%BCcher.example/a", "http://xn--bcher-kva.example/a"),
    ("http://例え.テスト/", "http://xn--r8jz45g.xn--zckzah/"),
    ("http://[2001:DB8::1]:80/a", "http://[2001:db8::1]/a"),
    ("http://192.168.0.1/a", "http://192.168.0.1/a"),
    ("ftp://Example.com/a#b", "ftp://Example.com/a"),
    ("urn:uuid:1234", "urn:uuid:1234"),
    ("not a url", "not a url"),
    ("", None),
    ("#top", None),
    ("http://", None),
    ("http:///", None),
    ("http://:80/", None),
]


@pytest.mark.parametrize(("url", "expected"), CASES)
def test_gives_the_canonical_url(url: str, expected: str | None) -> None:
    assert canonical_url(url, DEFAULT) == expected


def test_keeps_what_the_settings_do_not_ignore() -> None:
    url = "https://www.example.com/a/?b=2&a=1&utm_source=x"
    assert canonical_url(url, STRICT) == "http://www.example.com/a/?b=2&a=1&utm_source=x"


PIECES = [*"aéßİ℀。.:/\\%@[]?&=;#+ \x00\x85\u3000\ud800", "http", "https", "//", "www.", "B.com", "..", "ª", "４"]
PIECES += ["xn--", "::1", ":80", ":443", "%2e", "%zz", "%41", "%25", "%2F", "utm_x", ";jsessionid=1"]
URL_PIECES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@settings(max_examples=600, deadline=None)
@given(st.one_of(URL_PIECES, URL_PIECES.map("http://".__add__), st.text(st.characters(codec=None))))
def test_any_string_has_a_canonical_url_and_it_is_idempotent(url: str) -> None:
    for how in (DEFAULT, STRICT):
        once = canonical_url(url, how)
        if once is not None:
            assert canonical_url(once, how) == once


@pytest.mark.parametrize(
    "hostile", ["/.." * 300_000, "%" * 1_000_000, "&a" * 300_000, "é" * 500_000, ";jsessionid=" * 90_000]
)
def test_a_hostile_url_of_a_megabyte_takes_linear_time(hostile: str) -> None:
    assert canonical_url("http://example.com/" + hostile, DEFAULT)
    assert canonical_url("http://example.com/?" + hostile, DEFAULT)
    canonical_url("http://" + hostile, DEFAULT)
    canonical_url(hostile, DEFAULT)


def _batch(rows: list[tuple[str | None, datetime | None, str]]) -> pa.Table:
    urls, dates, sources = zip(*rows, strict=True)
    return pa.table(
        {
            "url": pa.array(urls, DOCUMENT.field("url").type),
            "date": pa.array(dates, DOCUMENT.field("date").type),
            "source": pa.array(sources, DOCUMENT.field("source").type),
        }
    )


def test_the_newest_capture_has_the_smallest_rank_then_the_highest_priority() -> None:
    old, new = datetime(2019, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
    batch = _batch(
        [
            ("http://a.com", new, "low"),
            ("http://a.com", new, "high"),
            ("http://a.com", old, "high"),
            ("http://a.com", datetime(1969, 1, 1, tzinfo=UTC), "high"),
            ("http://a.com", None, "high"),
            ("http://a.com", datetime(9999, 1, 1, tzinfo=UTC), "low"),
        ]
    )
    rank = url_keys(None, batch, DEFAULT, {"low": -MAX_PRIORITY, "high": MAX_PRIORITY}).rank
    assert np.argsort(rank).tolist() == [5, 1, 0, 2, 3, 4]


def test_documents_without_a_url_have_no_key() -> None:
    rows = url_keys(
        None, _batch([(None, None, "a"), ("", None, "a"), ("#x", None, "a"), ("a.com", None, "a")]), DEFAULT, {}
    )
    assert rows.valid.tolist() == [False, False, False, True]


def test_equal_pages_share_a_key_and_others_do_not() -> None:
    urls = ["https://www.a.com/x/?utm_source=1", "http://a.com/x", "http://a.com/y"]
    key = url_keys(None, _batch([(url, None, "a") for url in urls]), DEFAULT, {}).key
    assert key.dtype == np.uint64
    assert (key[0] == key[1]).all()
    assert (key[0] != key[2]).any()
