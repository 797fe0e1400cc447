"""HTML to text: character sets, limits before the parser, and engines behind one function."""

from __future__ import annotations

from typing import Final

import numpy as np

from curate.errors import CurateError, InputError
from curate.extract.charset import decode_html
from curate.extract.depth import html_shape
from curate.extract.engines import ENGINES, LIBRARIES, engine_source, find_engine
from curate.extract.settings import ExtractSettings

VERSION: Final = 3
PLAIN_TYPES: Final = frozenset({"text/plain", "text/markdown"})

__all__ = [
    "ENGINES",
    "LIBRARIES",
    "VERSION",
    "ExtractSettings",
    "check_html",
    "decode_html",
    "engine_source",
    "extract",
    "find_engine",
]


def check_html(body: bytes, settings: ExtractSettings) -> None:
    """Raise InputError (html_too_large, html_too_deep, html_too_many_elements) for a page that no parser should see."""
    if len(body) > settings.max_html_bytes:
        raise InputError("html_too_large", f"the page has {len(body)} bytes (limit {settings.max_html_bytes})")
    limit = settings.max_html_depth
    most = settings.max_html_elements
    deepest, made = html_shape(np.frombuffer(body, dtype=np.uint8), limit, most)
    if deepest > limit:
        raise InputError("html_too_deep", f"the page nests more than {limit} elements")
    if made > most:
        raise InputError(
            "html_too_many_elements", f"the page makes more than {most} elements, or has too many attributes"
        )


def extract(page_body: bytes, content_type: str, header_charset: str | None, settings: ExtractSettings) -> str:
    """Return the main text of a page; a plain text as it is, with newlines as `\\n`.

    Raises InputError with kind html_too_large, html_too_deep, html_too_many_elements, extract (the engine failed),
    text_too_large or empty, and RecipeError if the engine is unknown or not installed.
    """
    if content_type in PLAIN_TYPES:
        text = decode_html(page_body, header_charset).replace("\r\n", "\n").replace("\r", "\n")
    else:
        text = _extract_html(page_body, header_charset, settings)
    text = text.strip()
    if not text:
        raise InputError("empty", "the page holds no text")
    size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    if size > settings.max_text_bytes:
        raise InputError("text_too_large", f"the text has {size} bytes (limit {settings.max_text_bytes})")
    return text


def _extract_html(body: bytes, header_charset: str | None, settings: ExtractSettings) -> str:
    engine = find_engine(settings.engine)
    if len(body) > settings.max_html_bytes:
        check_html(body, settings)
    html = decode_html(body, header_charset)
    # the limits hold for what the parser will see, which UTF-16 bytes are not
    check_html(body if _is_ascii_based(body) else html.encode(), settings)
    try:
        text = engine(html)
    except (CurateError, MemoryError):
        raise
    except Exception as error:
        raise InputError("extract", f"{settings.engine} failed with {type(error).__name__}") from error
    if "\0" in text:
        text = text.replace("\0", "")
    return text


def _is_ascii_based(body: bytes) -> bool:
    """Return whether markup stands in `body` as ASCII bytes and nothing else does: not in UTF-16, whose markup hides
    between zero bytes, nor in charsets such as Shift-JIS whose second bytes may be ASCII."""
    return b"\0" not in body and _is_utf8(body)


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return b"\x1b" not in body
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
