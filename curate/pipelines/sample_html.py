"""Five page layouts for the built-in sample crawl: the text of an article inside the furniture of a web site.

A blog, a table layout of the nineties, nested ``div`` elements with scripts and a cookie banner, a news page with
comments, and a wiki with section links and footnote marks. All of it is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final, NamedTuple


class Block(NamedTuple):
    """A paragraph, or a piece of source code if `code` names its language."""

    text: str
    code: str = ""


class Setting(NamedTuple):
    """Where a page stands: its site's host, the words around the text, and titles and addresses of its neighbours."""

    host: str
    language: str
    words: dict[str, Any]
    related: Sequence[tuple[str, str]]
    charset: str = "utf-8"


def render(layout: int, title: str, blocks: Sequence[Block], setting: Setting) -> str:
    """Return the HTML page of a text in layout 0 to 4."""
    return LAYOUTS[layout](title, blocks, setting)


def listing(title: str, links: Sequence[tuple[str, str]], setting: Setting) -> str:
    """Return a page that only links to others."""
    items = "\n".join(f'<li><a href="{escape(url)}">{escape(text)}</a></li>' for text, url in links)
    return _page(
        title, f"{_menu(setting)}\n<h1>{escape(title)}</h1>\n<ul>\n{items}\n</ul>\n{_footer(setting)}", setting
    )


def _block(block: Block, paragraph: str = "p") -> str:
    if block.code:
        return f'<pre><code class="language-{block.code}">{escape(block.text, quote=False)}</code></pre>'
    return f"<{paragraph}>{escape(block.text, quote=False)}</{paragraph}>"


def _page(title: str, body: str, setting: Setting, head: str = "") -> str:
    direction = ' dir="rtl"' if setting.language == "ar" else ""
    return (
        f'<!DOCTYPE html>\n<html lang="{setting.language}"{direction}>\n<head>\n<meta charset="{setting.charset}">\n'
        f"<title>{escape(title)} – {setting.host}</title>\n{head}</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _menu(setting: Setting) -> str:
    links = " ".join(f'<a href="/{number}">{escape(word)}</a>' for number, word in enumerate(setting.words["menu"]))
    return f'<header class="site-header"><nav class="menu">{links}</nav></header>'


def _related(setting: Setting) -> str:
    items = "".join(f'<li><a href="{escape(url)}">{escape(text)}</a></li>' for text, url in setting.related)
    return f'<aside class="sidebar"><h3>{escape(setting.words["related"])}</h3><ul>{items}</ul></aside>'


def _footer(setting: Setting) -> str:
    return f'<footer class="footer">© 2024 {setting.host}. {escape(setting.words["rights"])}</footer>'


def _cookies(setting: Setting) -> str:
    return (
        f'<div id="cookie-banner" class="cookie-consent" role="dialog">{escape(setting.words["cookies"])} '
        f"<button>{escape(setting.words['accept'])}</button></div>"
    )


def _blog(title: str, blocks: Sequence[Block], setting: Setting) -> str:
    text = "\n".join(_block(block) for block in blocks)
    main = f"<main>\n<article>\n<h1>{escape(title)}</h1>\n{text}\n</article>\n</main>"
    return _page(title, f"{_menu(setting)}\n{main}\n{_related(setting)}\n{_footer(setting)}", setting)


def _table(title: str, blocks: Sequence[Block], setting: Setting) -> str:
    links = "<BR>\n".join(f'<A HREF="/{n}.htm">{escape(word)}</A>' for n, word in enumerate(setting.words["menu"]))
    text = "\n".join(_block(block, "P") for block in blocks)
    return (
        f'<HTML>\n<HEAD>\n<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset={setting.charset}">\n'
        f'<TITLE>{escape(title)}</TITLE>\n</HEAD>\n<BODY BGCOLOR="#FFFFF0">\n<TABLE WIDTH="100%" CELLPADDING=6>\n<TR>\n'
        f'<TD WIDTH=150 VALIGN=top CLASS="navigation">{links}</TD>\n'
        f"<TD VALIGN=top>\n<H1>{escape(title)}</H1>\n{text}\n</TD>\n</TR>\n</TABLE>\n<HR>\n"
        f'<CENTER><FONT SIZE=1 CLASS="footer">{escape(setting.words["rights"])}</FONT></CENTER>\n</BODY>\n</HTML>\n'
    )


def _divs(title: str, blocks: Sequence[Block], setting: Setting) -> str:
    head = (
        "<style>.content p { margin: 0 0 1em } .sidebar { float: right }</style>\n"
        "<script>window.dataLayer = window.dataLayer || []; function gtag() { dataLayer.push(arguments) }</script>\n"
    )
    text = "\n".join(f'<div class="row"><div class="col">{_block(block)}</div></div>' for block in blocks)
    body = (
        f"{_cookies(setting)}\n{_menu(setting)}\n"
        f'<div class="page"><div class="wrapper"><div class="content" id="content">\n'
        f"<h1>{escape(title)}</h1>\n{text}\n</div></div></div>\n{_related(setting)}\n{_footer(setting)}\n"
        '<script>document.querySelector("#cookie-banner button").onclick = '
        "function () { this.parentNode.remove() }</script>"
    )
    return _page(title, body, setting, head)


def _news(title: str, blocks: Sequence[Block], setting: Setting) -> str:
    words = setting.words
    text = "\n".join(_block(block) for block in blocks)
    replies = "".join(f'<li class="comment"><p>{escape(reply)}</p></li>' for reply in words["replies"])
    share = f'<div class="social share-buttons"><span>{escape(words["share"])}</span> <a href="#m">Mail</a></div>'
    body = (
        f"{_menu(setting)}\n<article>\n<header><h1>{escape(title)}</h1></header>\n{share}\n{text}\n"
        f'<div class="newsletter promo">{escape(words["promo"])}</div>\n</article>\n'
        f'<section id="comments" class="comments"><h2>{escape(words["comments"])}</h2><ol>{replies}</ol></section>\n'
        f"{_related(setting)}\n{_cookies(setting)}\n{_footer(setting)}"
    )
    return _page(title, body, setting, f'<meta name="description" content="{escape(blocks[0].text[:120])}">\n')


def _wiki(title: str, blocks: Sequence[Block], setting: Setting) -> str:
    parts = []
    for number, block in enumerate(blocks, 1):
        mark = f'<sup class="reference"><a href="#note-{number}">[{number}]</a></sup>' if number % 2 else ""
        parts.append(_block(block).removesuffix("</p>") + mark + "</p>" if not block.code else _block(block))
    text = "\n".join(parts)
    notes = "".join(f'<li id="note-{number}">{setting.host}, {number}</li>' for number in range(1, len(blocks) + 1, 2))
    body = (
        f'<div id="mw-navigation" class="navigation">{_menu(setting)}</div>\n'
        f'<div id="content" class="mw-body" role="main">\n<h1 id="firstHeading">{escape(title)}'
        f'<span class="editsection">[edit]</span></h1>\n<div id="bodyContent">\n{text}\n'
        f'</div>\n<ol class="references">{notes}</ol>\n</div>\n{_footer(setting)}'
    )
    return _page(title, body, setting)


LAYOUTS: Final[tuple[Callable[[str, Sequence[Block], Setting], str], ...]] = (_blog, _table, _divs, _news, _wiki)
