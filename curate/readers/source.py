"""Files read forward in blocks, and searched for where something starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from curate.errors import RetryableError
from curate.storage import InputFile, open_input

SOURCE_BYTES: Final = 256 << 10
SEARCH_BYTES: Final = 1 << 20
_PADDING = re.compile(rb"\0*")


class Source:
    """A file read forward in blocks, with the position of the next unused byte, and look-ahead."""

    def __init__(self, handle: pa.NativeFile, position: int = 0) -> None:
        self._handle = handle
        self.seek(position)

    def seek(self, position: int) -> None:
        self._handle.seek(position)
        self._block = b""
        self._used = 0
        self._end = position

    @property
    def position(self) -> int:
        return self._end - len(self._block) + self._used

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes (fewer at the end of the file) without using them."""
        while len(self._block) - self._used < size:
            more = self._read()
            if not more:
                break
            self._block = self._block[self._used :] + more
            self._used = 0
            self._end += len(more)
        return self._block[self._used : self._used + size]

    def _read(self) -> bytes:
        try:
            return bytes(self._handle.read(SOURCE_BYTES))
        except OSError as error:
            raise RetryableError(f"reading at byte {self._end} failed: {error}") from error

    def take(self, size: int) -> bytes:
        """Return 1 to `size` bytes, b'' at the end of the file."""
        if self._used == len(self._block):
            self._block = self._read()
            self._used = 0
            self._end += len(self._block)
        data = self._block[self._used : self._used + size]
        self._used += len(data)
        return data

    def give_back(self, size: int) -> None:
        """Make the last `size` bytes of the last `take` unused again."""
        self._used -= size

    def skip_padding(self) -> None:
        """Step over NUL bytes, which tape-sized writers leave between and after gzip members."""
        while block := self.peek(4096):
            zeros = _PADDING.match(block).end()  # type: ignore[union-attr]
            self._used += zeros
            if zeros < len(block):
                return


def search(file: InputFile, offset: int, pattern: re.Pattern[bytes], check: Callable[[int], bool], reach: int) -> int:
    """Return the first match of `pattern` at or after `offset` that passes `check`, the file size if none.

    `reach` is the longest match in bytes. Reads forward once, in bounded memory; the cost of `check` must be bounded.
    """
    with open_input(file.uri) as handle:
        total = int(handle.size())
        handle.seek(min(offset, total))
        block, base = b"", offset
        while more := handle.read(SEARCH_BYTES):
            block += more
            for match in pattern.finditer(block):
                if match.end() < len(block) or base + len(block) >= total:
                    found = base + match.start()
                    if check(found):
                        return found
            keep = min(len(block), reach)
            base += len(block) - keep
            block = block[len(block) - keep :]
            offset = base
    return total
