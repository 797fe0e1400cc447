"""Compressed files as a sequence of frames: gzip members, zstd frames, lz4 frames, or the one frame of a plain file.

Knowing to the byte where each frame starts and ends is what makes splitting exact, so frames are walked here and never
guessed from a library's read-ahead: gzip members end where zlib says so, the ends of zstd (RFC 8878) and lz4 frames
(LZ4 Frame Format 1.6) follow from their block headers. fastwarc decompresses the latter two. Every read is bounded, so
a bomb costs no more memory than a page. Legacy lz4 frames and raw deflate are not read.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import pyarrow as pa
from fastwarc.stream_io import Lz4Reader, ZstdReader

from curate.errors import InputError
from curate.readers.source import SOURCE_BYTES, Source, search
from curate.storage import InputFile, open_input

GZIP_MAGIC: Final = b"\x1f\x8b\x08"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC: Final = b"\x04\x22\x4d\x18"
ZSTD_DICTIONARY_MAGIC: Final = b"\x37\xa4\x30\xec"
MAX_DICTIONARY_BYTES: Final = 16 << 20
MAX_WINDOW_BYTES: Final = 128 << 20
INFLATE_BYTES: Final = 64 << 10
PIECE_BYTES: Final = 512 << 10
SPLIT_PROBE_BYTES: Final = 4 << 20
VERIFY_BYTES: Final = 4 << 10
_MAGICS: Final = {
    "gzip": re.compile(rb"\x1f\x8b\x08[\x00-\x1f]"),
    "zstd": re.compile(re.escape(ZSTD_MAGIC)),
    "lz4": re.compile(re.escape(LZ4_MAGIC)),
}


class Frame(Protocol):
    """One independently compressed stretch of a file, starting at byte `start` of it."""

    start: int

    def read(self, size: int) -> bytes:
        """Return 1 to `size` decompressed bytes, b'' at the end. Raises InputError('corrupt' or 'truncated')."""


class PlainFrame:
    """A file that is not compressed: all of it from `start` is one frame."""

    def __init__(self, source: Source) -> None:
        self.start = source.position
        self._source = source

    def read(self, size: int) -> bytes:
        return self._source.take(size)


class GzipFrame:
    """One gzip member; its checksum and length are verified at its end."""

    def __init__(self, source: Source) -> None:
        self.start = source.position
        self._source = source
        self._inflate = zlib.decompressobj(31)
        # small first, because what lies behind the member's end is copied back and a file may hold millions of members
        self._step = 4 << 10

    def read(self, size: int) -> bytes:
        inflate = self._inflate
        while not inflate.eof:
            data = inflate.unconsumed_tail or self._source.take(self._step)
            self._step = min(2 * self._step, INFLATE_BYTES)
            try:
                piece = inflate.decompress(data, size)
            except zlib.error as error:
                raise InputError("corrupt", f"gzip member at {self.start}: {error}") from error
            if inflate.eof:
                self._source.give_back(len(inflate.unused_data))
            if piece:
                return piece
            if not data and not inflate.eof:
                raise InputError("truncated", f"gzip member at {self.start} has no end")
        return b""


class _Window:
    """The bytes of one zstd or lz4 frame as a file: it ends where the frame ends, whatever follows in the source."""

    def __init__(self, source: Source, piece_size: Callable[[Source], int | None]) -> None:
        self._source = source
        self._piece_size = piece_size
        self._left: int | None = 0
        self._passed = 0

    def read(self, size: int = -1) -> bytes:
        if self._left == 0:
            self._left = self._piece_size(self._source)
        if self._left is None:
            return b""
        data = self._source.take(min(self._left, size if size > 0 else PIECE_BYTES))
        if not data:
            raise InputError("truncated", f"the file ends inside a compressed frame, at {self._source.position}")
        self._left -= len(data)
        self._passed += len(data)
        return data

    def tell(self) -> int:
        return self._passed

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError("a compressed frame is read forward only")

    def close(self) -> None:
        """The source stays open: other frames follow."""


class _WindowFrame:
    """One zstd or lz4 frame."""

    def __init__(self, source: Source, walk: Callable[[Source], int | None], reader: Callable[[Any], Any]) -> None:
        self.start = source.position
        self._window = _Window(source, walk)
        self._make = reader
        self._reader: Any = None

    def read(self, size: int) -> bytes:
        try:
            if self._reader is None:
                self._reader = self._make(self._window)
            piece = bytes(self._reader.read(size))
            if not piece:
                while self._window.read():
                    pass
            return piece
        except OSError as error:
            raise InputError("corrupt", f"compressed frame at {self.start}: {error}") from error


def _need(source: Source, size: int) -> bytes:
    data = source.peek(size)
    if len(data) < size:
        raise InputError("truncated", f"the file ends inside a compressed frame, at {source.position}")
    return data


def _zstd_header(head: bytes) -> tuple[int, int, bool]:
    """Return header bytes, window bytes and whether a checksum ends the frame, of a zstd frame that starts `head`."""
    descriptor = head[4]
    single, size_flag = descriptor >> 5 & 1, descriptor >> 6
    if descriptor & 8:
        raise InputError("corrupt", "zstd frame with a reserved header bit")
    window = 0
    if not single:
        base = 1 << (10 + (head[5] >> 3))
        window = base + (base >> 3) * (head[5] & 7)
    content = (single, 2, 4, 8)[size_flag]
    return 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + content, window, bool(descriptor & 4)


def _zstd_walk() -> Callable[[Source], int | None]:
    """Return a function that gives the size of the next piece (header, block, checksum) of a zstd frame, None after."""
    state = "header"
    checksum = False

    def piece_size(source: Source) -> int | None:
        nonlocal state, checksum
        if state == "header":
            head = _need(source, 6)
            size, window, checksum = _zstd_header(head)
            if window > MAX_WINDOW_BYTES:
                raise InputError("corrupt", f"zstd frame needs a window of {window} bytes (limit {MAX_WINDOW_BYTES})")
            state = "blocks"
            return size
        if state == "blocks":
            block = int.from_bytes(_need(source, 3), "little")
            last, kind, size = block & 1, block >> 1 & 3, block >> 3
            if kind == 3:
                raise InputError("corrupt", f"zstd block of a reserved type at {source.position}")
            if last:
                state = "checksum" if checksum else "end"
            return 3 + (1 if kind == 1 else size)
        if state == "checksum":
            state = "end"
            return 4
        return None

    return piece_size


def _lz4_walk() -> Callable[[Source], int | None]:
    """Return a function that gives the size of the next piece (header, block, end mark) of an lz4 frame, None after."""
    state = "header"
    flags = 0

    def piece_size(source: Source) -> int | None:
        nonlocal state, flags
        if state == "header":
            flags = _need(source, 6)[4]
            state = "blocks"
            return 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
        if state == "blocks":
            size = int.from_bytes(_need(source, 4), "little") & 0x7FFFFFFF
            if size == 0:
                state = "end"
                return 4 + (4 if flags & 4 else 0)
            if size > 8 << 20:
                raise InputError("corrupt", f"lz4 block of {size} bytes at {source.position}")
            return 4 + size + (4 if flags & 16 else 0)
        return None

    return piece_size


def codec_of(head: bytes) -> str:
    """Return 'gzip', 'zstd', 'lz4' or 'plain' from the first bytes of a file, whatever its name says."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if head.startswith(LZ4_MAGIC):
        return "lz4"
    if head.startswith(ZSTD_MAGIC) or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    return "plain"


class Frames:
    """The frames of a file in order, from any frame start. Use as a context manager."""

    def __init__(self, file: InputFile, position: int = 0) -> None:
        self._handle = open_input(file.uri)
        self.source = Source(self._handle)
        self.codec = codec_of(self.source.peek(4))
        self._dictionary = self._read_dictionary() if self.codec == "zstd" else None
        self.source.seek(position)

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def next(self) -> Frame | None:
        """Return the frame at the source's position, past padding and skippable frames; None at the end of the file.
        Raises InputError('corrupt') if no frame starts there."""
        source = self.source
        if self.codec == "plain":
            return PlainFrame(source) if source.peek(1) else None
        source.skip_padding()
        while self.codec != "gzip" and (head := source.peek(8)) and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:
            self._skip(8 + int.from_bytes(head[4:8], "little"))
        head = source.peek(4)
        if not head:
            return None
        if codec_of(head) != self.codec:
            raise InputError("corrupt", f"no {self.codec} frame starts at {source.position}")
        if self.codec == "gzip":
            return GzipFrame(source)
        if self.codec == "lz4":
            return _WindowFrame(source, _lz4_walk(), Lz4Reader)
        return _WindowFrame(source, _zstd_walk(), self._zstd_reader)

    def _zstd_reader(self, window: Any) -> Any:
        return ZstdReader(window, dictionary=self._dictionary) if self._dictionary else ZstdReader(window)

    def _skip(self, size: int) -> None:
        while size:
            data = self.source.take(min(size, SOURCE_BYTES))
            if not data:
                raise InputError("truncated", "the file ends inside a skippable frame")
            size -= len(data)

    def _read_dictionary(self) -> bytes | None:
        """Return the dictionary that a .warc.zst file keeps in a skippable first frame, itself maybe compressed."""
        head = self.source.peek(8)
        size = int.from_bytes(head[4:8], "little")
        if not head.startswith(b"\x5d\x2a\x4d\x18") or size > MAX_DICTIONARY_BYTES:
            return None
        data = self.source.peek(8 + size)[8:]
        if data.startswith(ZSTD_MAGIC):
            try:
                data = bytes(ZstdReader(pa.BufferReader(data)).read(MAX_DICTIONARY_BYTES))
            except OSError:
                return None  # each frame that needs it will say so
        return data if data.startswith(ZSTD_DICTIONARY_MAGIC) else None


def next_frame(file: InputFile, offset: int, codec: str, starts_record: Callable[[bytes], bool]) -> int:
    """Return the start of the first frame at or after `offset` whose content `starts_record`, the file size if none."""
    if offset <= 0:
        return 0
    with Frames(file) as frames:

        def check(found: int) -> bool:
            frames.source.seek(found)
            try:
                frame = frames.next()
                return frame is not None and starts_record(_beginning(frame))
            except InputError:
                return False

        return search(file, offset, _MAGICS[codec], check, 4)


def _beginning(frame: Frame) -> bytes:
    """Return the first bytes of `frame`: enough to recognise a record and to notice a frame that is none."""
    data = b""
    while len(data) < VERIFY_BYTES and (piece := frame.read(VERIFY_BYTES - len(data))):
        data += piece
    return data


def has_many_frames(file: InputFile) -> bool:
    """Return whether another frame follows the first, looking only at the first few megabytes; True if plain."""
    with Frames(file) as frames:
        if frames.codec == "plain":
            return True
        try:
            first = frames.next()
            while first is not None and frames.source.position < SPLIT_PROBE_BYTES and first.read(PIECE_BYTES):
                pass
            return frames.source.position < SPLIT_PROBE_BYTES and frames.next() is not None
        except InputError:
            return frames.source.position < SPLIT_PROBE_BYTES
