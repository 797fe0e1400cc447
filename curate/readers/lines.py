"""Lines of plain and compressed text files, and ranges of them.

In a plain file a range starts right behind a newline. In a compressed one it starts at a frame, where a line may be
under way: a range that does not begin at 0 leaves out everything through its first newline, and every range reads on
until it has read the line that starts exactly at, or before, its end. So each line is read once, in whichever frames it
lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from curate.errors import InputError
from curate.readers.source import search
from curate.readers.streams import PIECE_BYTES, Frames, next_frame
from curate.storage import InputFile

_NEWLINE: Final = re.compile(rb"\n")


class Line(NamedTuple):
    """One line without its newline; `data` is None and `error` set where there is no usable line."""

    data: bytes | None
    offset: int
    length: int
    error: tuple[str, str] | None


def read_lines(file: InputFile, start: int, end: int, max_bytes: int) -> Iterator[Line]:
    """Yield the lines that start in [start, end), those above `max_bytes` and damaged frames as errors."""
    if start >= end:
        return
    with Frames(file) as frames:
        plain = frames.codec == "plain"
        frames.source.seek(start)
        resume: int | None = start
        partial = start > 0 and not plain
        while resume is not None:
            frames.source.seek(resume)
            resume = None
            origin = frames.source.position
            try:
                yield from _run(frames, end, plain, partial, max_bytes)
            except _BrokenFrameError as broken:
                resume = next_frame(file, broken.offset + 1, frames.codec, bool)
                yield Line(None, broken.offset, resume - broken.offset, (broken.kind, str(broken)))
                partial = True
                if resume <= origin or resume > end or resume >= file.size:
                    return


class _BrokenFrameError(InputError):
    def __init__(self, error: InputError, offset: int) -> None:
        super().__init__(error.kind, str(error))
        self.offset = offset


def _pieces(frames: Frames) -> Iterator[tuple[int, int, bytes]]:
    """Yield (frame start, frame end or -1 while unknown, data); a frame's end comes with empty data."""
    while True:
        offset = frames.source.position
        try:
            frame = frames.next()
            if frame is None:
                return
            offset = frame.start
            while piece := frame.read(PIECE_BYTES):
                yield offset, -1, piece
        except InputError as error:
            raise _BrokenFrameError(error, offset) from error
        yield offset, frames.source.position, b""


def _run(frames: Frames, end: int, plain: bool, partial: bool, max_bytes: int) -> Iterator[Line]:
    """Yield lines from the source's position on until one starts beyond `end`; if `partial`, not the first."""
    held: list[bytes] = []
    size = 0
    # where the line under way starts: (byte of the file, bytes into that frame)
    start = (frames.source.position, 0)
    inner = 0
    frame_start = -1
    skip = partial
    for offset, frame_end, piece in _pieces(frames):
        if offset != frame_start:
            frame_start, inner = offset, 0
        if frame_end >= 0:
            if not size and not skip and inner == start[1]:
                start = (frame_end, 0)
            continue
        at = 0
        while True:
            newline = piece.find(b"\n", at)
            stop = newline if newline >= 0 else len(piece)
            if size + stop - at <= max_bytes and not skip:
                held.append(piece[at:stop])
            elif held:
                held.clear()
            size += stop - at
            if newline < 0:
                break
            if not skip:
                yield _line(held, size, start, frames, plain, max_bytes)
            skip = False
            held.clear()
            size = 0
            at = newline + 1
            start = (offset + inner + at, 0) if plain else (offset, inner + at)
            if (plain and start[0] >= end) or (not plain and start > (end, 0)):
                return
        inner += len(piece)
    if size and not skip:
        yield _line(held, size, start, frames, plain, max_bytes)


def _line(held: list[bytes], size: int, start: tuple[int, int], frames: Frames, plain: bool, max_bytes: int) -> Line:
    length = size + 1 if plain else frames.source.position - start[0]
    if size > max_bytes:
        message = f"a line has {size} bytes (limit {max_bytes})"
        return Line(None, start[0], length, ("record_too_large", message))
    return Line(b"".join(held), start[0], length, None)


def line_boundary(file: InputFile, offset: int) -> int:
    """Return the first line start (in a compressed file: frame start) at or after `offset`."""
    if offset <= 0:
        return 0
    with Frames(file) as frames:
        codec = frames.codec
    if codec != "plain":
        return next_frame(file, offset, codec, bool)
    found = search(file, offset - 1, _NEWLINE, lambda _: True, 1)
    return min(found + 1, file.size)
