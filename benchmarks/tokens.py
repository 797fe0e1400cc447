"""Encoding: `curate`'s batches into Arrow lists against bare loops over the same libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from benchmarks.floor import llama3_encoder
from benchmarks.inputs import Inputs, read_documents, text_bytes
from benchmarks.measure import Meter, Row, Sample, against

TITLE: Final = "Encoding text to tokens"
SIDES: Final = {
    "curate, Llama 3": "benchmarks.tokens:ours_bpe",
    "tiktoken": "benchmarks.tokens:bare_tiktoken",
    "curate, 32k SentencePiece": "benchmarks.tokens:ours_sentencepiece",
    "sentencepiece": "benchmarks.tokens:bare_sentencepiece",
}


def encode(inputs: Inputs, meter: Meter, function: Callable[[pa.Array], int]) -> dict[str, Any]:
    """Measure `function` (texts of a batch to a number of tokens) on the crawl's texts."""
    batches = read_documents(inputs, "texts")
    function(batches[0].column("text").slice(0, 20))
    with meter:
        tokens = sum(function(batch.column("text")) for batch in batches)
    rows = sum(len(batch) for batch in batches)
    return {"documents": rows, "bytes": text_bytes(batches), "tokens": tokens}


def ours(inputs: Inputs, meter: Meter, asset: str) -> dict[str, Any]:
    """`encode_batch` with a tokenizer of the assets."""
    from curate import assets
    from curate.tokenize import registry

    tokenizer = registry.load(assets.path(asset))
    return encode(inputs, meter, lambda text: len(tokenizer.encode_batch(text, add_bos=False, add_eos=False).flatten()))


def ours_bpe(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Llama 3's 128k ranks."""
    return ours(inputs, meter, "llama3-tokenizer")


def ours_sentencepiece(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """A real 32k SentencePiece model."""
    return ours(inputs, meter, "mistral-v1-32k")


def bare_tiktoken(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """A loop over `encode_ordinary`; the tokens are counted and dropped."""
    encoder = llama3_encoder()
    return encode(inputs, meter, lambda text: sum(len(encoder.encode_ordinary(one)) for one in text.to_pylist()))


def bare_sentencepiece(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """A loop over `encode`; the tokens are counted and dropped."""
    import sentencepiece

    from curate import assets

    model = sentencepiece.SentencePieceProcessor(model_file=assets.path("mistral-v1-32k"))
    return encode(inputs, meter, lambda text: sum(len(model.encode(one)) for one in text.to_pylist()))


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    return [
        against(
            "Llama 3 vocabulary; tiktoken `encode_ordinary`",
            samples["curate, Llama 3"],
            samples["tiktoken"],
            "MB",
            percent=True,
        ),
        against(
            "32k SentencePiece; sentencepiece `encode`",
            samples["curate, 32k SentencePiece"],
            samples["sentencepiece"],
            "MB",
            percent=True,
        ),
    ]
