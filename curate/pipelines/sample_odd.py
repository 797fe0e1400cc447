"""What goes wrong on the web, for the sample crawl: character sets, broken HTML, near-copies, spam, other files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from curate.pipelines.sample_html import Block, render
from curate.pipelines.sample_page import Article, Page, Site, html_page

Encoded = Callable[[Site, int], Page]


def _encoded(charset: str, header: str, meta: str, kind: str = "article", cut: int = 0, bom: bytes = b"") -> Encoded:
    """Return a maker of pages in `charset` that declare `header` in HTTP and `meta` in HTML ("" declares nothing);
    the last `cut` bytes are missing.
    """

    def make(site: Site, number: int) -> Page:
        html = html_page(site, number, meta or "utf-8")
        if not meta:
            html = re.sub(r"<meta charset[^>]*>\n|<META HTTP-EQUIV[^>]*>\n", "", html)
        body = bom + html.encode(charset, "xmlcharrefreplace")
        note = f"{charset}, header says {header or 'nothing'}, meta says {meta or 'nothing'}" + (", cut" if cut else "")
        page = Page(
            site.url(number), site.language, kind, body[: len(body) - cut], site.articles[number].text, note=note
        )
        return page._replace(content_type="text/html" + (f"; charset={header}" if header else ""))

    return make


def _twice_encoded(site: Site, number: int) -> Page:
    """UTF-8 that was read as windows-1252 and written as UTF-8 again: lost, but valid."""
    body = html_page(site, number).encode().decode("cp1252", "replace").encode()
    return Page(
        site.url(number), site.language, "broken-encoding", body, site.articles[number].text, note="UTF-8 twice"
    )


def _invalid_bytes(site: Site, number: int) -> Page:
    """UTF-8 in which two bytes were lost to an old editor."""
    body = html_page(site, number).encode().replace("ß".encode(), b"\xdf", 2)
    return Page(
        site.url(number), site.language, "broken-encoding", body, site.articles[number].text, note="invalid bytes"
    )


def _cut_in_a_character(site: Site, number: int) -> Page:
    """A page whose transfer stopped in the middle of a character of the last paragraph."""
    data = html_page(site, number).encode()
    end = data.index(site.articles[number].blocks[-1].text.encode()) + 100
    while data[end] & 0xC0 != 0x80:
        end += 1
    text = "\n\n".join(block.text for block in site.articles[number].blocks[:-1])
    return Page(site.url(number), site.language, "broken-encoding", data[:end], text, note="cut inside a character")


ENCODINGS: Final[dict[tuple[str, int], Encoded]] = {
    ("ru", 1): _encoded("windows-1251", "windows-1251", "windows-1251"),
    ("ru", 2): _encoded("koi8-r", "", "koi8-r"),
    ("ru", 3): _encoded("windows-1251", "utf-8", "", "broken-encoding"),
    ("ru", 4): _encoded("windows-1251", "", "", "broken-encoding"),
    ("ja", 1): _encoded("shift_jis", "Shift_JIS", "shift_jis"),
    ("ja", 2): _encoded("euc_jp", "", "euc-jp"),
    ("ja", 3): _encoded("shift_jis", "", "", "broken-encoding"),
    ("zh", 1): _encoded("gb18030", "gb18030", "gb18030"),
    ("zh", 2): _encoded("gbk", "", "gb2312"),
    ("zh", 3): _cut_in_a_character,
    ("ko", 1): _encoded("euc_kr", "euc-kr", "euc-kr"),
    ("ar", 1): _encoded("windows-1256", "windows-1256", "windows-1256"),
    ("tr", 1): _encoded("iso8859-9", "ISO-8859-9", "iso-8859-9"),
    ("pl", 1): _encoded("iso8859-2", "", "iso-8859-2"),
    ("es", 1): _encoded("iso8859-15", "ISO-8859-15", "iso-8859-15"),
    ("de", 1): _encoded("latin-1", "", "iso-8859-1"),
    ("de", 2): _encoded("utf-8", "iso-8859-1", "utf-8", "broken-encoding"),
    ("de", 3): _invalid_bytes,
    ("fr", 1): _encoded("windows-1252", "utf-8", "utf-8", "broken-encoding"),
    ("fr", 2): _twice_encoded,
    ("en-home", 1): _encoded("utf-16-le", "", "", bom=b"\xff\xfe"),
    ("en-home", 2): _encoded("utf-8", "", "utf-8", bom=b"\xef\xbb\xbf"),
}
"""Pages that are not plain UTF-8, by site and number of the article."""


def breakages() -> list[tuple[str, str, Callable[[str], str]]]:
    """Return ways to break a page of HTML: a name, what to expect of the page, the function."""
    noise = "<script>var s = '</p><p>not text</p>'; if (1 < 2) { document.write(s) }</script>"
    return [
        (
            "no closing tags",
            "document",
            lambda html: re.sub(r"</(p|div|article|main|body|html|li|ul)>", "", html, flags=re.IGNORECASE),
        ),
        ("misnested tags", "document", lambda html: html.replace("<p>", "<p><b><i>").replace("</p>", "</b></p></i>")),
        ("no skeleton", "document", lambda html: "\n".join(re.findall(r"<[pP]>.*</[pP]>", html))),
        ("cut inside a tag", "document", lambda html: html[: html.rindex("</footer")] + '<div class="foo'),
        ("open comment", "document", lambda html: html.replace("<footer", "<!-- to do <footer")),
        ("bare < and &", "document", lambda html: html.replace("<h1>", "<h1>3 < 4 & 5 > 4: ")),
        ("NUL bytes", "document", lambda html: html.replace("<p>", "<p>\0").replace(", ", "\0, ", 3)),
        ("tags in scripts", "document", lambda html: html.replace("<p>", noise + "<p>", 2)),
        ("two bodies", "document", lambda html: html.replace("<body>", "<body><body class=b>") + "</body></html>"),
        ("huge attribute", "document", lambda html: html.replace("<body>", f"<body data-state='{'%7B' * 20_000}'>")),
        ("3000 levels deep", "error", lambda html: html.replace("<p>", "<div>" * 3000 + "<p>", 1)),
        ("over 8 MB", "error", lambda html: html.replace("<body>", "<body>" + "<!-- filler -->\n" * 600_000)),
    ]


def near_copy(article: Article, language: str, number: int) -> Article:
    """Return the article as somebody else would reprint it: a sentence less, one word changed, a line of credit."""
    blocks = list(article.blocks)
    victim = 1 + number % (len(blocks) - 1)
    sentences = re.findall(r".*?[.!?…。！？؟।]+[”\"»]?\s*|.+$", blocks[victim].text)
    blocks[victim] = Block("".join(sentences[:-1]).rstrip() if len(sentences) > 2 else blocks[victim].text)
    if language == "en":
        blocks[0] = Block(blocks[0].text.replace(" is ", " was ", 1).replace(" a ", " one ", 1))
        blocks.append(
            Block("This text was first printed in the spring number of our magazine, and we thank its author.")
        )
    elif len(sentences) <= 2:
        blocks.pop()
    return Article(article.title, tuple(blocks))


def odd_pages(entries: Sequence[dict[str, Any]], site: Site) -> list[Page]:
    """Return the pages that ``odd.toml`` describes, on the hosts that such pages come from."""
    pages = []
    for number, entry in enumerate(entries):
        lines = list(entry.get("lines", [])) * entry.get("repeat", 1)
        if "words" in entry:
            lines.append(_drawn(entry["words"], entry["draw"], entry["name"]))
        host = f"www.{entry['kind']}-{number % 3}.example"
        english = site._replace(host=host, name=host, language="en", articles=(Article(entry["title"], ()),))
        blocks = tuple(Block(line) for line in lines)
        body = render(number % 5, entry["title"], blocks, english.setting(0)).encode()
        pages.append(Page(f"https://{host}/{entry['name']}", "en", entry["kind"], body, "\n\n".join(lines)))
    return pages


def _drawn(words: Sequence[str], count: int, seed: str) -> str:
    """Return `count` of the words in an order that SHA-256 decides."""
    picks = (hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(count))
    return " ".join(words[int.from_bytes(pick[:4], "big") % len(words)] for pick in picks)


def other_types(site: Site) -> list[Page]:
    """Return captures that are no documents: other statuses and other types, and an empty page."""

    def made(path: str, kind: str, content_type: str, body: bytes, **more: Any) -> Page:
        return Page(
            f"https://{site.host}/{path}", "", kind, body, "", expect="skipped", content_type=content_type, **more
        )

    html = "text/html; charset=utf-8"
    gone = b"<html><body><h1>Not found</h1><p>There is no such page.</p></body></html>"
    moved = site.url(0)
    return [
        *[made(f"gone/{n}.html", "not-found", html, gone, status=404, reason="Not Found") for n in range(4)],
        *[
            made(f"old/{n}", "redirect", "", b"", status=status, reason=reason, location=moved)
            for n, (status, reason) in enumerate([(301, "Moved Permanently"), (302, "Found")])
        ],
        made(
            "busy", "server-error", html, b"<h1>Please try again later.</h1>", status=503, reason="Service Unavailable"
        ),
        made("logo.png", "other-type", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(64)),
        made("list.pdf", "other-type", "application/pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n%%EOF\n"),
        made("data.json", "other-type", "application/json", b'{"bread": ["rye", "wheat"], "ovens": 2}'),
        made("style.css", "other-type", "text/css", b"p { margin: 0 }"),
        made("program.js", "other-type", "text/javascript", b"console.log('hello')"),
        made("download", "other-type", "application/octet-stream", bytes(range(256))),
        made("empty.html", "empty", html, b"")._replace(expect="document or error"),
        made("missing-type", "no-type", "", html_page(site, 0).encode())._replace(expect="document or skipped"),
    ]
