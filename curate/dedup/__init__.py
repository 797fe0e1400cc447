"""Global dedup steps, each two pure functions around one exchange: `keys` of a batch, and a reduce over sorted rows.

To add a kind: write its settings and its `Dedup` in a file of its own, and one line in `DEDUPS`.
"""

from __future__ import annotations

if __name__ != "curate.dedup":
    raise ImportError("import curate.dedup, not dedup: the folder at the root is only a link to it")

from typing import Final

from curate.dedup.exact import EXACT
from curate.dedup.ids import ID
from curate.dedup.keys import Dedup
from curate.dedup.lines import C4_SPANS, LINES
from curate.dedup.minhash import MINHASH
from curate.dedup.semantic import SEMANTIC
from curate.dedup.substring import SUBSTRING
from curate.dedup.url import URL

DEDUPS: Final[dict[str, Dedup]] = {
    "id": ID,
    "exact": EXACT,
    "url": URL,
    "minhash": MINHASH,
    "semantic": SEMANTIC,
    "lines": LINES,
    "c4_spans": C4_SPANS,
    "substring": SUBSTRING,
}
IMPLIED: Final = frozenset({"id"})
"""Kinds that every run does by itself; a recipe does not name them."""

__all__ = ["DEDUPS", "IMPLIED", "Dedup"]
