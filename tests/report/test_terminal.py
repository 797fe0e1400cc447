from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.report.terminal import (
    bytes_text,
    count_text,
    counted,
    excerpt,
    make_console,
    place_text,
    printable,
    share_text,
)


@given(st.text(st.characters(), max_size=60))
def test_nothing_that_a_terminal_obeys_survives(text: str) -> None:
    shown = printable(text)
    assert not {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn")} - set("\u200c\u200d")
    shown.encode("utf-8")


@given(st.text(st.characters(exclude_categories=["C", "Z", "M"]), max_size=60))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07\x1b[2J", "\\x1b]0;owned\\x07\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202etxt.exe", "a\\u202etxt.exe"),
        ("\u2066hidden\u2069", "\\u2066hidden\\u2069"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("lone \ud800", "lone \\ud800"),
        ("a\r\nb\tc\u2028d", "a  b c d"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("हिन्दी ไทย tiếng", "हिन्दी ไทย tiếng"),
        ("H" + "\u0335" * 40, "H" + "\u0335" * 3),
    ],
)
def test_hostile_characters_become_visible_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_an_excerpt_is_one_line_and_says_that_it_is_cut() -> None:
    assert excerpt("\n\n  one \t two\n", 20) == "one two"
    assert excerpt("word " * 100, 9) == "word word…"
    assert excerpt(" " * 10_000 + "far", 10) == "…"


def test_the_console_reads_no_markup_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    make_console(width=80).print("[bold red]x[/] :smile: [link=https://a.example]y[/link]")
    assert capsys.readouterr().out == "[bold red]x[/] :smile: [link=https://a.example]y[/link]\n"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_600, "1.00 MB"),
        (10**15, "1.00 PB"),
        (None, "–"),
    ],
)
def test_bytes_have_three_digits(number: int | None, shown: str) -> None:
    assert bytes_text(number) == shown


def test_numbers_and_shares_that_are_not_known_are_a_dash() -> None:
    assert (count_text(1234567), count_text(None)) == ("1,234,567", "–")
    assert (share_text(1, 3), share_text(1, 0), share_text(None, 3)) == ("33.3%", "–", "–")


def test_one_is_singular() -> None:
    assert (counted(0, "error"), counted(1, "error"), counted(1000, "error")) == ("0 errors", "1 error", "1,000 errors")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("runs/a?b", "runs/a?b"),
        ("s3://key:secret@bucket/run?secret_key=x", "s3://bucket/run"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("file:///runs/a", "file:///runs/a"),
    ],
)
def test_keys_in_a_uri_are_not_shown(uri: str, shown: str) -> None:
    assert place_text(uri) == shown
