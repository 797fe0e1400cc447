"""Encoding: `curate`'s batches into Arrow lists against bare loops over the libraries whose ids they are.

A side encodes the texts of the crawl and then wikitext-2, so that ours begins with an empty cache of words. All sides
of a vocabulary must give equally many tokens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from benchmarks.floor import llama3_encoder
from benchmarks.inputs import Inputs, read_documents, text_bytes
from benchmarks.measure import Meter, Row, Sample, SideError, against

TITLE: Final = "Encoding text to tokens, one thread"
CORPORA: Final = {"crawl": "texts", "wikitext-2": "wikitext"}
PEERS: Final = {
    "Llama 3": ("tiktoken `encode_ordinary`", "tokenizers `encode`"),
    "32k SentencePiece": ("sentencepiece `encode`", "tokenizers `encode`"),
}
WANTED: Final = {"tiktoken `encode_ordinary`": 1.0, "sentencepiece `encode`": 3.0}
SIDES: Final = {
    "curate, Llama 3": "benchmarks.tokens:ours_bpe",
    "tiktoken `encode_ordinary`, Llama 3": "benchmarks.tokens:bare_tiktoken",
    "tokenizers `encode`, Llama 3": "benchmarks.tokens:tokenizers_llama3",
    "curate, 32k SentencePiece": "benchmarks.tokens:ours_sentencepiece",
    "sentencepiece `encode`, 32k SentencePiece": "benchmarks.tokens:bare_sentencepiece",
    "tokenizers `encode`, 32k SentencePiece": "benchmarks.tokens:tokenizers_sentencepiece",
}


def encode(inputs: Inputs, meter: Meter, function: Callable[[pa.Array], int]) -> dict[str, Any]:
    """Measure `function` (texts of a batch to a number of tokens) on the crawl's texts and then on wikitext-2."""
    facts: dict[str, Any] = {}
    batches = {name: read_documents(inputs, file) for name, file in CORPORA.items()}
    function(batches["crawl"][0].column("text").slice(0, 20))
    with meter:
        for name, found in batches.items():
            begun = time.process_time()
            facts[f"tokens, {name}"] = sum(function(batch.column("text")) for batch in found)
            facts[f"seconds, {name}"] = time.process_time() - begun
            facts[f"bytes, {name}"] = text_bytes(found)
    every = [batch for found in batches.values() for batch in found]
    return {**facts, "documents": sum(map(len, every)), "bytes": text_bytes(every)}


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


def bare_tokenizers(inputs: Inputs, meter: Meter, asset: str) -> dict[str, Any]:
    """A loop over `encode` of Hugging Face's tokenizers, on what `curate tokenizer export` wrote."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import tokenizers

    from curate import assets
    from curate.tokenize import export

    model = tokenizers.Tokenizer.from_str(export.export(assets.path(asset))["tokenizer.json"].decode())
    # wikitext-2 spells <unk>, which would be found as a token
    model.encode_special_tokens = True
    return encode(
        inputs,
        meter,
        lambda text: sum(len(model.encode(one, add_special_tokens=False).ids) for one in text.to_pylist()),
    )


def tokenizers_llama3(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Llama 3's vocabulary."""
    return bare_tokenizers(inputs, meter, "llama3-tokenizer")


def tokenizers_sentencepiece(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """A real 32k SentencePiece model."""
    return bare_tokenizers(inputs, meter, "mistral-v1-32k")


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison. Raises SideError if two sides of a vocabulary disagree."""
    for name, peers in PEERS.items():
        for corpus in CORPORA:
            sides = [f"curate, {name}", *(f"{peer}, {name}" for peer in peers)]
            found = {side: {sample.facts[f"tokens, {corpus}"] for sample in samples[side]} for side in sides}
            if len(set().union(*found.values())) > 1:
                raise SideError(f"numbers of tokens differ on {corpus}: {found}")
    return [
        against(
            f"{name} vocabulary, {corpus}; {peer}",
            part(samples[f"curate, {name}"], corpus),
            part(samples[f"{peer}, {name}"], corpus),
            "MB",
            wanted=WANTED.get(peer),
        )
        for name, peers in PEERS.items()
        for corpus in CORPORA
        for peer in peers
    ]


def part(samples: list[Sample], corpus: str) -> list[Sample]:
    """Return the samples of one corpus alone."""
    return [
        replace(sample, cpu_s=sample.facts[f"seconds, {corpus}"], facts={"bytes": sample.facts[f"bytes, {corpus}"]})
        for sample in samples
    ]
