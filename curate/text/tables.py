"""Tables with an entry for every Unicode code point, which ship with the package.

Python's ``unicodedata`` follows the Unicode version of each Python release, so that the same text would give other
results on another machine. Tables are therefore generated once, by a Python that has `UNICODE_VERSION`, and read by
every kernel.

A table has two stages: `index` has a block number for each 256 code points, `entries` the distinct blocks, so that code
point ``c`` has ``entries[index[c >> 8] * 256 + (c & 255)]``. Files are little-endian.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

UNICODE_VERSION: Final = "14.0.0"
CODE_POINTS: Final = 0x110000
INDEX_SIZE: Final = CODE_POINTS >> 8

# Scripts that write no spaces between words, by the beginning of the character's name. Han is counted by character as
# everywhere in the field; the others are those that UAX #14 line-breaks with a dictionary (class SA) and the two
# Japanese syllabaries.
UNSPACED_NAMES: Final = (
    "CJK UNIFIED IDEOGRAPH",
    "CJK COMPATIBILITY IDEOGRAPH",
    "IDEOGRAPHIC ITERATION MARK",
    "HIRAGANA",
    "KATAKANA",
    "HALFWIDTH KATAKANA",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TAI LE",
    "NEW TAI LUE",
    "TAI THAM",
    "TAI VIET",
    "AHOM",
)


def two_stages(flat: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return (index int64 [0x1100], entries [blocks * 256]) of a table with one entry for each code point, in order."""
    blocks, index = np.unique(flat.reshape(INDEX_SIZE, 256), axis=0, return_inverse=True)
    return index.reshape(-1), blocks.reshape(-1)


def entry_of(character: str, index: NDArray[Any], entries: NDArray[Any]) -> int:
    """Return the entry of one character, lone surrogates included."""
    point = ord(character)
    return int(entries[(int(index[point >> 8]) << 8) | (point & 0xFF)])


def to_bytes(table: NDArray[Any]) -> bytes:
    """Return a table as its file has it."""
    return table.astype(table.dtype.newbyteorder("<")).tobytes()


def read_table(file: Path, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Return what a file holds in the byte order of this machine, read-only."""
    table = np.frombuffer(file.read_bytes(), dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype)
    table.setflags(write=False)
    return table


def write_table(file: Path, table: NDArray[Any]) -> None:
    """Write a newly generated table. Raises SystemExit unless this Python has the Unicode version of the tables."""
    if unicodedata.unidata_version != UNICODE_VERSION:
        raise SystemExit(f"this Python has Unicode {unicodedata.unidata_version}, the table is {UNICODE_VERSION}")
    file.write_bytes(to_bytes(table))
