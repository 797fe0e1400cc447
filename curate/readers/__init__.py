"""Readers: files of a format to pages, texts or whole batches, splittable at verified record boundaries."""

from __future__ import annotations

from typing import Final

from curate.errors import InputError
from curate.readers.arc import ARC
from curate.readers.jsonl import JSONL
from curate.readers.parquet import PARQUET
from curate.readers.records import Page, Reader, ReadSettings, Reject
from curate.readers.warc import WARC, WET

READERS: Final[dict[str, Reader]] = {"warc": WARC, "wet": WET, "arc": ARC, "jsonl": JSONL, "parquet": PARQUET}

__all__ = ["READERS", "Page", "ReadSettings", "Reader", "Reject", "detect_format"]


def detect_format(name: str) -> str:
    """Return the key in `READERS` of a file's format, by its longest matching extension."""
    lower = name.lower()
    found = [
        (len(extension), key)
        for key, reader in READERS.items()
        for extension in reader.extensions
        if lower.endswith(extension)
    ]
    if not found:
        known = ", ".join(sorted({reader.extensions[0] for reader in READERS.values()}))
        raise InputError("format", f"{name}: unknown extension (known: {known}, each also compressed); set its format")
    return max(found)[1]
