"""Page bytes to text: which character set a page is really in.

Order: byte order mark, UTF-8 that proves itself, HTTP header, `<meta>`, detection (uchardet through resiliparse). Valid
UTF-8 with bytes beyond ASCII is practically never anything else, so it overrides a claim of a single-byte charset: the
most common wrong claim there is. Labels follow the WHATWG Encoding standard. Nothing here raises.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

META_BYTES: Final = 4096
DETECT_BYTES: Final = 128 << 10
MAX_CHANCE_BYTES: Final = 64
TOLERATED_ERRORS: Final = 0.01
_META = re.compile(rb"<meta\s[^>]{0,512}?charset\s*=\s*(?:[\"']\s*)?([\w:.\-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([\w:.\-]{2,40})", re.IGNORECASE)
_NON_ASCII = bytes(range(128, 256))
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_EAST_ASIAN: Final = frozenset({"gb18030", "cp932", "euc_jp", "cp949", "big5hkscs"})
_NOT_CHARSETS: Final = frozenset(
    {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf_7", "mbcs", "oem"}
)
_PYTHON_CODECS: Final = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "gb18030": "gb18030",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp_ext",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "iso-8859-1": "cp1252",
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "macintosh": "mac_roman",
    "x-mac-roman": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "x-euc-jp": "euc_jp",
    "x-user-defined": "cp1252",
    "utf-16": "utf-16-le",
    "unicode": "utf-16-le",
    "utf8": "utf-8",
}


def codec_name(label: str | None) -> str | None:
    """Return the Python codec of an encoding label, None if there is none that is safe for text."""
    if not label:
        return None
    name = label.strip().strip("\"'").lower()
    if name not in _PYTHON_CODECS:
        name = (map_encoding_to_html5(name, fallback_utf8=False) or name).lower()
    name = _PYTHON_CODECS.get(name, name)
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    # rot13, base64, idna and the like are codecs but no charsets
    if not getattr(info, "_is_text_encoding", True) or info.name.replace("-", "_") in _NOT_CHARSETS:
        return None
    return info.name if name not in _PYTHON_CODECS.values() else name


def meta_charset(body: bytes) -> str | None:
    """Return the label that the page's own `<meta>` or XML declaration claims, None if there is none."""
    head = body[:META_BYTES]
    found = _META.search(head) or _XML.match(head.lstrip())
    return found[1].decode("ascii", "replace") if found else None


def decode_html(body: bytes, header_charset: str | None) -> str:
    """Return a page's text: no BOM, no NUL, no lone surrogates; undecodable bytes become U+FFFD. Never raises."""
    for bom, name in _BOMS:
        if body.startswith(bom):
            return _clean(body[len(bom) :].decode(name, "replace"))
    zeros = body.count(b"\0", 0, META_BYTES)
    if body.isascii() and b"\x1b" not in body and zeros * 3 < min(len(body), META_BYTES):
        return _clean(body.decode("ascii"))
    claims = [codec_name(header_charset), None]
    try:
        text = body.decode()
        if "\x1b" not in text and not (claims[0] in _EAST_ASIAN and _is_chance(body)):
            wide = _wide_codec(body, claims[0])
            return _clean(body.decode(wide, "replace") if wide else text)
    except UnicodeDecodeError as error:
        if _nearly_utf8(body, error.start, claims[0]):
            return _clean(body.decode("utf-8", "replace"))
    wide = _wide_codec(body, claims[0])
    if wide:
        return _clean(body.decode(wide, "replace"))
    claims[1] = codec_name(meta_charset(body))
    # a page that can say so in ASCII is not in UTF-16
    if claims[1] and claims[1].startswith("utf-16"):
        claims[1] = "utf-8"
    # Apache's old default: a header that says Latin-1 says nothing when the page itself says more
    if claims[0] == "cp1252" and claims[1]:
        claims.reverse()
    return _clean(_first_that_fits(body, [name for name in claims if name]))


def _first_that_fits(body: bytes, claims: list[str]) -> str:
    """Return `body` in the first claimed charset without errors, else in the detected one, else in the one with the
    fewest errors."""
    for name in claims:
        try:
            return body.decode(name)
        except UnicodeDecodeError:
            pass
    detected = codec_name(detect_encoding(body, DETECT_BYTES))
    if detected and detected not in claims:
        try:
            return body.decode(detected)
        except UnicodeDecodeError:
            claims = [*claims, detected]
    texts = [body.decode(name, "replace") for name in [*claims, "utf-8", "cp1252"]]
    return min(texts, key=lambda text: text.count("\ufffd"))


def _is_chance(body: bytes) -> bool:
    """Return whether so few bytes are beyond ASCII that being valid UTF-8 may be chance."""
    return len(body) - len(body.translate(None, _NON_ASCII)) < MAX_CHANCE_BYTES


def _nearly_utf8(body: bytes, first_error: int, header: str | None) -> bool:
    """Return whether a body that is not valid UTF-8 is UTF-8 but for a cut or a stray byte."""
    if header in _EAST_ASIAN:
        return False
    text = body.decode("utf-8", "replace")
    wide = len(text) - text.count("\ufffd") - len(body.translate(None, _NON_ASCII))
    return wide > 0 and text.count("\ufffd") <= max(1, TOLERATED_ERRORS * wide)


def _wide_codec(body: bytes, header: str | None) -> str | None:
    """Return the UTF-16 codec of a body in which about every other byte is zero, None otherwise."""
    head = body[:META_BYTES]
    if not len(head) <= 3 * head.count(0) <= 2 * len(head):
        return None
    if header in {"utf-16-be", "utf-16-le"}:
        return header
    return "utf-16-be" if head[0::2].count(0) > head[1::2].count(0) else "utf-16-le"


def _clean(text: str) -> str:
    text = text.removeprefix("\ufeff")
    return text.replace("\0", "") if "\0" in text else text
