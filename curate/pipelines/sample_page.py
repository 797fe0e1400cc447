"""The words of the sample crawl: an article, the site that it stands on, and a page as a crawler captures it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from curate.pipelines.sample_html import Block, Setting, listing, render


class Article(NamedTuple):
    """A text with its title."""

    title: str
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, title: str, blocks: Sequence[tuple[str, str]]) -> Article:
        """Return the article of a title and (text, code language) pairs."""
        return cls(title, tuple(Block(text, code) for text, code in blocks))

    @property
    def text(self) -> str:
        """The paragraphs, without the title, an empty line between them."""
        return "\n\n".join(block.text for block in self.blocks)


class Page(NamedTuple):
    """One capture of a URL. `body` holds the bytes before content and transfer coding, `text` what a reader would call
    the page's text, `of` the URL that it copies, `days` its distance from the main crawl.
    """

    url: str
    language: str
    kind: str
    body: bytes
    text: str
    note: str = ""
    of: str = ""
    expect: str = "document"
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    reason: str = "OK"
    location: str = ""
    days: int = 0


class Site(NamedTuple):
    """A host whose pages share a language and a layout (0 to 4)."""

    name: str
    host: str
    language: str
    layout: int
    words: dict[str, Any]
    articles: tuple[Article, ...]

    def url(self, number: int) -> str:
        """Return the address of the site's article of that number."""
        name = slug(self.articles[number].title)
        paths = (
            f"2023/{number + 1:02d}/{name}/",
            f"page{number}.htm",
            f"articles/{name}",
            f"{name}-{10_000 + 37 * number}.html",
        )
        return f"https://{self.host}/{(*paths, f'wiki/{name}')[self.layout]}"

    def setting(self, number: int, charset: str = "utf-8") -> Setting:
        """Return what surrounds the article of that number: the next three articles are its neighbours."""
        near = [(number + step) % len(self.articles) for step in (1, 2, 3)]
        related = [(self.articles[n].title, self.url(n)) for n in near if n != number]
        return Setting(self.host, self.language, self.words, related, charset)

    def listing(self) -> Page:
        """Return the page that lists the site's articles."""
        title = self.words["menu"][1]
        links = [(article.title, self.url(number)) for number, article in enumerate(self.articles)]
        text = "\n".join(article.title for article in self.articles)
        body = listing(title, links, self.setting(0)).encode()
        return Page(f"https://{self.host}/", self.language, "listing", body, text)


def html_page(site: Site, number: int, charset: str = "utf-8") -> str:
    """Return the HTML of an article on its site."""
    article = site.articles[number]
    return render(site.layout, article.title, article.blocks, site.setting(number, charset))


def slug(title: str) -> str:
    """Return a title as a part of a URL: lower case, hyphens, percent-encoded where it is not ASCII."""
    return quote(re.sub(r"[\s,.:;!?'’]+", "-", title.lower()).strip("-"))
