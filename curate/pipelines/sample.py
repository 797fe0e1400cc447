"""The built-in sample crawl: some three hundred captures of small web sites, as real WARC files.

The texts (``sample/*.md``) were written for this project. They are served from made-up hosts in five layouts, with the
company that a crawl keeps: mirrors, near-copies, older captures, revisits, spam, thin pages, broken HTML, wrong and
unusual character sets, redirects, errors and files that are no pages. ``.truth.jsonl`` says for every capture what it
is, so that tests can ask whether the pipeline saw the same. No chance is involved: every call writes the same records.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final

from curate import storage
from curate.pipelines import sample_warc as warc
from curate.pipelines.sample_odd import ENCODINGS, breakages, near_copy, odd_pages, other_types
from curate.pipelines.sample_page import Article, Page, Site, html_page, slug

FILES: Final = 4
TRUTH: Final = ".truth.jsonl"
"""Hidden, so that a folder given as input holds the crawl alone."""
_START: Final = datetime(2024, 3, 1, 6, tzinfo=UTC)
_BROKEN_SITE: Final = "en-nature"


def write_sample(folder: str) -> list[str]:
    """Write ``sample-00000.warc.gz`` … and ``.truth.jsonl`` into a folder or URI prefix; return their paths.

    A line of the truth holds file, record_id, url, date, status, language ("" if there is no text), kind, note, of (the
    URL that a copy was made from), expect (``document``, ``skipped`` or ``error``) and the text that a reader would see
    as the page's own. Existing files of these names are replaced.
    """
    captures = _dated(sample_pages())
    records: list[list[bytes]] = [[_warcinfo(file)] for file in range(FILES)]
    truth: list[dict[str, Any]] = []
    for number, (page, date, first_date) in enumerate(captures):
        file = number % FILES
        kind, made = _capture(page, date, first_date)
        if number % 3 == 0:
            records[file].append(warc.request(page.url, date))
        records[file].append(made)
        truth.append(_truth_line(_name(file), warc.record_id(kind, page.url, date), page, date))
    files = {_name(file): b"".join(members) for file, members in enumerate(records)}
    files[TRUTH] = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in truth).encode()
    storage.make_folder(folder)
    for name, data in files.items():
        storage.write_bytes(storage.join(folder, name), data)
    return [storage.join(folder, name) for name in files]


def sample_pages() -> list[Page]:
    """Return every capture of the sample crawl, before it is dated and spread over files."""
    sites = load_sites()
    pages = [page for site in sites for page in _site_pages(site)]
    # copies are made of pages that nothing is wrong with
    plain = {page.url for page in pages if page.kind in {"article", "code"} and not page.note}
    texts = [(site, number) for site in sites for number in range(len(site.articles)) if site.url(number) in plain]
    prose = [(site, number) for site, number in texts if site.name != "code"]
    english = [(site, number) for site, number in prose if site.language == "en"]
    pages += _mirrors(texts[::7])
    pages += _near_copies(prose[3::7])
    pages += _recaptures(english[4::10])
    pages += odd_pages(_toml("odd.toml")["page"], sites[0])
    pages += other_types(sites[0])
    return pages


def load_sites() -> list[Site]:
    """Return the sites, each with its articles: one site per text file."""
    words = _toml("boilerplate.toml")
    folder = resources.files("curate.pipelines") / "sample"
    names = sorted(entry.name.removesuffix(".md") for entry in folder.iterdir() if entry.name.endswith(".md"))
    sites = []
    for number, name in enumerate(names):
        language = "en" if name == "code" else name[:2]
        articles = parse_articles((folder / f"{name}.md").read_text(encoding="utf-8"))
        sites.append(Site(name, f"www.{name}.example", language, number % 5, words[language], articles))
    return sites


def parse_articles(text: str) -> tuple[Article, ...]:
    """Read ``# Title`` headings, paragraphs between empty lines, and fenced code."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    code: list[str] | None = None
    language = ""
    for line in text.splitlines():
        if line.startswith("```") and code is None:
            code, language = [], line.removeprefix("```")
        elif line.startswith("```") and code is not None:
            found[-1][1].append(("\n".join(code), language))
            code = None
        elif code is not None:
            code.append(line)
        elif line.startswith("# "):
            found.append((line.removeprefix("# "), []))
        elif line:
            found[-1][1].append((line, ""))
    return tuple(Article.of(title, blocks) for title, blocks in found)


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("curate.pipelines") / "sample" / name).read_text(encoding="utf-8"))


def _site_pages(site: Site) -> list[Page]:
    """Return the pages of one site and the page that lists them."""
    broken = breakages() if site.name == _BROKEN_SITE else []
    pages = []
    for number, article in enumerate(site.articles):
        url = site.url(number)
        if (site.name, number) in ENCODINGS:
            pages.append(ENCODINGS[site.name, number](site, number))
        elif number < len(broken):
            note, expect, break_it = broken[number]
            body = break_it(html_page(site, number)).encode()
            pages.append(Page(url, site.language, "broken-html", body, article.text, note=note, expect=expect))
        elif site.name == "en-town" and number in (3, 9):
            body = f"{article.title}\n\n{article.text}\n".encode()
            page = Page(f"{url}.txt", "en", "article", body, article.text, note="plain text")
            pages.append(page._replace(content_type="text/plain; charset=utf-8"))
        else:
            kind = "code" if site.name == "code" else "article"
            pages.append(Page(url, site.language, kind, html_page(site, number).encode(), article.text))
    return [*pages, site.listing()]


def _mirrors(chosen: Sequence[tuple[Site, int]]) -> list[Page]:
    """Serve the same text from another host: every other time as the very same page, else in the next layout."""
    pages = []
    for count, (site, number) in enumerate(chosen):
        article = site.articles[number]
        url = f"https://mirror-{count % 3}.example/{site.name}/{slug(article.title)}"
        same = count % 2 == 0
        body = html_page(site if same else site._replace(layout=(site.layout + 1) % 5), number)
        note = "same page" if same else "other layout"
        pages.append(Page(url, site.language, "mirror", body.encode(), article.text, note=note, of=site.url(number)))
    return pages


def _near_copies(chosen: Sequence[tuple[Site, int]]) -> list[Page]:
    """Serve a text with small edits from another host."""
    pages = []
    for count, (site, number) in enumerate(chosen):
        article = site.articles[number]
        edited = near_copy(article, site.language, count)
        articles = (*site.articles[:number], edited, *site.articles[number + 1 :])
        body = html_page(site._replace(articles=articles, layout=(site.layout + count) % 5), number)
        url = f"https://reprints-{count % 4}.example/{slug(article.title)}.html"
        pages.append(Page(url, site.language, "near-copy", body.encode(), edited.text, of=site.url(number)))
    return pages


def _recaptures(chosen: Sequence[tuple[Site, int]]) -> list[Page]:
    """Capture pages again: years before, when they were shorter; under another spelling of the URL; unchanged."""
    pages = []
    for site, number in chosen:
        article = site.articles[number]
        url, body = site.url(number), html_page(site, number).encode()
        shorter = Article(article.title, article.blocks[:-1])
        articles = (*site.articles[:number], shorter, *site.articles[number + 1 :])
        old = html_page(site._replace(articles=articles), number).encode()
        pages.append(Page(url, "en", "older-capture", old, shorter.text, of=url, days=-1000))
        spelled = url.replace("https://www.", "http://WWW.") + "?utm_source=letter&utm_medium=mail#top"
        pages.append(Page(spelled, "en", "url-variant", body, article.text, of=url, days=3))
        pages.append(Page(url, "en", "revisit", body, article.text, of=url, expect="skipped", days=7))
    return pages


def _dated(pages: Sequence[Page]) -> list[tuple[Page, datetime, datetime]]:
    """Return pages in the order of the crawl (by digest, as a crawler's queue mixes hosts), each with its date and the
    date of the capture that it repeats.
    """
    order = sorted(pages, key=lambda page: hashlib.sha256(f"{page.url} {page.days}".encode()).digest())
    dates = {(page.url, page.days): _START + timedelta(days=page.days, seconds=7 * n) for n, page in enumerate(order)}
    return [(page, dates[page.url, page.days], dates.get((page.of, 0), _START)) for page in order]


def _name(file: int) -> str:
    return f"sample-{file:05d}.warc.gz"


def _warcinfo(file: int) -> bytes:
    fields = [
        ("software", "curate sample"),
        ("format", "WARC file version 1.1"),
        ("description", "A made-up crawl of made-up sites, for demonstrations and tests"),
        ("license", "Apache-2.0"),
    ]
    return warc.warcinfo(_name(file), _START, fields)


def _capture(page: Page, date: datetime, first_date: datetime) -> tuple[str, bytes]:
    """Return the type of a capture's WARC record and the record."""
    line = f"HTTP/1.1 {page.status} {page.reason}"
    headers = [("Server", "sample"), *([("Content-Type", page.content_type)] if page.content_type else [])]
    headers += [("Location", page.location)] if page.location else []
    codings, body = _coded(page)
    headers += codings
    if page.kind == "revisit":
        return "revisit", warc.revisit(page.url, date, first_date, warc.http_message(line, headers, b""), body)
    # what a crawler's own detection would say
    detected = page.content_type.split(";")[0] if page.status == 200 and page.body else ""
    return "response", warc.response(page.url, date, warc.http_message(line, headers, body), body, detected)


def _coded(page: Page) -> tuple[list[tuple[str, str]], bytes]:
    """Return the headers and the body of a page in the codings that its server prefers."""
    taste = hashlib.sha256(page.url.encode()).digest()
    body, headers = page.body, []
    if taste[0] % 7 == 0 and body:
        body = warc.gzipped(body)
        headers.append(("Content-Encoding", "gzip"))
    if taste[1] % 5 == 0:
        return [*headers, ("Transfer-Encoding", "chunked")], warc.chunked(body)
    return [*headers, ("Content-Length", str(len(body)))], body


def _truth_line(file: str, record_id: str, page: Page, date: datetime) -> dict[str, Any]:
    return {
        "file": file,
        "record_id": record_id,
        "url": page.url,
        "date": warc.warc_date(date),
        "status": page.status,
        "language": page.language,
        "kind": page.kind,
        "note": page.note,
        "of": page.of,
        "expect": page.expect,
        "text": page.text,
    }
