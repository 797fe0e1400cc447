"""The language model, and the text of real pages."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate import assets
from curate.errors import AssetError
from curate.filters.language import measure_language


@pytest.fixture(scope="session")
def lid_model() -> str:
    """The path of lid.176."""
    try:
        return assets.path("lid.176")
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def crawl_texts(shared_data: Path, lid_model: str) -> pa.Table:
    """The main text of each page of the sample crawl that has one: text, language.code, language.score."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    texts = []
    for path in sorted((shared_data / "sample-crawl").glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                body = record.reader.read()
                texts.append(extract_plain_text(bytes_to_str(body, detect_encoding(body)), main_content=True))
    text = pa.array([text for text in texts if text], pa.large_string())
    return pa.table({"text": text, **measure_language(text, {"lid.176": lid_model})})
