"""What tests of tokenizers share: texts in a column, kernels against libraries, and the vocabularies of the assets."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate import assets
from curate.tokenize.tokenizer import Tokenizer


def large(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


def same(tokenizer: Tokenizer, texts: list[str]) -> None:
    """The kernel gives the ids that the library gives."""
    assert tokenizer.kernel is not None
    lists = tokenizer.encode_batch(large(texts))
    lists.validate(full=True)
    for row, text in enumerate(texts):
        assert np.array_equal(lists[row].values.to_numpy(), tokenizer.encode_text(text))


def asset_path(name: str) -> str:
    """Return where an asset is; the test skips, and says so, where it has not been fetched."""
    ready = {status.asset.name: status.path for status in assets.status() if status.state == "ready"}
    if name not in ready:
        pytest.skip(f"needs the asset {name}: curate assets fetch {name}")
    return ready[name]


def raw_pages(shared_data: Path, most_bytes: int) -> Iterator[str]:
    """Yield the beginning of each archive of the sample crawl as text: HTML in many languages, and some binary."""
    for path in sorted((shared_data / "sample-crawl").glob("*.gz")):
        with gzip.open(path, "rb") as stream:
            yield stream.read(most_bytes).decode("utf-8", errors="replace")
