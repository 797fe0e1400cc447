"""How deep an HTML parser's tree can get, from one linear scan of the bytes before any parser sees them.

Parsers and extractors recurse, and a page of 200,000 nested elements stalls or kills them. The scan keeps the same
books as the tree construction of the HTML standard (WHATWG, section 13.2.6) as far as depth needs it: the stack of open
elements with scopes and implied ends, the list of active formatting elements with its markers and its limit of three
alike, foreign content, raw text, and comments. Where the standard's rules are finer than this, an element stays open
here rather than closing, so the result is never much below the true depth (adoption of misnested formatting can at most
double it) and on real pages close to it.

The kernel works on uint8 bytes, so UTF-16 input must be re-encoded first. Cost: about 1 ns per byte of text.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

VOID: Final = 1
SPECIAL: Final = 2
SCOPE: Final = 4  # ends the search for an element in scope
FORMATTING: Final = 8
CLOSES_P: Final = 16
RAW: Final = 32
BREAKOUT: Final = 64  # leaves foreign content
MARKER: Final = 128
IGNORED: Final = 256
HEADING: Final = 512
CELL: Final = 1024
TABLE_PART: Final = 2048
INTEGRATION: Final = 4096  # holds HTML within foreign content
FOREIGN_ROOT: Final = 8192
ITEM: Final = 16384
PERMEABLE: Final = 32768  # address, div, p: a list item closes through them
SELECT: Final = 65536
OPTION: Final = 131072
TEMPLATE: Final = 262144
FORM: Final = 524288
PLAINTEXT: Final = 1048576
LIST: Final = 2097152
BUTTON: Final = 4194304
CLOSES_SELECT: Final = 8388608
PARAGRAPH: Final = 16777216
TABLE: Final = 33554432
SVG_INTEGRATION: Final = 67108864
MATH_INTEGRATION: Final = 134217728

_CLASSES: Final = {
    VOID: "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr image",
    SPECIAL: "address applet area article aside base basefont bgsound blockquote body br button caption center col "
    "colgroup dd details dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 "
    "head header hgroup hr html iframe img input keygen li link listing main marquee menu meta nav noembed noframes "
    "noscript object ol p param plaintext pre script search section select source style summary table tbody td template "
    "textarea tfoot th thead title tr track ul wbr xmp",
    SCOPE: "applet caption table td th marquee object template select",
    FORMATTING: "a b big code em font i nobr s small strike strong tt u",
    CLOSES_P: "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer "
    "header hgroup main menu nav ol p search section summary ul h1 h2 h3 h4 h5 h6 pre listing form li dd dt hr xmp "
    "plaintext",
    RAW: "script style textarea title xmp iframe noembed noframes",
    BREAKOUT: "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing "
    "menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var",
    MARKER: "applet caption td th marquee object template",
    IGNORED: "html head body frameset",
    HEADING: "h1 h2 h3 h4 h5 h6",
    CELL: "td th",
    TABLE_PART: "tbody thead tfoot tr caption colgroup",
    SVG_INTEGRATION: "foreignobject desc title",
    MATH_INTEGRATION: "mi mo mn ms mtext annotation-xml",
    FOREIGN_ROOT: "svg math",
    ITEM: "li dd dt",
    PERMEABLE: "address div p",
    SELECT: "select",
    OPTION: "option optgroup",
    TEMPLATE: "template",
    FORM: "form",
    PLAINTEXT: "plaintext",
    LIST: "ol ul",
    BUTTON: "button",
    CLOSES_SELECT: "input keygen textarea",
    PARAGRAPH: "p",
    TABLE: "table",
}
_HASH_SEED: Final = 1469598103934665603
_HASH_PRIME: Final = 1099511628211
_SLOTS: Final = 1024


def _name_hash(name: str) -> int:
    value = _HASH_SEED
    for byte in name.encode():
        value = ((value ^ byte) * _HASH_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def _class_table() -> tuple[np.ndarray, np.ndarray]:
    """Return open-addressing tables uint64 [slots] of name hashes and int64 [slots] of class bits."""
    keys = np.zeros(_SLOTS, dtype=np.uint64)
    bits = np.zeros(_SLOTS, dtype=np.int64)
    for bit, names in _CLASSES.items():
        for name in names.split():
            value = _name_hash(name)
            slot = value & (_SLOTS - 1)
            while keys[slot] not in (0, value):
                slot = (slot + 1) & (_SLOTS - 1)
            keys[slot] = value
            bits[slot] |= bit
    return keys, bits


_KEYS, _BITS = _class_table()
_H_SCRIPT: Final = np.uint64(_name_hash("script"))
_H_P: Final = np.uint64(_name_hash("p"))
_H_A: Final = np.uint64(_name_hash("a"))
_H_NOBR: Final = np.uint64(_name_hash("nobr"))
_H_LI: Final = np.uint64(_name_hash("li"))
_H_TR: Final = np.uint64(_name_hash("tr"))
_H_SVG: Final = np.uint64(_name_hash("svg"))
_H_ANNOTATION: Final = np.uint64(_name_hash("annotation-xml"))
_H_BR: Final = np.uint64(_name_hash("br"))
_FOREIGN: Final = 1 << 40
_SVG: Final = 1 << 41
NOT_INLINE: Final = CLOSES_P | CELL | TABLE_PART | RAW | TEMPLATE | TABLE | IGNORED
_jit: Any = numba.njit(cache=True, nogil=True)


@_jit
def _bits_of(name: np.uint64) -> int:
    slot = np.int64(name & np.uint64(_SLOTS - 1))
    while _KEYS[slot] != np.uint64(0):
        if _KEYS[slot] == name:
            return _BITS[slot]
        slot = (slot + 1) & (_SLOTS - 1)
    return 0


@_jit
def _is_space(byte: int) -> bool:
    return byte == 32 or (9 <= byte <= 13 and byte != 11)


@_jit
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@_jit
def _tag_name(data: np.ndarray, at: int) -> tuple[int, np.uint64]:
    """Return the end of the tag name at `at` and the hash of the lowercase name."""
    value = np.uint64(_HASH_SEED)
    while at < len(data):
        byte = data[at]
        if byte == 62 or byte == 47 or _is_space(byte):
            break
        value = (value ^ np.uint64(_lower(byte))) * np.uint64(_HASH_PRIME)
        at += 1
    return at, value


@_jit
def _tag_end(data: np.ndarray, at: int) -> tuple[int, bool]:
    """Return the index past the tag's '>' (past the data if it has none), and whether it closes itself. Quotes count
    only where an attribute's value begins."""
    size = len(data)
    slash = False
    while at < size:
        byte = data[at]
        if byte == 62:
            return at + 1, slash
        slash = byte == 47
        at += 1
        # an equals sign that begins a name belongs to the name
        if slash or _is_space(byte):
            continue
        while at < size and data[at] != 61 and data[at] != 62 and data[at] != 47 and not _is_space(data[at]):
            at += 1
        while at < size and _is_space(data[at]):
            at += 1
        if at >= size or data[at] != 61:
            continue
        at += 1
        while at < size and _is_space(data[at]):
            at += 1
        if at < size and (data[at] == 34 or data[at] == 39):
            at = _skip_until(data, at + 1, data[at])
        else:
            while at < size and data[at] != 62 and not _is_space(data[at]):
                at += 1
    return size + 1, False


@_jit
def _bytes_hash(data: np.ndarray, at: int, end: int) -> np.uint64:
    value = np.uint64(_HASH_SEED)
    while at < end:
        value = (value ^ np.uint64(data[at])) * np.uint64(_HASH_PRIME)
        at += 1
    return value


@_jit
def _skip_until(data: np.ndarray, at: int, byte: int) -> int:
    while at < len(data) and data[at] != byte:
        at += 1
    return at + 1


@_jit
def _comment_end(data: np.ndarray, at: int) -> int:
    """Return the index past a comment whose text starts at `at`, just behind '<!--'."""
    size = len(data)
    if at < size and data[at] == 62:
        return at + 1
    if at + 1 < size and data[at] == 45 and data[at + 1] == 62:
        return at + 2
    while at + 2 < size:
        if data[at] == 45 and data[at + 1] == 45:
            if data[at + 2] == 62:
                return at + 3
            if data[at + 2] == 33 and at + 3 < size and data[at + 3] == 62:
                return at + 4
        at += 1
    return size


@_jit
def _names_script(data: np.ndarray, at: int) -> bool:
    """Return whether 'script' and a tag-name end are at `at`."""
    if at + 6 >= len(data):
        return False
    end, name = _tag_name(data, at)
    return end == at + 6 and name == _H_SCRIPT and end < len(data)


@_jit
def _raw_end(data: np.ndarray, at: int, name: np.uint64) -> int:
    """Return the index of the '<' of the end tag that closes raw text, the size of the data if it never ends."""
    size = len(data)
    script = name == _H_SCRIPT
    state = 0  # of script data: 1 in a comment, 2 in a script within that comment
    while at < size:
        byte = data[at]
        if byte == 60 and at + 1 < size:
            if data[at + 1] == 47:
                end, found = _tag_name(data, at + 2)
                if found == name and end < size:
                    if state < 2:
                        return at
                    state = 1
            elif script and state == 0 and at + 3 < size and data[at + 1] == 33:
                if data[at + 2] == 45 and data[at + 3] == 45:
                    state = 1
                    at += 2
                    continue
            elif script and state == 1 and _names_script(data, at + 1):
                state = 2
        elif script and state > 0 and byte == 45 and at + 2 < size and data[at + 1] == 45 and data[at + 2] == 62:
            state = 0
        at += 1
    return size


@_jit
def _clear_to_marker(fmt: np.ndarray, off: np.ndarray, count: int) -> int:
    while count > 0:
        count -= 1
        if fmt[count, 0] == np.uint64(0):
            break
        off[count] = 0
    return count


@_jit
def _pop_to(
    names: np.ndarray, tags: np.ndarray, kinds: np.ndarray, depth: int, to: int, fmt: np.ndarray, off: np.ndarray, used: int
) -> tuple[int, int]:
    """Close elements until `to` are open; formatting ones stay active, one marker is cleared. Return both counts."""
    marker = False
    while depth > to:
        depth -= 1
        if kinds[depth] & _FOREIGN:
            continue
        if kinds[depth] & FORMATTING:
            for index in range(used - 1, -1, -1):
                if fmt[index, 0] == names[depth] and fmt[index, 1] == tags[depth] and off[index] == 0:
                    off[index] = 1
                    break
        if kinds[depth] & MARKER:
            marker = True
    if marker:
        used = _clear_to_marker(fmt, off, used)
    return depth, used


@_jit
def _find(
    names: np.ndarray, kinds: np.ndarray, depth: int, name: np.uint64, mask: int, stop: int
) -> int:
    """Return the index of the innermost open HTML element of that name, or of a class in `mask`; -1 if one of a class
    in `stop` is met first."""
    for index in range(depth - 1, -1, -1):
        kind = kinds[index]
        foreign = kind & _FOREIGN != 0
        if not foreign and (names[index] == name or kind & mask):
            return index
        if (not foreign and kind & stop) or (foreign and kind & INTEGRATION):
            return -1
    return -1


@_jit
def _end_formatting(
    names: np.ndarray,
    tags: np.ndarray,
    kinds: np.ndarray,
    depth: int,
    name: np.uint64,
    fmt: np.ndarray,
    off: np.ndarray,
    used: int,
) -> tuple[int, int]:
    """Close the innermost active formatting element `name`, as adoption does: blocks inside it stay open."""
    entry = -1
    for index in range(used - 1, -1, -1):
        if fmt[index, 0] == np.uint64(0):
            break
        if fmt[index, 0] == name:
            entry = index
            break
    if entry < 0:
        place = _find(names, kinds, depth, name, 0, SPECIAL)
        return _pop_to(names, tags, kinds, depth, place, fmt, off, used) if place >= 0 else (depth, used)
    tag = fmt[entry, 1]
    was_off = off[entry] != 0
    for index in range(entry, used - 1):
        fmt[index, 0], fmt[index, 1], off[index] = fmt[index + 1, 0], fmt[index + 1, 1], off[index + 1]
    used -= 1
    if was_off:
        return depth, used
    blocks = 0
    for index in range(depth - 1, -1, -1):
        if kinds[index] & _FOREIGN:
            if kinds[index] & INTEGRATION:
                break
            continue
        if names[index] == name and tags[index] == tag:
            if blocks == 0:
                return _pop_to(names, tags, kinds, depth, index, fmt, off, used)
            if blocks < 8:
                for place in range(index, depth - 1):
                    names[place], tags[place], kinds[place] = names[place + 1], tags[place + 1], kinds[place + 1]
                depth -= 1
            break
        if kinds[index] & SPECIAL:
            blocks += 1
        if kinds[index] & SCOPE:
            break
    return depth, used


@_jit
def _reopen(
    names: np.ndarray,
    tags: np.ndarray,
    kinds: np.ndarray,
    depth: int,
    fmt: np.ndarray,
    off: np.ndarray,
    used: int,
    limit: int,
) -> int:
    """Open again the active formatting elements that an ancestor's end closed, as text and inline elements do."""
    first = used
    while first > 0 and off[first - 1] and fmt[first - 1, 0] != np.uint64(0):
        first -= 1
    for index in range(first, used):
        if depth > limit + 1:
            break
        names[depth], tags[depth], kinds[depth] = fmt[index, 0], fmt[index, 1], FORMATTING
        off[index] = 0
        depth += 1
    return depth


@_jit
def _start_target(names: np.ndarray, kinds: np.ndarray, depth: int, name: np.uint64, bits: int) -> int:
    """Return to how many open elements the start tag `name` first closes others (its implied ends)."""
    if bits & CLOSES_P:
        if bits & ITEM:
            for index in range(depth - 1, -1, -1):
                kind = kinds[index]
                if kind & _FOREIGN:
                    break
                if kind & ITEM and (names[index] == name or (name != _H_LI and names[index] != _H_LI)):
                    depth = index
                    break
                if kind & SPECIAL and not kind & PERMEABLE:
                    break
        place = _find(names, kinds, depth, _H_P, 0, SCOPE | BUTTON)
        if place >= 0:
            depth = place
        if bits & HEADING and depth > 0 and kinds[depth - 1] & HEADING and not kinds[depth - 1] & _FOREIGN:
            depth -= 1
    elif bits & CELL:
        place = _find(names, kinds, depth, name, CELL, TABLE | TEMPLATE | SELECT)
        if place >= 0:
            depth = place
    elif bits & TABLE_PART:
        mask = 0 if name == _H_TR else TABLE_PART
        place = _find(names, kinds, depth, name, mask, TABLE | TEMPLATE | SELECT)
        while place >= 0:
            depth = place
            place = _find(names, kinds, depth, name, mask, TABLE | TEMPLATE | SELECT)
    elif bits & OPTION:
        if depth > 0 and kinds[depth - 1] & OPTION and names[depth - 1] == name:
            depth -= 1
    elif bits & (SELECT | CLOSES_SELECT):
        place = _find(names, kinds, depth, np.uint64(0), SELECT, SCOPE)
        if place >= 0:
            depth = place
    elif bits & BUTTON:
        place = _find(names, kinds, depth, name, 0, SCOPE)
        if place >= 0:
            depth = place
    return depth


@_jit
def _end_target(names: np.ndarray, kinds: np.ndarray, depth: int, name: np.uint64, bits: int) -> int:
    """Return how many elements stay open after the end tag `name` of an element that is not formatting."""
    if bits & (IGNORED | VOID):
        return depth
    if bits & FORM:
        top = depth
        while top > 0 and kinds[top - 1] & (ITEM | OPTION | PARAGRAPH) and not kinds[top - 1] & _FOREIGN:
            top -= 1
        return top - 1 if top > 0 and names[top - 1] == name and not kinds[top - 1] & _FOREIGN else depth
    if bits & HEADING:
        place = _find(names, kinds, depth, name, HEADING, SCOPE)
    elif bits & PARAGRAPH:
        place = _find(names, kinds, depth, name, 0, SCOPE | BUTTON)
    elif bits & ITEM and name == _H_LI:
        place = _find(names, kinds, depth, name, 0, SCOPE | LIST)
    elif bits & (CELL | TABLE_PART | TABLE):
        place = _find(names, kinds, depth, name, 0, TABLE | TEMPLATE | SELECT)
    elif bits & TEMPLATE:
        place = _find(names, kinds, depth, name, 0, 0)
    elif bits & SPECIAL:
        place = _find(names, kinds, depth, name, 0, SCOPE)
    else:
        place = _find(names, kinds, depth, name, 0, SPECIAL)
    return place if place >= 0 else depth


@_jit
def html_depth(data: np.ndarray, limit: int) -> int:
    """Return the deepest nesting of elements below `body` in the HTML `data` (uint8 [bytes]), `limit` + 1 as soon as it
    is exceeded."""
    size = len(data)
    room = limit + 4
    names = np.zeros(room, dtype=np.uint64)
    tags = np.zeros(room, dtype=np.uint64)
    kinds = np.zeros(room, dtype=np.int64)
    fmt = np.zeros((room + 4, 2), dtype=np.uint64)
    off = np.zeros(room + 4, dtype=np.int64)
    depth = used = deepest = 0
    at = 0
    while at < size:
        if data[at] != 60:
            if used and off[used - 1]:
                depth = _reopen(names, tags, kinds, depth, fmt, off, used, limit)
                deepest = max(deepest, depth)
            while at < size and data[at] != 60:
                at += 1
            continue
        if deepest > limit:
            break
        at += 1
        if at >= size:
            break
        byte = data[at]
        top = kinds[depth - 1] if depth else 0
        foreign = top & _FOREIGN != 0 and not top & INTEGRATION
        if byte == 33:
            if at + 2 < size and data[at + 1] == 45 and data[at + 2] == 45:
                at = _comment_end(data, at + 3)
            elif top & _FOREIGN and at + 7 < size and data[at + 1] == 91 and data[at + 2] == 67 and data[at + 7] == 91:
                at += 8
                while at + 2 < size and not (data[at] == 93 and data[at + 1] == 93 and data[at + 2] == 62):
                    at += 1
                at += 3
            else:
                at = _skip_until(data, at, 62)
            continue
        if byte == 63:
            at = _skip_until(data, at, 62)
            continue
        if byte == 47:
            at += 1
            if at >= size:
                break
            if not (97 <= data[at] <= 122 or 65 <= data[at] <= 90):
                at = _skip_until(data, at, 62)
                continue
            at, name = _tag_name(data, at)
            at, _ = _tag_end(data, at)
            if at > size:
                break
            bits = _bits_of(name)
            if foreign and (name == _H_P or name == _H_BR):
                while depth > 0 and kinds[depth - 1] & _FOREIGN and not kinds[depth - 1] & INTEGRATION:
                    depth -= 1
            elif top & _FOREIGN:
                place = depth - 1
                while place >= 0 and kinds[place] & _FOREIGN and names[place] != name:
                    place -= 1
                if place >= 0 and kinds[place] & _FOREIGN:
                    depth = place
                    continue
            if bits & FORMATTING:
                depth, used = _end_formatting(names, tags, kinds, depth, name, fmt, off, used)
            else:
                to = _end_target(names, kinds, depth, name, bits)
                depth, used = _pop_to(names, tags, kinds, depth, to, fmt, off, used)
            continue
        if not (97 <= byte <= 122 or 65 <= byte <= 90):
            continue
        at, name = _tag_name(data, at)
        attributes = at
        at, closes_itself = _tag_end(data, at)
        if at > size:
            break
        bits = _bits_of(name)
        tag = _bytes_hash(data, attributes, at) if bits & FORMATTING else np.uint64(0)
        if foreign and bits & BREAKOUT:
            while depth > 0 and kinds[depth - 1] & _FOREIGN and not kinds[depth - 1] & INTEGRATION:
                depth -= 1
            foreign = False
        if foreign or bits & FOREIGN_ROOT:
            if closes_itself:
                continue
            svg = name == _H_SVG if not foreign else top & _SVG != 0
            kind = _FOREIGN | (_SVG if svg else 0)
            # an annotation holds HTML if an attribute says so
            if bits & (SVG_INTEGRATION if svg else MATH_INTEGRATION) and (name != _H_ANNOTATION or at > attributes + 1):
                kind |= INTEGRATION
            tag = np.uint64(0)
        else:
            if bits & IGNORED:
                continue
            # parts of a table are nothing outside of one
            if bits & (CELL | TABLE_PART) and _find(names, kinds, depth, np.uint64(0), TABLE | TEMPLATE, 0) < 0:
                continue
            to = _start_target(names, kinds, depth, name, bits)
            nested_select = bits & SELECT and to < depth
            depth, used = _pop_to(names, tags, kinds, depth, to, fmt, off, used)
            # a select inside a select is read as the end of the outer one
            if nested_select:
                continue
            if bits & VOID:
                if used and off[used - 1] and not bits & NOT_INLINE:
                    depth = _reopen(names, tags, kinds, depth, fmt, off, used, limit)
                    deepest = max(deepest, depth)
                continue
            if bits & PLAINTEXT:
                break
            if bits & RAW:
                at = _raw_end(data, at, name)
                if at < size:
                    at = _skip_until(data, at, 62)
                continue
            if name == _H_A or name == _H_NOBR:
                depth, used = _end_formatting(names, tags, kinds, depth, name, fmt, off, used)
            kind = bits
        if used and off[used - 1] and not foreign and not bits & NOT_INLINE:
            depth = _reopen(names, tags, kinds, depth, fmt, off, used, limit)
        names[depth], tags[depth], kinds[depth] = name, tag, kind
        depth += 1
        if kind & (FORMATTING | MARKER) and not kind & _FOREIGN:
            fmt[used, 0] = np.uint64(0) if kind & MARKER else name
            fmt[used, 1] = tag
            off[used] = 0
            used += 1
            if kind & FORMATTING:
                used = _at_most_three(fmt, off, used)
        if depth > deepest:
            deepest = depth
            if deepest > limit:
                return limit + 1
        if used >= room:
            return limit + 1
    return min(deepest, limit + 1)


@_jit
def _at_most_three(fmt: np.ndarray, off: np.ndarray, used: int) -> int:
    """Forget the earliest of four active formatting elements that are alike since the last marker."""
    alike = 0
    earliest = -1
    for index in range(used - 1, -1, -1):
        if fmt[index, 0] == np.uint64(0):
            break
        if fmt[index, 0] == fmt[used - 1, 0] and fmt[index, 1] == fmt[used - 1, 1]:
            alike += 1
            earliest = index
    if alike < 4:
        return used
    for index in range(earliest, used - 1):
        fmt[index, 0], fmt[index, 1], off[index] = fmt[index + 1, 0], fmt[index + 1, 1], off[index + 1]
    return used - 1
