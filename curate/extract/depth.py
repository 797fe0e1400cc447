"""How deep and how large an HTML parser's tree can get, from one linear scan of the bytes before any parser sees them.

Parsers and extractors recurse, and a page of 200,000 nested elements stalls or kills them. The scan keeps the same
books as the tree construction of the HTML standard (WHATWG, section 13.2.6) as far as depth needs it: the stack of open
elements with scopes and implied ends, the list of active formatting elements with its markers and its limit of three
alike, foreign content, raw text, and comments. Where the standard's rules are finer than this, an element stays open
here rather than closing, so the result is never much below the true depth (adoption of misnested formatting can at most
double it) and on real pages close to it.

The kernel works on uint8 bytes, so UTF-16 input must be re-encoded first. Cost: about 1 ns per byte of text.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from curate.extract.elements import (
    BREAKOUT,
    BUTTON,
    CELL,
    FOREIGN,
    FOREIGN_ROOT,
    FORMATTING,
    HASH_OF_A,
    HASH_OF_ANNOTATION,
    HASH_OF_BR,
    HASH_OF_NOBR,
    HASH_OF_P,
    HASH_OF_SVG,
    IGNORED,
    INTEGRATION,
    MARKER,
    MATH_INTEGRATION,
    NOT_INLINE,
    PLAINTEXT,
    RAW,
    SCOPE,
    SELECT,
    SPECIAL,
    SVG,
    SVG_INTEGRATION,
    TABLE,
    TABLE_PART,
    TEMPLATE,
    VOID,
)
from curate.extract.markup import (
    bits_of,
    bytes_hash,
    comment_end,
    raw_end,
    skip_until,
    tag_end,
    tag_name,
)
from curate.extract.open_elements import (
    at_most_three,
    end_formatting,
    end_target,
    find,
    pop_to,
    reopen,
    start_target,
)

MAX_ATTRIBUTES: Final = 1000
MAX_ADDED_ATTRIBUTES: Final = 10_000
MAX_CLONES: Final = 32


@njit(nogil=True, cache=True)
def html_shape(data: np.ndarray, limit: int, most: int) -> tuple[int, int]:
    """Return the deepest nesting of elements below `body` in the HTML `data` (uint8 [bytes]), and how many elements and
    comments a parser will make of it: those reopened, cloned and implied too. The scan ends as soon as the depth
    exceeds `limit` or the number exceeds `most`; a tag of more than `MAX_ATTRIBUTES` counts as exceeding it, because
    parsers compare each attribute with all before it. So do more than `MAX_ADDED_ATTRIBUTES` of all `html` and `body`
    tags together: a parser adds those of each to the first."""
    size = len(data)
    room = limit + 4
    names = np.zeros(room, dtype=np.uint64)
    tags = np.zeros(room, dtype=np.uint64)
    kinds = np.zeros(room, dtype=np.int64)
    fmt = np.zeros((room + 4, 2), dtype=np.uint64)
    off = np.zeros(room + 4, dtype=np.int64)
    depth = used = deepest = 0
    made = added = 0
    at = 0
    while at < size:
        if data[at] != 60:
            if used and off[used - 1]:
                before = depth
                depth = reopen(names, tags, kinds, depth, fmt, off, used, limit)
                made += depth - before
                deepest = max(deepest, depth)
            while at < size and data[at] != 60:
                at += 1
            continue
        if deepest > limit or made > most:
            break
        at += 1
        if at >= size:
            break
        byte = data[at]
        top = kinds[depth - 1] if depth else 0
        foreign = top & FOREIGN != 0 and not top & INTEGRATION
        if byte == 33:
            made += 1
            if at + 2 < size and data[at + 1] == 45 and data[at + 2] == 45:
                at = comment_end(data, at + 3)
            elif top & FOREIGN and at + 7 < size and data[at + 1] == 91 and data[at + 2] == 67 and data[at + 7] == 91:
                at += 8
                while at + 2 < size and not (data[at] == 93 and data[at + 1] == 93 and data[at + 2] == 62):
                    at += 1
                at += 3
            else:
                at = skip_until(data, at, 62)
            continue
        if byte == 63:
            made += 1
            at = skip_until(data, at, 62)
            continue
        if byte == 47:
            at += 1
            if at >= size:
                break
            if not (97 <= data[at] <= 122 or 65 <= data[at] <= 90):
                made += 1
                at = skip_until(data, at, 62)
                continue
            at, name = tag_name(data, at)
            at, _, count = tag_end(data, at)
            if count > MAX_ATTRIBUTES:
                return min(deepest, limit + 1), most + 1
            if at > size:
                break
            bits = bits_of(name)
            if foreign and name in (HASH_OF_P, HASH_OF_BR):
                while depth > 0 and kinds[depth - 1] & FOREIGN and not kinds[depth - 1] & INTEGRATION:
                    depth -= 1
            elif top & FOREIGN:
                place = depth - 1
                while place >= 0 and kinds[place] & FOREIGN and names[place] != name:
                    place -= 1
                if place >= 0 and kinds[place] & FOREIGN:
                    depth = place
                    continue
            # an end tag without its start makes a paragraph or a line break
            if name == HASH_OF_BR or (name == HASH_OF_P and find(names, kinds, depth, name, 0, SCOPE | BUTTON) < 0):
                made += 1
            if bits & FORMATTING:
                before = depth
                depth, used = end_formatting(names, tags, kinds, depth, name, fmt, off, used)
                # adoption clones the element and at most three within it, up to eight times, if a block stays open
                if depth == before - 1 and kinds[depth - 1] & SPECIAL:
                    made += MAX_CLONES
            else:
                to = end_target(names, kinds, depth, name, bits)
                depth, used = pop_to(names, tags, kinds, depth, to, fmt, off, used)
            continue
        if not (97 <= byte <= 122 or 65 <= byte <= 90):
            continue
        at, name = tag_name(data, at)
        attributes = at
        at, closes_itself, count = tag_end(data, at)
        if count > MAX_ATTRIBUTES:
            return min(deepest, limit + 1), most + 1
        if at > size:
            break
        made += 1
        bits = bits_of(name)
        tag = bytes_hash(data, attributes, at) if bits & FORMATTING else np.uint64(0)
        if foreign and bits & BREAKOUT:
            while depth > 0 and kinds[depth - 1] & FOREIGN and not kinds[depth - 1] & INTEGRATION:
                depth -= 1
            foreign = False
        if foreign or bits & FOREIGN_ROOT:
            if closes_itself:
                continue
            svg = name == HASH_OF_SVG if not foreign else top & SVG != 0
            kind = FOREIGN | (SVG if svg else 0)
            # an annotation holds HTML if an attribute says so
            if bits & (SVG_INTEGRATION if svg else MATH_INTEGRATION) and (
                name != HASH_OF_ANNOTATION or at > attributes + 1
            ):
                kind |= INTEGRATION
            tag = np.uint64(0)
        else:
            if bits & IGNORED:
                added += count
                if added > MAX_ADDED_ATTRIBUTES:
                    return min(deepest, limit + 1), most + 1
                continue
            # parts of a table are nothing outside of one
            if bits & (CELL | TABLE_PART) and find(names, kinds, depth, np.uint64(0), TABLE | TEMPLATE, 0) < 0:
                continue
            to = start_target(names, kinds, depth, name, bits)
            nested_select = bits & SELECT and to < depth
            depth, used = pop_to(names, tags, kinds, depth, to, fmt, off, used)
            # a select inside a select is read as the end of the outer one
            if nested_select:
                continue
            if bits & VOID:
                if used and off[used - 1] and not bits & NOT_INLINE:
                    before = depth
                    depth = reopen(names, tags, kinds, depth, fmt, off, used, limit)
                    made += depth - before
                    deepest = max(deepest, depth)
                continue
            if bits & PLAINTEXT:
                break
            if bits & RAW:
                at = raw_end(data, at, name)
                if at < size:
                    at = skip_until(data, at, 62)
                continue
            if name in (HASH_OF_A, HASH_OF_NOBR):
                depth, used = end_formatting(names, tags, kinds, depth, name, fmt, off, used)
            kind = bits
        if used and off[used - 1] and not foreign and not bits & NOT_INLINE:
            before = depth
            depth = reopen(names, tags, kinds, depth, fmt, off, used, limit)
            made += depth - before
        if bits & (CELL | TABLE_PART) and not foreign and depth and kinds[depth - 1] & TABLE:
            made += 2 if bits & CELL else 1  # the row and the body of a table that names neither
        names[depth], tags[depth], kinds[depth] = name, tag, kind
        depth += 1
        if kind & (FORMATTING | MARKER) and not kind & FOREIGN:
            fmt[used, 0] = np.uint64(0) if kind & MARKER else name
            fmt[used, 1] = tag
            off[used] = 0
            used += 1
            if kind & FORMATTING:
                used = at_most_three(fmt, off, used)
        if depth > deepest:
            deepest = depth
            if deepest > limit:
                return limit + 1, made
        if used >= room:
            return limit + 1, made
    return min(deepest, limit + 1), made
