"""Reading and splitting archives of records, WARC and ARC alike: frames, record framing, damage and resynchronisation.

A record starts in a range if its frame does (compressed files) or its header does (plain files). A record counts only
if something sane follows its claimed length: the end of its frame or another record. Otherwise it is damage, and so are
broken frames: each becomes one `Damage`, and reading goes on at the next verified boundary after the damaged start.
Because that boundary is the one that a split would have found, any tiling of a file yields the same records. The one
known gap: an archive stored *uncompressed inside* a record of another can offer a boundary that a scan from the start
would have passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from curate.errors import InputError
from curate.readers.source import search
from curate.readers.streams import PIECE_BYTES, Frame, Frames, has_many_frames, next_frame
from curate.storage import InputFile, open_input

MAX_HEADER_BYTES: Final = 1 << 20
VERIFY_HEADER_BYTES: Final = 16 << 10
SEARCH_BYTES: Final = 64 << 10
_NEWLINES = re.compile(rb"[\r\n]*")


class Header(NamedTuple):
    """A parsed record header: header fields by lowercase name and the block's length in bytes."""

    fields: dict[str, str]
    length: int


class Record(NamedTuple):
    """One whole record; `block` is None if it was not wanted. `offset` and `length` are bytes of the file."""

    fields: dict[str, str]
    block: bytes | None
    offset: int
    length: int


class Damage(NamedTuple):
    """A stretch of the file in which a record could not be read; `fields` is its header if that much was readable."""

    kind: str
    message: str
    fields: dict[str, str]
    offset: int
    length: int
    head: bytes


class Grammar(NamedTuple):
    """What tells one archive format from another.

    `header_end` finds the end of a record header in a block of bytes, or -1. `parse` reads a header or raises
    InputError. `starts` says whether bytes begin a record. `line` matches a line start before a record header in a
    plain file, in at most `line_bytes`. `wanted` says whether a record's block is needed at all.
    """

    header_end: Callable[[bytes], int]
    parse: Callable[[bytes], Header]
    starts: Callable[[bytes], bool]
    line: re.Pattern[bytes]
    line_bytes: int
    wanted: Callable[[dict[str, str]], bool]


class Text:
    """A frame's decompressed bytes, read forward with look-ahead."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._block = b""
        self._used = 0
        self._ended = False
        self._error: InputError | None = None
        self.position = 0

    def _more(self) -> bool:
        if self._error is not None:
            raise self._error
        piece = b"" if self._ended else self._frame.read(PIECE_BYTES)
        if not piece:
            self._ended = True
            return False
        self._block = self._block[self._used :] + piece if self._used < len(self._block) else piece
        self._used = 0
        return True

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes without using them; fewer where the frame ends, or breaks off behind them."""
        try:
            while len(self._block) - self._used < size and self._more():
                pass
        except InputError as error:
            if self._used >= len(self._block):
                raise
            self._error = error  # what was decompressed before is still read
        return self._block[self._used : self._used + size]

    def advance(self, size: int) -> None:
        self._used += size
        self.position += size

    def skip_newlines(self) -> None:
        while block := self.peek(64):
            blank = _NEWLINES.match(block).end()  # type: ignore[union-attr]
            self.advance(blank)
            if blank < len(block):
                return

    def header(self, header_end: Callable[[bytes], int]) -> bytes:
        """Return and use the bytes of a record header, its end included."""
        size = 1024
        while True:
            block = self.peek(size)
            end = header_end(block)
            if end >= 0:
                self.advance(end)
                return block[:end]
            if len(block) < size:
                raise InputError("truncated", "the data end inside a record header")
            if size >= MAX_HEADER_BYTES:
                raise InputError("header_too_large", f"a record header is longer than {MAX_HEADER_BYTES} bytes")
            size *= 4

    def body(self, size: int) -> bytes:
        """Return and use the next `size` bytes; fewer if the frame ends."""
        block = self._block[self._used : self._used + size]
        self.advance(len(block))
        pieces = [block]
        missing = size - len(block)
        while missing and self._more():
            block = self._block[:missing]
            self.advance(len(block))
            pieces.append(block)
            missing -= len(block)
        return b"".join(pieces) if len(pieces) > 1 else pieces[0]

    def skip(self, size: int) -> int:
        """Use the next `size` bytes without keeping them; return how many there were."""
        skipped = 0
        while skipped < size and (len(self._block) > self._used or self._more()):
            step = min(size - skipped, len(self._block) - self._used)
            self.advance(step)
            skipped += step
        return skipped

    def drain(self) -> None:
        while self._more():
            self._used = len(self._block)


def _to_next_header(text: Text, grammar: Grammar) -> bool:
    """Move `text` to the next line that begins a readable record header; return whether there is one. Whether its
    length leads to a record shows when it is read. Forward only, so that damage costs linear time."""
    try:
        while True:
            block = text.peek(SEARCH_BYTES)
            is_last = len(block) < SEARCH_BYTES
            stop = len(block) if is_last else len(block) - VERIFY_HEADER_BYTES
            for match in grammar.line.finditer(block):
                at = match.start() + 1
                if at > stop:
                    break
                if _is_readable(block[at : at + VERIFY_HEADER_BYTES], grammar):
                    text.advance(at)
                    return True
            text.advance(stop)
            if is_last:
                return False
    except InputError:
        return False


def _is_readable(head: bytes, grammar: Grammar) -> bool:
    try:
        end = grammar.header_end(head)
        return end >= 0 and grammar.starts(head) and grammar.parse(head[:end]).length >= 0
    except InputError:
        return False


def _one_record(text: Text, grammar: Grammar, fields: dict[str, str], max_record_bytes: int) -> bytes | None:
    """Read one record at the start of `text`, filling `fields` as soon as they are known; return a wanted block."""
    header = grammar.parse(text.header(grammar.header_end))
    fields.update(header.fields)
    block = None
    if header.length > max_record_bytes or not grammar.wanted(fields):
        size = text.skip(header.length)
    else:
        block = text.body(header.length)
        size = len(block)
    if size < header.length:
        raise InputError("truncated", f"a record claims {header.length} bytes, {size} are there")
    text.skip_newlines()
    following = text.peek(VERIFY_HEADER_BYTES)
    if following and not grammar.starts(following):
        raise InputError("corrupt", f"a record's length of {header.length} bytes does not lead to its end")
    if header.length > max_record_bytes:
        raise InputError("record_too_large", f"a record has {header.length} bytes (limit {max_record_bytes})")
    return block


def _frame_records(
    frames: Frames, frame: Frame, end: int, grammar: Grammar, max_record_bytes: int
) -> Iterator[Record | Damage]:
    """Yield the records of one frame that start before `end`, then at most one fatal `Damage` with length -1."""
    text = Text(frame)
    plain = frames.codec == "plain"
    while True:
        fields: dict[str, str] = {}
        offset = frame.start
        head = b""
        try:
            text.skip_newlines()
            offset += text.position if plain else 0
            head = text.peek(64)
            if not head or (plain and offset >= end):
                return
            if text.position and not plain:
                head = b"%d " % text.position + head  # what damage in one frame is told apart by
            block = _one_record(text, grammar, fields, max_record_bytes)
        except InputError as error:
            if error.kind == "record_too_large":
                length = frames.source.position - offset
                yield Damage(error.kind, str(error), fields, offset, length, head)
                continue
            before = text.position
            if not plain and _to_next_header(text, grammar):
                message = f"{error}; {text.position - before} decompressed bytes behind it are passed over"
                yield Damage(error.kind, message, fields, offset, frames.source.position - offset, head)
                continue
            yield Damage(error.kind, str(error), fields, offset, -1, head)
            return
        length = frame.start + text.position - offset if plain else frames.source.position - offset
        yield Record(fields, block, offset, length)


def read_records(
    file: InputFile, start: int, end: int, grammar: Grammar, max_record_bytes: int
) -> Iterator[Record | Damage]:
    """Yield every record and every damaged stretch that starts in [start, end)."""
    with Frames(file, start) as frames:
        source = frames.source
        while True:
            offset = source.position
            try:
                frame = frames.next()
                offset = source.position if frame is None else frame.start
            except InputError as error:
                if offset >= end:
                    return
                resume = find_boundary(file, max(offset, source.position) + 1, grammar)
                yield Damage(error.kind, str(error), {}, offset, resume - offset, b"")
                source.seek(resume)
                continue
            if frame is None or offset >= end:
                return
            resume = -1
            for item in _frame_records(frames, frame, end, grammar, max_record_bytes):
                if isinstance(item, Damage) and item.length < 0:
                    resume = _after_damage(file, frames, frame, item, grammar)
                    item = item._replace(length=resume - item.offset)
                yield item
            if frames.codec == "plain" and resume < 0:
                return
            if resume >= 0:
                source.seek(resume)


def _after_damage(file: InputFile, frames: Frames, frame: Frame, damage: Damage, grammar: Grammar) -> int:
    """Return where reading goes on: after the frame if it is whole and only a record in it is wrong, else at the next
    boundary after the damaged start."""
    if frames.codec != "plain":
        try:
            while frame.read(PIECE_BYTES):
                pass
            return frames.source.position
        except InputError:
            pass
    return find_boundary(file, damage.offset + 1, grammar)


def find_boundary(file: InputFile, offset: int, grammar: Grammar) -> int:
    """Return the first verified record start at or after `offset`, the file size if there is none."""
    if offset <= 0:
        return 0
    with Frames(file) as frames:
        codec = frames.codec
    if codec != "plain":
        return next_frame(file, offset, codec, grammar.starts)
    with open_input(file.uri) as handle:
        total = int(handle.size())

        def check(found: int) -> bool:
            return _is_record(handle, found + 1, total, grammar)

        # from one byte before, so that a record exactly at `offset` is preceded by its newline
        found = search(file, offset - 1, grammar.line, check, grammar.line_bytes)
    return found + 1 if found < total else total


def _is_record(handle: object, position: int, total: int, grammar: Grammar) -> bool:
    """Return whether a record of a plain file starts at `position`: a good header whose length leads to a record."""
    handle.seek(position)  # type: ignore[attr-defined]
    head = handle.read(VERIFY_HEADER_BYTES)  # type: ignore[attr-defined]
    end = grammar.header_end(head)
    if end < 0 or not grammar.starts(head):
        return False
    try:
        header = grammar.parse(head[:end])
    except InputError:
        return False
    after = position + end + header.length
    if after > total:
        return False
    handle.seek(after)  # type: ignore[attr-defined]
    tail = handle.read(VERIFY_HEADER_BYTES).lstrip(b"\r\n")  # type: ignore[attr-defined]
    return not tail or grammar.starts(tail)


def is_splittable(file: InputFile) -> bool:
    """Return whether the file is plain or holds more than one frame."""
    return has_many_frames(file)
