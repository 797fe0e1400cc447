"""The built-in sample crawl is real WARC, always the same, and says the truth about itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from curate.pipelines.sample import FILES, TRUTH, load_sites, parse_articles, write_sample
from curate.pipelines.sample_odd import near_copy
from curate.pipelines.sample_page import slug

# The digest of every capture's URL, date and decoded body, in order. It changes only when a text or a page of the
# sample changes on purpose; then put the new value here.
CAPTURES_SHA256 = "3930dfd0c35042716c2a3c7cc7ce3eef465e7b75592acf8a7e291ac1a684ad2f"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, written."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(str(folder))
    return folder


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[str, dict[str, Any]]:
    """The truth about each capture, by record id."""
    lines = (folder / TRUTH).read_text(encoding="utf-8").splitlines()
    return {line["record_id"]: line for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def responses(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Content-Type and decoded body of each response, by record id, as warcio reads them."""
    found = {}
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream):
                if record.rec_type == "response":
                    kind = record.http_headers.get_header("Content-Type") or ""
                    found[record.rec_headers["WARC-Record-ID"]] = (kind, record.content_stream().read())
    return found


def normal(text: str) -> str:
    return "".join(text.split())


def test_every_call_writes_the_same_bytes(folder, tmp_path):
    paths = write_sample(str(tmp_path))
    assert [Path(path).name for path in paths] == [*[f"sample-{n:05d}.warc.gz" for n in range(FILES)], TRUTH]
    for path in map(Path, paths):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_the_captures_are_those_of_every_other_machine(truth, responses):
    digest = hashlib.sha256()
    for record_id, line in truth.items():
        # decoded bodies: the compressed ones depend on the zlib that Python was built with
        digest.update(f"{line['url']} {line['date']} {responses.get(record_id)}\n".encode())
    assert digest.hexdigest() == CAPTURES_SHA256


def test_warcio_reads_every_record_and_agrees_with_every_digest(folder, truth):
    kinds: Counter[str] = Counter()
    ids = set()
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, check_digests=True):
                record.content_stream().read()
                assert record.digest_checker.passed is not False, record.digest_checker.problems
                kinds[record.rec_type] += 1
                ids.add(record.rec_headers["WARC-Record-ID"])
                if record.rec_type in {"response", "revisit"}:
                    told = truth[record.rec_headers["WARC-Record-ID"]]
                    assert told["file"] == path.name
                    assert told["url"] == record.rec_headers["WARC-Target-URI"]
                    assert told["date"] == record.rec_headers["WARC-Date"]
    assert set(kinds) == {"warcinfo", "request", "response", "revisit"}
    assert kinds["response"] + kinds["revisit"] == len(truth)
    assert len(ids) == sum(kinds.values()), "record ids are unique"


def test_a_revisit_refers_to_a_capture_that_is_there(folder, truth):
    captures = {}
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream):
                captures[record.rec_headers["WARC-Record-ID"]] = record.rec_headers
    revisits = [headers for headers in captures.values() if headers["WARC-Type"] == "revisit"]
    assert len(revisits) >= 5
    for headers in revisits:
        first = captures[headers["WARC-Refers-To"]]
        assert first["WARC-Payload-Digest"] == headers["WARC-Payload-Digest"]
        assert first["WARC-Date"] == headers["WARC-Refers-To-Date"] < headers["WARC-Date"]
        assert first["WARC-Target-URI"] == headers["WARC-Refers-To-Target-URI"]


def test_the_sample_has_what_the_web_has(truth):
    pages = [line for line in truth.values() if line["expect"] == "document"]
    assert len(pages) >= 200
    languages = Counter(line["language"] for line in pages)
    assert len(languages) >= 12
    assert languages.most_common(1)[0][0] == "en"
    kinds = Counter(line["kind"] for line in truth.values())
    least = {
        "article": 120, "code": 12, "mirror": 20, "near-copy": 20, "older-capture": 5, "url-variant": 5, "revisit": 5,
        "spam": 10, "thin": 10, "listing": 10, "broken-html": 10, "broken-encoding": 8, "lorem": 1, "braces": 1,
        "odd-layout": 2, "not-found": 1, "redirect": 1, "server-error": 1, "other-type": 5, "empty": 1, "no-type": 1,
    }  # fmt: skip
    assert {kind: count for kind, count in least.items() if kinds[kind] < count} == {}
    texts = {line["text"] for line in truth.values()}
    assert sum(len(text.encode()) for text in texts) > 250_000
    assert sum(line["kind"] == "article" and line["language"] == "en" for line in truth.values()) >= 60


def test_both_codings_of_bodies_and_many_character_sets_occur(folder, truth):
    codings: Counter[str] = Counter()
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream):
                if record.rec_type == "response":
                    for name in ("Content-Encoding", "Transfer-Encoding", "Content-Length"):
                        codings[name] += record.http_headers.get_header(name) is not None
    assert min(codings.values()) >= 20
    sets = {line["note"].split(",")[0] for line in truth.values() if "header says" in line["note"]}
    assert {"windows-1251", "koi8-r", "shift_jis", "euc_jp", "gb18030", "euc_kr", "windows-1256", "utf-16-le"} <= sets


def test_the_true_text_is_in_the_page(truth, responses):
    checked = 0
    for record_id, line in truth.items():
        if line["kind"] in {"article", "mirror", "near-copy", "url-variant", "older-capture"} and not line["note"]:
            html = responses[record_id][1].decode("utf-8")
            seen = normal(re.sub(r"<[^>]*>", "", html).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
            assert all(normal(paragraph) in seen for paragraph in line["text"].split("\n\n") if paragraph)
            checked += 1
    assert checked > 150


def test_pages_in_other_character_sets_decode_to_their_text(truth, responses):
    checked = 0
    for record_id, line in truth.items():
        if line["kind"] == "article" and "header says" in line["note"]:
            page = responses[record_id][1].decode(line["note"].split(",")[0])
            first = line["text"].split("\n\n")[0].split("’")[0][:40]
            assert first in page, line["note"]
            checked += 1
    assert checked >= 12


def test_a_mirror_is_its_original_and_a_near_copy_almost(truth, responses):
    by_url = {line["url"]: (record_id, line) for record_id, line in truth.items() if line["kind"] != "older-capture"}
    same = 0
    for record_id, line in truth.items():
        if line["kind"] not in {"mirror", "near-copy"}:
            continue
        first_id, first = by_url[line["of"]]
        if line["kind"] == "mirror":
            assert line["text"] == first["text"]
            if line["note"] == "same page" and not first["note"]:
                same += responses[record_id][1] == responses[first_id][1]
        else:
            assert line["text"] != first["text"]
            words, others = set(line["text"].split()), set(first["text"].split())
            if len(words) > 50:  # languages that write words apart
                assert len(words & others) / len(words | others) > 0.7
    assert same >= 8


def test_no_two_sites_share_a_text(truth):
    texts = [line["text"] for line in truth.values() if line["kind"] in {"article", "code"}]
    assert len(set(texts)) == len(texts)
    paragraphs = Counter(paragraph for text in texts for paragraph in text.split("\n\n") if len(paragraph) > 40)
    assert paragraphs.most_common(1)[0][1] == 1


def test_every_english_article_has_the_form_of_clean_prose():
    for site in load_sites():
        if site.language == "en" and site.name != "code":
            for article in site.articles:
                words = article.text.split()
                assert len(words) >= 120, article.title
                assert len(re.findall(r"[.!?]", article.text)) >= 8, article.title
                assert all(re.search(r"[.!?]$", block.text) for block in article.blocks), article.title
                assert not re.search(r"[{}]|lorem|javascript|cookie", article.text, re.IGNORECASE), article.title
                assert len({"the", "be", "to", "of", "and", "that", "have", "with"} & set(words)) >= 2, article.title


def test_source_code_in_a_text_is_one_block_with_its_language():
    (article,) = parse_articles("# Title\n\nFirst.\n\n```sh\n# comment\n\necho\n```\n\nLast.\n")
    assert [(block.text, block.code) for block in article.blocks] == [
        ("First.", ""),
        ("# comment\n\necho", "sh"),
        ("Last.", ""),
    ]


def test_a_near_copy_loses_a_sentence_and_gains_a_line_of_credit():
    (article,) = parse_articles("# T\n\nThis is a test.\n\nOne. Two. Three.\n\nEnd.\n")
    assert [block.text for block in near_copy(article, "en", 0).blocks][:3] == [
        "This was one test.",
        "One. Two.",
        "End.",
    ]


def test_slugs_keep_every_script_and_are_ascii():
    assert slug("What salt does, in the kitchen?") == "what-salt-does-in-the-kitchen"
    assert slug("मधुमक्खी का रास्ता").isascii()
    assert "-" in slug("Ночной поезд")
