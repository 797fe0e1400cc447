"""URL dedup: documents with the same canonical URL are captures of one page; the newest one stays (Llama 3).

Kept is the capture with the newest date (no date is the oldest), then the source with the highest priority, then the
best quality, then the smallest id. Documents without a URL belong to no group.

`canonical_url` goes further than RFC 3986 where crawls are known to repeat themselves, and each step that could join
two different pages is a setting: http = https, ``www.`` goes, tracking and session parameters go, the other
parameters are sorted by name, a trailing slash goes. Scheme and host are lower case, international hosts are punycode
(IDNA 2003, which does not change with Unicode versions), default ports, user info and the fragment go, dot segments
are resolved, percent escapes are upper case and stand only where they must. It is idempotent and takes any string.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.dedup.keys import MAX_PRIORITY, Dedup, GroupSettings, Rows, hash_words, one_array, priority_rank

TRACKING_PARAMETERS: Final = (
    "_ga", "_gl", "_hsenc", "_hsmi", "dclid", "fbclid", "gad_source", "gbraid", "gclid", "gclsrc", "igsh", "igshid",
    "mc_cid", "mc_eid", "mkt_tok", "msclkid", "oly_anon_id", "oly_enc_id", "ttclid", "twclid", "utm_*", "vero_id",
    "wbraid", "yclid",
    # session ids
    "aspsessionid*", "cfid", "cftoken", "jsessionid", "phpsessid",
)  # fmt: skip
_PRIORITY_BITS: Final = 24
_DATE_BITS: Final = 64 - _PRIORITY_BITS
# an IDNA label has at most 63 characters, a host 253; longer ones are not names, and encoding them would be slow
_MAX_HOST: Final = 253

_IGNORED: Final = re.compile(r"[\t\n\r]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_EDGE: Final = "".join(map(chr, range(33)))
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_BARE_HOST: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(:[0-9]{1,5})?(?=[/?]|$)")
_PORT: Final = re.compile(r"(.*):([0-9]{0,5})", re.DOTALL)
_SESSION: Final = re.compile(r";jsessionid=[^/;]*", re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})|%|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]%]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DOTS: Final = re.compile(r"\.{2,}")
_PLAIN_HOST: Final = re.compile(r"[a-z0-9._-]+")


class UrlSettings(GroupSettings):
    """Settings of a URL dedup step: which differences between two URLs do not count.

    A name in `ignored_parameters` matches in any case; ``utm_*`` stands for every name with this beginning.
    """

    strip_www: bool = True
    sort_parameters: bool = True
    strip_trailing_slash: bool = True
    ignored_parameters: tuple[str, ...] = Field(default=TRACKING_PARAMETERS, strict=False)


def url_keys(text: pa.Array | None, batch: pa.Table, settings: UrlSettings, priorities: Mapping[str, int]) -> Rows:
    """Return the exchange rows of a batch; see `Dedup`. `text` is not read."""
    canonical = (canonical_url(url, settings) if url else None for url in batch.column("url").to_pylist())
    key, valid = hash_words(None if url is None else url.encode() for url in canonical)
    age = _age_rank(batch.column("date")) << np.uint64(_PRIORITY_BITS)
    rank = age | priority_rank(batch.column("source"), priorities)
    return Rows(key, np.where(valid, rank, np.uint64(0)), valid)


def _age_rank(dates: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return 40-bit ranks, uint64 [rows]: the newer a date (whole seconds), the smaller; null is the largest."""
    half = 1 << (_DATE_BITS - 1)
    seconds = pc.fill_null(one_array(dates).cast(pa.timestamp("s"), safe=False).cast(pa.int64()), -half)
    clamped = np.clip(seconds.to_numpy(zero_copy_only=False), -half, half - 1)
    return (half - 1 - clamped).astype(np.uint64)


def canonical_url(url: str, settings: UrlSettings) -> str | None:
    """Return the URL under which all captures of a page meet, None for an empty one; see the header of this file.

    Schemes other than http and https keep their text (without its fragment): their rules are not ours.
    """
    if not url.isascii():
        url = _SURROGATE.sub("\ufffd", url)
    url = _IGNORED.sub("", url).strip(_EDGE).partition("#")[0].rstrip(_EDGE)
    if not url:
        return None
    scheme, rest = _scheme_and_rest(url)
    if scheme != "http":
        return f"{scheme}:{rest}" if scheme else rest
    rest = rest.lstrip("/\\")
    path_part, question, query = rest.partition("?")
    authority, slash, path = path_part.replace("\\", "/").partition("/")
    host = _host_and_port(authority, strip_www=settings.strip_www)
    if not host:
        return None
    tail = _path(slash + path, strip_slash=settings.strip_trailing_slash)
    kept = _query(query, settings) if question else ""
    return f"http://{host}{tail}?{kept}" if kept else f"http://{host}{tail}"


def _scheme_and_rest(url: str) -> tuple[str, str]:
    """Return the scheme in lower case (https as http, '' when there is none) and what follows its colon."""
    if url.startswith("//"):
        return "http", url
    # before the scheme, or example.com:8080 would be one
    if _BARE_HOST.match(url):
        return "http", url
    found = _SCHEME.fullmatch(url)
    if found is None:
        return "", url
    scheme = found[1].lower()
    return ("http" if scheme in ("http", "https") else scheme), found[2]


def _host_and_port(authority: str, *, strip_www: bool) -> str:
    authority = authority.rpartition("@")[2]
    found = _PORT.fullmatch(authority)
    host, port = (found[1], found[2].lstrip("0")) if found else (authority, "")
    host = _host(host)
    while strip_www and host.startswith("www.") and "." in host[4:]:
        host = host[4:]
    # http and https are one here, and so are their ports
    return f"{host}:{port}" if host and port not in ("", "80", "443") else host


def _host(host: str) -> str:
    """Return a host name in lower-case ASCII: punycode where that is possible, else percent-encoded UTF-8."""
    host = host.lower() if host.isascii() else host
    if not _PLAIN_HOST.fullmatch(host):
        if host.startswith("[") and host.endswith("]"):
            return host
        host = unquote_to_bytes(host.encode()).decode(errors="replace")
        host = _without_empty_labels(host)
        host = host.lower() if host.isascii() else _punycode(host)
        host = quote_from_bytes(host.encode(), safe="-._~[]")
        host = re.sub("[A-Z]", lambda letter: letter[0].lower(), host)
    return _without_empty_labels(host)


def _without_empty_labels(host: str) -> str:
    return (_DOTS.sub(".", host) if ".." in host else host).strip(".")


def _punycode(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii").lower() if len(host) <= _MAX_HOST else host
    except UnicodeError:
        return host


def _path(path: str, *, strip_slash: bool) -> str:
    path = _escaped(_SESSION.sub("", path))
    if "/." in path:
        path = _without_dots(path)
    if strip_slash:
        path = path.rstrip("/")
    return path or "/"


def _without_dots(path: str) -> str:
    """Resolve ``.`` and ``..`` segments of an absolute path (RFC 3986, section 5.2.4)."""
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _query(query: str, settings: UrlSettings) -> str:
    exact, beginnings = _ignored(settings.ignored_parameters)
    kept = []
    for parameter in query.split("&"):
        escaped = _escaped(parameter)
        name = escaped.partition("=")[0]
        lower = name.lower()
        if escaped and lower not in exact and not lower.startswith(beginnings):
            kept.append((name, escaped))
    if settings.sort_parameters:
        # by name alone: the order of equal names can mean something
        kept.sort(key=lambda pair: pair[0])
    return "&".join(escaped for _, escaped in kept)


@functools.lru_cache(maxsize=16)
def _ignored(parameters: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the names that are ignored and the beginnings of names that are, in lower case."""
    lower = [name.lower() for name in parameters]
    exact = frozenset(name for name in lower if not name.endswith("*"))
    return exact, tuple(name[:-1] for name in lower if name.endswith("*"))


def _escaped(part: str) -> str:
    """Return a path or parameter with upper-case escapes, only where they must be; a lone % becomes %25."""
    if _PLAIN.fullmatch(part):
        return part
    return _ESCAPE.sub(_one_escape, part.encode()).decode("ascii")


def _one_escape(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        return b"%%%02X" % found[0][0]
    byte = int(found[1], 16)
    return bytes([byte]) if byte in _UNRESERVED else found[0].upper()


URL: Final = Dedup(UrlSettings, url_keys, needs_text=False, version=1, libraries=("xxhash",))
assert MAX_PRIORITY * 2 < 1 << _PRIORITY_BITS
