"""The class of every code point as split patterns see it: letter, number, white space, anything else.

Token ids depend on it, and every library of regular expressions follows another version of Unicode. The table is
therefore generated once, from the regular expressions of ``tiktoken`` (``python -m curate.tokenize.pretokens_table``),
and ships. White space differs from `str.isspace` in U+001C to U+001F, which Llama 3's guard counts as white space and
the pattern does not.

File ``pretokens_table.bin``: little-endian uint16; 0x1100 block numbers (one for each 256 code points), then the
distinct blocks of 256 flag sets. Code point ``c`` has flags ``blocks[index[c >> 8], c & 255]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import tiktoken
from numpy.typing import NDArray

FILE: Final = Path(__file__).with_name("pretokens_table.bin")
UNICODE_VERSION: Final = "16.0.0"
INDEX_SIZE: Final = 0x110000 >> 8
SURROGATES: Final = range(0xD800, 0xE000)

LETTER: Final = 1  # \p{L}
NUMBER: Final = 2  # \p{N}
SPACE: Final = 4  # \s
NEWLINE: Final = 8  # \r or \n, which are SPACE too
PYTHON_SPACE: Final = 16  # str.isspace()


def build() -> NDArray[np.uint16]:
    """Return the table by the installed ``tiktoken``, in the layout of the file."""
    flags = np.zeros(0x110000, dtype=np.uint16)
    every = "".join(chr(point) for point in range(0x110000) if point not in SURROGATES)
    ranks = {bytes([byte]): byte for byte in range(256)}
    for flag, pattern in ((LETTER, r"\p{L}"), (NUMBER, r"\p{N}"), (SPACE, r"\s"), (NEWLINE, r"[\r\n]")):
        encoding = tiktoken.Encoding("class", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        # what the pattern leaves out gives no token
        for character in bytes(encoding.encode_ordinary(every)).decode():
            flags[ord(character)] |= flag
    flags[(flags & SPACE) != 0] |= PYTHON_SPACE
    flags[0x1C:0x20] |= PYTHON_SPACE
    blocks, index = np.unique(flags.reshape(INDEX_SIZE, 256), axis=0, return_inverse=True)
    return np.concatenate([index.reshape(-1).astype(np.uint16), blocks.reshape(-1)])


def load() -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return (index uint16 [0x1100], flags uint8 [blocks * 256]) of the shipped table."""
    table = np.frombuffer(FILE.read_bytes(), dtype="<u2").astype(np.uint16)
    return table[:INDEX_SIZE], table[INDEX_SIZE:].astype(np.uint8)


if __name__ == "__main__":
    FILE.write_bytes(build().astype("<u2").tobytes())
