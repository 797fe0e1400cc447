"""How fast tokenizers encode and decode on this machine: a measurement, unlike everything else in a comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from curate.tokenize.compare_intervals import rounded
from curate.tokenize.compare_samples import Document
from curate.tokenize.tokenizer import Tokenizer

ROUNDS: Final = 3
MAX_BYTES: Final = 8 << 20


def measure_speed(tokenizers: Mapping[str, Tokenizer], documents: Sequence[Document]) -> list[dict[str, float]]:
    """Return for each tokenizer, 1:1, {encode_mb_per_s, decode_mb_per_s}: the best of three rounds in which they take
    turns, one thread, on the first 8 MiB of the documents (1 MB = 10^6 bytes of text)."""
    texts: list[str] = []
    size = 0
    for document in documents:
        if size >= MAX_BYTES:
            break
        texts.append(document.text)
        size += len(document.text.encode())
    array = pa.array(texts, pa.large_string())
    best: list[dict[str, Any]] = [{"encode": float("inf"), "decode": float("inf")} for _ in tokenizers]
    for _ in range(ROUNDS):
        for found, tokenizer in zip(best, tokenizers.values(), strict=True):
            started = time.perf_counter()
            encoded = tokenizer.encode_batch(array)
            done = time.perf_counter()
            found["encode"] = min(found["encode"], done - started)
            rows = [row.values.to_numpy() for row in encoded]
            started = time.perf_counter()
            for row in rows:
                tokenizer.decode_bytes(row)
            found["decode"] = min(found["decode"], time.perf_counter() - started)
    return [{f"{kind}_mb_per_s": rounded(size / 1e6 / seconds) for kind, seconds in found.items()} for found in best]
