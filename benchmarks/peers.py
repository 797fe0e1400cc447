"""datatrove as its users run it, without a download.

Its language model is replaced by the asset lid.176 (it would fetch lid.176.bin), its English word splitter is spaCy's
blank one, so it needs nothing else from the network. Where missing, two of its reader's imports are stood in for:
python-magic is never called, since every record of our copy of the crawl names its type; cchardet is the uchardet
library, which resiliparse wraps too. Extraction gets 30 s a page instead of 1 s, so that a busy machine loses no page.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from benchmarks.inputs import Inputs, SkippedError, read_documents, text_bytes
from benchmarks.measure import Meter

EXTRACT_TIMEOUT_S = 30.0


def load() -> None:
    """Import datatrove's blocks and put the stand-ins in place."""
    if importlib.util.find_spec("datatrove") is None:
        raise SkippedError("needs datatrove: pip install 'curate-llm[bench]'")
    import fasttext
    from loguru import logger

    from curate import assets

    logger.remove()
    stand_in("magic", from_buffer=_never)
    stand_in("cchardet", detect=_detect)
    import datatrove.pipeline.base as base
    from datatrove.utils.lid import FastTextLID

    # it asks for distributions by name (fasttext-numpy2-wheel, …), not for what is importable
    base.check_required_dependencies = lambda *_: None
    model = fasttext.FastText._FastText(assets.path("lid.176"))
    FastTextLID.model = property(lambda _: model)


def _never(*_: object, **__: object) -> str:
    raise AssertionError("every record of the prepared crawl names its type")


def _detect(data: bytes) -> dict[str, str | None]:
    from resiliparse.parse.encoding import detect_encoding

    return {"encoding": detect_encoding(data)}


def stand_in(name: str, **functions: Any) -> None:
    """Give a module that is not installed the functions that are needed of it."""
    if importlib.util.find_spec(name) is None:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(functions)
        sys.modules[name] = module


def filters(*, language: bool) -> list[Any]:
    """Return the four heuristic filters, English language before them if asked for."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LanguageFilter,
    )

    four = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    return [LanguageFilter(languages=["en"]), *four] if language else four


def filter_texts(inputs: Inputs, meter: Meter, *, name: str, language: bool) -> dict[str, Any]:
    """Measure the filters on texts in memory, a document after the other until one filter drops it."""
    load()
    from datatrove.data import Document

    batches = read_documents(inputs, name)

    def documents() -> list[Any]:
        urls = (url for batch in batches for url in batch.column("url").to_pylist())
        texts = (text for batch in batches for text in batch.column("text").to_pylist())
        return [Document(text=text, id=url) for url, text in zip(urls, texts, strict=True)]

    drain(filters(language=language), documents()[:20])
    given = documents()
    steps = filters(language=language)
    with meter:
        kept = drain(steps, given)
    return {"documents": len(given), "bytes": text_bytes(batches), "kept": kept}


def drain(steps: list[Any], documents: Any) -> int:
    """Run steps as a chain of generators, as datatrove's executor does; return how many documents come out."""
    data = iter(documents)
    for step in steps:
        data = step.run(data, 0, 1)
    return sum(1 for _ in data)


def filter_crawl(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The four filters on the crawl's texts."""
    return filter_texts(inputs, meter, name="texts", language=False)


def filter_crawl_with_language(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Language and the four filters on the crawl's texts."""
    return filter_texts(inputs, meter, name="texts", language=True)


def filter_wikitext(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The four filters on wikitext-2."""
    return filter_texts(inputs, meter, name="wikitext", language=False)


def collect_trafilatura(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """From WARC files with datatrove's own extractor to jsonl.gz."""
    load()
    from datatrove.pipeline.extractors import Trafilatura

    return collect(inputs, meter, lambda: Trafilatura(timeout=EXTRACT_TIMEOUT_S))


def collect_resiliparse(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The same with the extractor that `curate` uses, in datatrove's sandbox."""
    load()
    from datatrove.pipeline.extractors.base import BaseExtractor
    from resiliparse.extract.html2text import extract_plain_text

    class Resiliparse(BaseExtractor):
        name = "resiliparse"

        def __init__(self) -> None:
            super().__init__(EXTRACT_TIMEOUT_S)

        def extract(self, text: str) -> str:
            return extract_plain_text(text, main_content=True)

    return collect(inputs, meter, Resiliparse)


def collect(inputs: Inputs, meter: Meter, extractor: Any) -> dict[str, Any]:
    """Measure datatrove's local executor, one task on one worker, logs and files written."""
    if importlib.util.find_spec("orjson") is None:
        raise SkippedError("datatrove's writer needs orjson: pip install orjson")
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.readers import WarcReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    def run(folder: str, output: str) -> Any:
        steps = [
            WarcReader(folder, glob_pattern="*.warc.gz"),
            extractor(),
            *filters(language=True),
            JsonlWriter(f"{output}/documents"),
        ]
        return LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=f"{output}/logs").run()

    run(inputs.warm_up, inputs.output("warm-up"))
    with meter:
        stats = run(inputs.crawl, inputs.output("run"))
    counts = [{key: int(value.total) for key, value in step.stats.items()} for step in stats.stats]
    read, extracted, written = counts[0], counts[1], counts[-1]
    return {
        "documents": read["documents"],
        "bytes": 0,
        "extracted": extracted["forwarded"],
        "kept": written["total"],
    }
