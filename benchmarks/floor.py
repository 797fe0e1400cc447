"""The native code that no pipeline of this kind can do without, called as directly as Python allows.

Read and gunzip (fastwarc), HTTP decoding, encoding detection (uchardet), main content (resiliparse), language
(fastText lid.176 on the whole text), tokens (tiktoken). Nothing is kept, checked or written; one failure would end it.
"""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks.inputs import Inputs
from benchmarks.measure import Meter


def collect(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """From WARC files to language: one loop over native calls."""
    return run(inputs, meter, encode=False)


def collect_and_encode(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """From WARC files to tokens."""
    return run(inputs, meter, encode=True)


def run(inputs: Inputs, meter: Meter, *, encode: bool) -> dict[str, Any]:
    """Warm up on a few pages, then measure the crawl; the facts tell how the CPU-seconds divide."""
    import fasttext

    from curate import assets

    model = fasttext.load_model(assets.path("lid.176"))
    encoder = llama3_encoder() if encode else None
    loop(inputs.warm_up, model, encoder)
    with meter:
        return loop(inputs.crawl, model, encoder)


def llama3_encoder() -> Any:
    """Return a bare tiktoken encoder with Llama 3's ranks."""
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    from curate import assets
    from curate.tokenize.bpe import LLAMA3_PATTERN

    ranks = load_tiktoken_bpe(assets.path("llama3-tokenizer"))
    return tiktoken.Encoding("llama3", pat_str=LLAMA3_PATTERN, mergeable_ranks=ranks, special_tokens={})


def loop(folder: str, model: Any, encoder: Any) -> dict[str, Any]:
    """Take every page of the WARC files in `folder` down the road."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    clock = time.process_time
    pages = text_bytes = tokens = 0
    spent = {"read": 0.0, "decode": 0.0, "extract": 0.0, "language": 0.0, "tokens": 0.0}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as stream:
            at = clock()
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True):
                body = record.reader.read()
                read = clock()
                html = bytes_to_str(body, detect_encoding(body) or "utf-8")
                decoded = clock()
                text = extract_plain_text(html, main_content=True)
                extracted = clock()
                model.predict(text.replace("\n", " "))
                known = clock()
                if encoder is not None:
                    tokens += len(encoder.encode_ordinary(text))
                done = clock()
                pages += 1
                text_bytes += len(text.encode())
                for step, seconds in zip(
                    spent,
                    (read - at, decoded - read, extracted - decoded, known - extracted, done - known),
                    strict=True,
                ):
                    spent[step] += seconds
                at = clock()
    return {"documents": pages, "bytes": text_bytes, "tokens": tokens, "spent": spent}
