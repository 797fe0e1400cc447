"""The scan that refuses deep pages before a parser sees them."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from curate.extract.depth import MAX_ADDED_ATTRIBUTES, html_shape
from curate.readers import READERS, Page, ReadSettings
from curate.storage import InputFile


def scan(html: str | bytes, limit: int = 512) -> int:
    data = html.encode() if isinstance(html, str) else html
    return int(html_shape(np.frombuffer(data, dtype=np.uint8), limit, 1 << 40)[0])


def elements(html: str | bytes, most: int = 1 << 40) -> int:
    data = html.encode() if isinstance(html, str) else html
    return int(html_shape(np.frombuffer(data, dtype=np.uint8), 512, most)[1])


def true_depth(html: str) -> int:
    """The deepest element below body in the tree that the parser builds, walked without recursion."""
    tree = HTMLTree.parse(html)
    deepest = 0
    stack = [(tree.body, 0)] if tree.body is not None else []
    while stack:
        node, depth = stack.pop()
        deepest = max(deepest, depth)
        child = node.first_child
        while child is not None:
            if child.tag and not child.tag.startswith("#"):
                stack.append((child, depth + 1))
            child = child.next
    return deepest


HOSTILE = {
    "nested": "<div>" * 200_000,
    "unclosed formatting": "<b>" * 200_000,
    "formatting carried from paragraph to paragraph": "".join(f"<p><b a={n}>" for n in range(20_000)),
    "stray end tags": "<div></x>" * 20_000,
    "end tags out of scope": "<div><table><tr><td></div>" * 20_000,
    "foreign cells": "<table><tr><td>" + "<svg><td>" * 20_000,
    "self-closing outside foreign content": "<div><svg></div>" + "<path/>" * 20_000,
    "end tags quoted in attributes": "<div a='</div>'>" * 20_000,
    "end tags in comments": "<div><!-- </div> -->" * 20_000,
    "end tags in scripts": "<div><script></div></script>" * 20_000,
    "end tags in scripts within comments in scripts": "<div><script><!--<script></script></div>--></script>" * 20_000,
    "end tags in text areas": "<div><textarea></div></textarea>" * 20_000,
    "forms": "<form><div></form>" * 20_000,
    "bytes between": "\0<div \0>\ufffd" * 20_000,
    "upper case": "<DIV></SPAN>" * 20_000,
    "lists in items": "<ul><li>" * 20_000,
    "select": "<div><select></div></select>" * 20_000,
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_page_that_nests_too_deep_is_refused_fast(name: str) -> None:
    scan("<p>")
    start = time.process_time()
    assert scan(HOSTILE[name]) == 513
    assert time.process_time() - start < 2


FLAT = {
    "paragraphs without ends": ("<p>x" * 20_000, 1),
    "items without ends": ("<ul>" + "<li>x" * 20_000 + "</ul>", 2),
    "cells without ends": ("<table>" + "<tr><td>x<td>y" * 20_000, 3),
    "void elements": ("<br><img src=x><hr><input>" * 20_000, 1),
    "definitions": ("<dl>" + "<dt>a<dd>b" * 20_000, 2),
    "options": ("<select>" + "<option>a" * 20_000 + "</select>", 2),
    "bare signs": ("a < b <3 <" * 20_000, 0),
    "misnested formatting": ("<font><p>x</font></p>" * 20_000, 3),
    "the same formatting again and again": ("<p><b>x" * 20_000, 5),
    "self-closing shapes": ("<svg>" + "<path/>" * 20_000 + "</svg>", 1),
    "anchors without ends": ("<a href=x>y" * 20_000, 1),
    "quoted signs": ("<i title='a>b' alt=\"</i>\">x</i>" * 20_000, 1),
}


@pytest.mark.parametrize("name", list(FLAT))
def test_a_long_flat_page_passes(name: str) -> None:
    html, deepest = FLAT[name]
    assert scan(html) <= deepest


@pytest.mark.parametrize("tag", ["body", "html"])
def test_tags_that_add_attributes_to_the_first_count_together(tag: str) -> None:
    def page(attributes: int) -> np.ndarray:
        tags = "".join(f"<{tag} a{number}=1>" for number in range(attributes))
        return np.frombuffer(f"<p>x{tags}".encode(), dtype=np.uint8)

    assert html_shape(page(MAX_ADDED_ATTRIBUTES), 512, 1_000_000) == (1, 1 + MAX_ADDED_ATTRIBUTES)
    assert html_shape(page(MAX_ADDED_ATTRIBUTES + 1), 512, 1_000_000) == (1, 1_000_001)


def test_a_page_exactly_at_the_limit_passes_and_one_level_more_does_not() -> None:
    assert scan("<div>" * 512) == 512
    assert scan("<div>" * 513) == 513


NAMES = "div p b i a span table tr td th tbody caption ul ol li dl dt dd select option form button svg path math mi g "
NAMES += "title desc foreignObject template object h1 h2 script style textarea font nobr br img input pre body html x-y"
TAG = st.builds(
    lambda slash, name, attribute, close: f"<{slash}{name}{attribute}{close}>",
    st.sampled_from(["", "", "/"]),
    st.sampled_from(NAMES.split()),
    st.sampled_from(["", "", " a=1", " a='>'", ' b="</p>"', " c=/"]),
    st.sampled_from(["", "", "", "/"]),
)
PIECE = st.one_of(
    TAG, TAG, TAG, TAG, st.sampled_from(["x", "<!-- <b> -->", "<!x>", "<", "</", "<![CDATA[<p>]]>", "<!-->"])
)


@settings(deadline=None, max_examples=300)
@given(pieces=st.lists(PIECE, max_size=60), repeat=st.integers(1, 4))
def test_the_scan_is_never_far_below_the_tree_of_the_parser(pieces: list[str], repeat: int) -> None:
    html = "<!DOCTYPE html><body>" + "".join(pieces) * repeat
    assert true_depth(html) <= 2 * scan(html) + 3


@given(st.binary(max_size=200))
def test_any_bytes_are_scanned(data: bytes) -> None:
    assert 0 <= scan(data) <= 513


def test_real_pages_pass_with_room_to_spare(shared_data: Path) -> None:
    deepest = 0
    pages = 0
    for path in sorted((shared_data / "sample-crawl").glob("*.warc.gz")):
        file = InputFile(str(path), path.name, path.stat().st_size)
        for item in READERS["warc"].read(file, 0, file.size, "web", ReadSettings(), Counter()):
            assert isinstance(item, Page)
            assert item.body is not None
            deepest = max(deepest, scan(item.body))
            pages += 1
    assert pages == 1761
    assert deepest < 128


def made(html: str) -> int:
    """The elements and comments below body in the parser's tree."""
    tree = HTMLTree.parse(html)
    count = 0
    stack = [tree.body] if tree.body is not None else []
    while stack:
        child = stack.pop().first_child
        while child is not None:
            count += child.tag != "#text"
            stack.append(child)
            child = child.next
    return count


FONTS = "".join(f"<font a={n}>" for n in range(100))


@pytest.mark.parametrize(
    "html",
    [
        "<p>" + FONTS + "<p>x" * 50,
        "<p>" * 500,
        "</p>" * 500,
        "</br>" * 500,
        "<!-->" * 300 + "<!x>" * 300,
        "<table><td>x</table>" * 200,
        "<b><i><p></b></i>" * 200,
        "<svg>" + "<path/>" * 300,
        "<a><div>" * 30 + "</a>" * 30,
    ],
)
def test_no_element_that_the_parser_makes_goes_uncounted(html: str) -> None:
    assert made("<!DOCTYPE html><body>" + html) <= elements("<!DOCTYPE html><body>" + html)


def test_a_page_whose_elements_multiply_is_refused_fast() -> None:
    fonts = "".join(f"<font a={n}>" for n in range(480))
    scan("<p>")
    start = time.process_time()
    assert elements("<p>" + fonts + "<p>x" * 20_000, 1_000_000) > 1_000_000
    assert elements("<p " + " ".join(f"a{n}" for n in range(100_000)) + ">x", 1_000_000) > 1_000_000
    assert time.process_time() - start < 2
