"""Which character set a page is in."""

from __future__ import annotations

import codecs
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.extract import decode_html
from curate.extract.charset import META_BYTES, codec_name, meta_charset

CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy. " * 5
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5
JAPANESE = "色は匂へど散りぬるを我が世誰ぞ常ならむ。" * 5
CHINESE = "天地玄黄宇宙洪荒日月盈昃辰宿列张。" * 5
KOREAN = "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. " * 5
THAI = "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า " * 5


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (CZECH, "iso-8859-2"),
        (CZECH, "windows-1250"),
        (RUSSIAN, "windows-1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc-jp"),
        (JAPANESE, "iso-2022-jp"),
        (CHINESE, "gb2312"),
        (CHINESE, "gbk"),
        (KOREAN, "euc-kr"),
        (THAI, "tis-620"),
        (CZECH, "utf-8"),
        (CHINESE, "utf-16-le"),
    ],
)
def test_a_declared_charset_is_used_from_header_or_meta(text: str, label: str) -> None:
    body = text.encode(label)
    assert decode_html(body, label.upper()) == text
    if label != "utf-16-le":
        assert text in decode_html(f"<meta charset='{label}'>".encode() + body, None)
        http_equiv = f'<META content="text/html; charset={label}" http-equiv=Content-Type>'.encode()
        assert text in decode_html(http_equiv + body, None)


def test_the_header_goes_before_the_meta_element() -> None:
    body = b"<meta charset=koi8-r>" + RUSSIAN.encode("windows-1251")
    assert RUSSIAN in decode_html(body, "windows-1251")


def test_a_latin_1_header_does_not_overrule_a_page_that_says_more() -> None:
    body = b"<meta charset=windows-1251>" + RUSSIAN.encode("windows-1251")
    assert RUSSIAN in decode_html(body, "ISO-8859-1")


@pytest.mark.parametrize("label", ["iso-8859-1", "windows-1251", "euc-kr", "nonsense", "", None, "rot13", "idna"])
def test_utf_8_is_recognised_whatever_is_declared(label: str | None) -> None:
    assert decode_html(RUSSIAN.encode(), label) == RUSSIAN


def test_utf_8_with_a_cut_or_a_stray_byte_stays_utf_8() -> None:
    body = RUSSIAN.encode() + CZECH.encode()
    assert decode_html(body[:-2], None).startswith(RUSSIAN)
    assert RUSSIAN in decode_html(b"\xa0" + body, "utf-8")


def test_a_wrong_declaration_that_cannot_decode_falls_back_to_detection() -> None:
    assert decode_html(RUSSIAN.encode("windows-1251"), "utf-8") == RUSSIAN
    assert decode_html(JAPANESE.encode("euc-jp"), "utf-8") == JAPANESE
    assert decode_html(RUSSIAN.encode("windows-1251"), None) == RUSSIAN


def test_byte_order_marks_win_and_vanish() -> None:
    assert decode_html(codecs.BOM_UTF8 + CZECH.encode(), "windows-1250") == CZECH
    assert decode_html(codecs.BOM_UTF16_LE + CZECH.encode("utf-16-le"), None) == CZECH
    assert decode_html(codecs.BOM_UTF16_BE + CZECH.encode("utf-16-be"), "utf-8") == CZECH


def test_utf_16_without_a_mark_is_seen_by_its_zero_bytes() -> None:
    page = "<html><body>plain words</body></html>"
    assert decode_html(page.encode("utf-16-le"), None) == page
    assert decode_html(page.encode("utf-16-be"), "utf-8") == page


def test_latin_1_means_windows_1252() -> None:
    assert decode_html("“quoted” – €".encode("cp1252"), "iso-8859-1") == "“quoted” – €"


@pytest.mark.parametrize("claim", ["charset=x-y", "charset = 'x-y'", 'CHARSET= " x-y "'])
def test_a_claim_of_the_page_is_found_with_blanks_and_quotes_around_it(claim: str) -> None:
    assert meta_charset(f"<p><meta content='a/b; {claim}'>".encode()) == "x-y"


def test_a_claim_of_blanks_is_passed_over_at_once() -> None:
    head = (b"<meta " * 80 + b"charset=" + b" " * META_BYTES)[:META_BYTES]
    start = time.process_time()
    assert meta_charset(head) is None
    # blanks that two parts of a pattern could share took half a minute
    assert time.process_time() - start < 1


def test_codecs_that_are_no_charsets_are_no_codecs() -> None:
    for label in ("rot13", "base64", "zlib", "idna", "unicode_escape", "utf-7", "no such", "\0", "x" * 5000):
        assert codec_name(label) is None, label


@given(st.binary(max_size=300), st.one_of(st.none(), st.sampled_from(["utf-8", "utf-16", "gbk", "iso-2022-jp", "x"])))
def test_any_bytes_become_clean_text(body: bytes, label: str | None) -> None:
    text = decode_html(body, label)
    assert "\0" not in text
    text.encode()
