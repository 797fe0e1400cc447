"""The table c4_bad_words decides on every page of the sample crawl, in every language, as datatrove's C4BadWordsFilter
fed the same lists in lower case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate import assets
from curate.errors import AssetError
from curate.filters.bad_words import measure_bad_words

c4_filters = pytest.importorskip("datatrove.pipeline.filters.c4_filters")
pytestmark = pytest.mark.slow

HARMLESS = {
    "de": ["und so weiter", "straße", "ÜBER UNS"],
    "en": ["privacy policy", "recipes", "e-mail", "u.s.", "3d", "river"],
    "es": ["Aviso legal", "años"],
    "fa": ["است"],
    "fr": ["aujourd'hui", "ça", "œuvre"],
    "ja": ["ログイン", "の", "web"],
    "ru": ["лет", "новости"],
    "sv": ["är"],
    "th": ["การ"],
    "zh": ["登录", "中国", "pdf"],
}


def datatrove_keeps(table: pa.Table, lists: dict[str, list[str]], folder: Path, monkeypatch: Any) -> list[bool]:
    """Return datatrove's verdicts, with a file of each list in `folder` where it would look for its own."""
    from datatrove.data import Document

    for code, words in lists.items():
        (folder / code).write_text("".join(f"{word.strip().lower()}\n" for word in words), encoding="utf-8")
    monkeypatch.setattr(c4_filters, "_BADWORDS_LANGS", sorted(lists))
    monkeypatch.setattr(
        c4_filters, "cached_asset_path_or_download", lambda url, **_: str(folder / url.rsplit("/", 1)[1])
    )
    judge = c4_filters.C4BadWordsFilter(fail_on_missing_language=False)
    return [
        judge.filter(Document(text=text, id="", metadata={"language": code})) is True
        for text, code in zip(table["text"].to_pylist(), table["language.code"].to_pylist(), strict=True)
    ]


def ours(table: pa.Table, path: str) -> list[bool]:
    text, codes = table["text"].combine_chunks(), table["language.code"]
    counts = measure_bad_words(text, {"bad-words": path}, codes)["bad_words.count"].to_pylist()
    return [not count for count in counts]


def test_decides_as_datatrove_on_every_page_with_harmless_lists(
    crawl_texts: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps(HARMLESS), encoding="utf-8")
    keeps = datatrove_keeps(crawl_texts, HARMLESS, tmp_path, monkeypatch)
    assert ours(crawl_texts, str(path)) == keeps
    found = [code for code, keep in zip(crawl_texts["language.code"].to_pylist(), keeps, strict=True) if not keep]
    assert len(found) > 200
    assert set(HARMLESS) >= set(found) >= {"de", "en", "es", "fr", "ja", "ru", "zh"}


def test_decides_as_datatrove_on_every_page_with_the_lists_of_c4(
    crawl_texts: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        path = assets.path("bad-words")
    except AssetError as error:
        pytest.skip(str(error))
    lists = json.loads(Path(path).read_bytes())
    keeps = datatrove_keeps(crawl_texts, lists, tmp_path, monkeypatch)
    assert ours(crawl_texts, path) == keeps
    print(f"\nc4_bad_words: the same decision on all {len(keeps)} pages, {keeps.count(False)} of them dropped")
