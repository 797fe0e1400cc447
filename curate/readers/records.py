"""What readers yield, the settings they take, and the small conversions that every format shares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pyarrow as pa
import xxhash
from pydantic import BaseModel, ConfigDict, Field

from curate.schema import document_id
from curate.storage import InputFile

COLUMNS: Final = ("text", "url", "date", "id")
MAX_DETAIL_CHARS: Final = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Page(NamedTuple):
    """One record that can become a document.

    `offset` and `length` are bytes of the (compressed) file: reading that range is enough to read the record again;
    records that share one compressed frame share its offset. Exactly one of `body` (undecoded bytes of a page) and
    `text` (formats that hold text) is set. `date` is naive UTC in whole seconds; `content_type` is a lowercase type
    without parameters, '' if unknown; `charset` is what the HTTP header claims.
    """

    id: bytes
    url: str | None
    date: datetime | None
    offset: int
    length: int
    body: bytes | None
    content_type: str
    charset: str | None
    text: str | None
    meta: dict[str, str]


class Reject(NamedTuple):
    """One record or damaged stretch that cannot become a document; `reason` is 'error.<kind>', `detail` is printable
    and quotes no page content."""

    id: bytes
    url: str | None
    offset: int
    length: int
    reason: str
    detail: str


class ReadSettings(BaseModel):
    """How to read inputs. Sizes are bytes.

    `columns` maps `text`, `url`, `date` and `id` to column names of JSONL and Parquet inputs (a dot steps into an
    object: "meta.url"); `meta` lists further columns to keep as strings. An unmapped name is looked up as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_record_bytes: int = Field(default=64 << 20, ge=1)
    max_decoded_bytes: int = Field(default=64 << 20, ge=1)
    content_types: tuple[str, ...] = Field(
        default=("text/html", "application/xhtml+xml", "text/plain", "text/markdown"), strict=False
    )
    batch_bytes: int = Field(default=16 << 20, ge=1)
    columns: dict[str, str] = Field(default_factory=dict)
    meta: tuple[str, ...] = Field(default=(), strict=False)

    def model_post_init(self, _: object) -> None:
        unknown = sorted(set(self.columns) - set(COLUMNS))
        if unknown:
            raise ValueError(f"columns: {', '.join(unknown)} is not one of {', '.join(COLUMNS)}")

    def column(self, name: str) -> str:
        """Return the input column that `name` is read from."""
        return self.columns.get(name, name)


type_of_read = Callable[
    [InputFile, int, int, str, ReadSettings, "Counter[str]"], Iterator["Page | Reject | pa.RecordBatch"]
]


class Reader(NamedTuple):
    """A format: how to read a range of a file, where ranges may start, and what shapes its output.

    `read(file, start, end, source, settings, tally)` yields exactly the records that start in [start, end), both values
    of `boundary` or the file size. `boundary(file, offset)` is the first verified record start at or after `offset`,
    the file size if there is none: a pure function of the file's bytes. `tally` counts every record seen ('records')
    and those passed over ('skipped.<why>'), so that records = documents + rejects + skipped.
    """

    read: type_of_read
    boundary: Callable[[InputFile, int], int]
    splittable: Callable[[InputFile], bool]
    extensions: tuple[str, ...]
    version: int
    libraries: tuple[str, ...]


def parse_date(value: str | None) -> datetime | None:
    """Return an ISO 8601 or a 14-digit (ARC) date as naive UTC in whole seconds; None if it is no date."""
    if not value:
        return None
    value = value.strip()
    try:
        if value.isdigit() and len(value) >= 8:
            return datetime.strptime(value[:14].ljust(14, "0") + "Z", "%Y%m%d%H%M%S%z").replace(tzinfo=None)
        date = datetime.fromisoformat(value)
        if date.tzinfo is not None:
            date = date.astimezone(UTC).replace(tzinfo=None)
        return date.replace(microsecond=0)
    except (ValueError, OverflowError):
        return None


def decode_field(value: bytes) -> str:
    """Return a header value as text: UTF-8, else Latin-1, so that nothing is lost and nothing fails."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def clean_url(value: str | None) -> str | None:
    """Return a URL without the `<>` and blanks that some crawlers write; inner blanks become %20."""
    if value is None:
        return None
    value = _CONTROL.sub("", value).strip()
    if value.startswith("<") and value.endswith(">"):
        value = value[1:-1].strip()
    return value.replace(" ", "%20") or None


def clean_text(text: str) -> str:
    """Return `text` without NUL and with lone surrogates as U+FFFD: what Arrow and every tokenizer can hold."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = _SURROGATE.sub("\ufffd", text)
    return text


def describe(message: str) -> str:
    """Return `message` on one printable line of bounded length."""
    return clean_text(_CONTROL.sub(" ", message))[:MAX_DETAIL_CHARS]


def damage_id(source: str, offset: int, head: bytes) -> bytes:
    """Return the id of a stretch of bytes in which no record could be recognised: from its first bytes and place."""
    return document_id(source=source, digest=xxhash.xxh3_128_digest(b"damaged %d " % offset + head))


def mapping_text(values: Mapping[str, object]) -> dict[str, str]:
    """Return `values` as clean strings, leaving out what is missing."""
    return {key: clean_text(str(value)) for key, value in values.items() if value is not None}
