"""The elements of HTML by what tree construction does with them (WHATWG HTML standard, sections 13.1.2 and 13.2.6), as
bit sets that numba kernels look up by a hash of the lowercase name (64-bit FNV-1a)."""

from __future__ import annotations

from typing import Final

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
    "noscript object ol p param plaintext pre script search section select source style summary table tbody td "
    "template textarea tfoot th thead title tr track ul wbr xmp",
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
HASH_SEED: Final = 1469598103934665603
HASH_PRIME: Final = 1099511628211
SLOTS: Final = 1024


def name_hash(name: str) -> int:
    value = HASH_SEED
    for byte in name.encode():
        value = ((value ^ byte) * HASH_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def class_table() -> tuple[np.ndarray, np.ndarray]:
    """Return open-addressing tables uint64 [slots] of name hashes and int64 [slots] of class bits."""
    keys = np.zeros(SLOTS, dtype=np.uint64)
    bits = np.zeros(SLOTS, dtype=np.int64)
    for bit, names in _CLASSES.items():
        for name in names.split():
            value = name_hash(name)
            slot = value & (SLOTS - 1)
            while keys[slot] not in (0, value):
                slot = (slot + 1) & (SLOTS - 1)
            keys[slot] = value
            bits[slot] |= bit
    return keys, bits


KEYS, BITS = class_table()
HASH_OF_SCRIPT: Final = np.uint64(name_hash("script"))
HASH_OF_P: Final = np.uint64(name_hash("p"))
HASH_OF_A: Final = np.uint64(name_hash("a"))
HASH_OF_NOBR: Final = np.uint64(name_hash("nobr"))
HASH_OF_LI: Final = np.uint64(name_hash("li"))
HASH_OF_TR: Final = np.uint64(name_hash("tr"))
HASH_OF_SVG: Final = np.uint64(name_hash("svg"))
HASH_OF_ANNOTATION: Final = np.uint64(name_hash("annotation-xml"))
HASH_OF_BR: Final = np.uint64(name_hash("br"))
FOREIGN: Final = 1 << 40
SVG: Final = 1 << 41
NOT_INLINE: Final = CLOSES_P | CELL | TABLE_PART | RAW | TEMPLATE | TABLE | IGNORED
