"""Signals that describe a document, rules that decide about it, cleaners that change it."""

from __future__ import annotations

if __name__ != "curate.filters":
    raise ImportError("import curate.filters, not filters: the folder at the root is only a link to it")
