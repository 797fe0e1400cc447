"""The numba code behind `code`: from the bytes of a source file to its symbols, a space after each."""

from __future__ import annotations

from typing import Final

import numpy as np

from curate.text.compiled import Bytes, as_int, compiled, store_u64
from curate.text.utf8 import SPACES

KEYWORD_LIST: Final = """
abstract alignas alignof and any as asm assert async auto await begin bool boolean break byte case catch chan char
class co_await co_return co_yield companion concept const consteval constexpr constinit constructor continue crate
data debugger decltype declare def default defer del delete do double dyn elif else elseif elsif end endif ensure
enum eval except exec explicit export extends extension extern fallthrough false False final finally fixed float fn
for foreach foreign friend from fun func function get global go goto guard if impl implements implicit import in
include infer init inline inout instanceof int interface internal is keyof lambda lateinit lazy let local lock long
loop macro match mod module move mut mutable namespace native new next nil noexcept None nonlocal not null nullptr
object of open operator or out override package params partial pass private proc protected protocol pub public raise
readonly ref register reified require requires rescue restrict return sealed select self Self set short signed
sizeof static static_assert strictfp string struct sub subscript super suspend switch synchronized template then
this thread_local throw throws trait transient true True try type typealias typedef typeid typename typeof uint
undef union unless unsafe unsigned until use using val var virtual void volatile when where while with xor yield
define ifdef ifndef pragma
"""
KEYWORDS: Final = frozenset(KEYWORD_LIST.split())
"""Reserved words of C, C++, C#, Go, Java, JavaScript, Kotlin, PHP, Python, Ruby, Rust, Scala, Swift and TypeScript."""
DIRECTIVES: Final = ("include", "define", "undef", "if", "else", "elif", "endif", "pragma", "error", "import", "line")
"""After ``#`` without a space: a line of C's preprocessor (``ifdef`` and ``ifndef`` begin like ``if``), no comment."""
IDENTIFIER, NUMBER, STRING = ord("i"), ord("0"), ord('"')
_MASK: Final = (1 << 64) - 1
_PRIME: Final = 0x100000001B3
_BASIS: Final = 0xCBF29CE484222325


def _hash(word: bytes) -> int:
    """Return the 64-bit FNV-1a hash of a word."""
    value = _BASIS
    for byte in word:
        value = (value ^ byte) * _PRIME & _MASK
    return value


KEYWORD_HASHES = np.array(sorted(_hash(word.encode()) for word in KEYWORDS), dtype=np.uint64)
DIRECTIVE_BYTES = np.zeros((len(DIRECTIVES), 8), dtype=np.uint8)
for _number, _word in enumerate(DIRECTIVES):
    DIRECTIVE_BYTES[_number, : len(_word)] = list(_word.encode())
BASIS, PRIME = np.uint64(_BASIS), np.uint64(_PRIME)
# classes of bytes
OTHER, LETTER, DIGIT, MARK = 0, 1, 2, 3
CLASSES = np.zeros(256, dtype=np.uint8)
for _byte in range(256):
    _character = chr(_byte)
    if _byte >= 0x80 or _character.isalpha() or _character in "_$":
        CLASSES[_byte] = LETTER
    elif _character.isdigit():
        CLASSES[_byte] = DIGIT
    elif 0x20 < _byte < 0x7F:
        CLASSES[_byte] = MARK


@compiled
def _is_keyword(data: Bytes, start: int, end: int) -> bool:
    value = BASIS
    for at in range(start, end):
        value = (value ^ np.uint64(data[at])) * PRIME
    low, high = 0, KEYWORD_HASHES.size
    while low < high:
        middle = (low + high) // 2
        if KEYWORD_HASHES[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < KEYWORD_HASHES.size and KEYWORD_HASHES[low] == value


@compiled
def _is_directive(data: Bytes, at: int) -> bool:
    """Whether a word of `DIRECTIVES` begins at `at`."""
    for number in range(DIRECTIVE_BYTES.shape[0]):
        same = 0
        while (
            same < 8
            and DIRECTIVE_BYTES[number, same] != 0
            and at + same < data.size
            and data[at + same] == DIRECTIVE_BYTES[number, same]
        ):
            same += 1
        if same == 8 or DIRECTIVE_BYTES[number, same] == 0:
            return True
    return False


@compiled
def _line_end(data: Bytes, at: int) -> int:
    while at < data.size and data[at] != 0x0A:
        at += 1
    return at


@compiled
def _comment_end(data: Bytes, at: int) -> int:
    """Where the comment ends that begins at `at`, or `at`."""
    byte = data[at]
    if byte == 0x2F and at + 1 < data.size:  # /
        if data[at + 1] == 0x2F:
            return _line_end(data, at)
        if data[at + 1] == 0x2A:
            end = at + 2
            while end < data.size:
                if data[end] == 0x2A and end + 1 < data.size and data[end + 1] == 0x2F:
                    return end + 2
                end += 1
            return end
    if byte == 0x23 and (at == 0 or data[at - 1] <= 0x20):  # # at the beginning of a line or after white space
        if at + 1 < data.size and (data[at + 1] == 0x5B or _is_directive(data, at + 1)):
            return at
        return _line_end(data, at)
    return at


@compiled
def _string_end(data: Bytes, at: int) -> int:
    """Where the string ends whose quote is at `at`: after the same quote, or with the line; three quotes end with
    three."""
    quote = data[at]
    if at + 2 < data.size and data[at + 1] == quote and data[at + 2] == quote:
        end = at + 3
        while end < data.size:
            if end + 2 < data.size and data[end] == quote and data[end + 1] == quote and data[end + 2] == quote:
                return end + 3
            end += 1
        return end
    end = at + 1
    while end < data.size and data[end] != 0x0A:
        if data[end] == quote:
            return end + 1
        end += 2 if data[end] == 0x5C and end + 1 < data.size else 1
    return end


@compiled
def fold_code(data: Bytes, folded: Bytes) -> int:
    """Write the symbols of a source file, a space after each; return the bytes written. `folded` has room for two bytes
    for each of `data`, and `SLACK`."""
    size = 0
    at = 0
    while at < data.size:
        kind = as_int(CLASSES[data[at]])
        start = at
        if kind == OTHER:
            at += 1
            continue
        if kind == LETTER:
            while at < data.size and (CLASSES[data[at]] == LETTER or CLASSES[data[at]] == DIGIT):
                at += 1
            if _is_keyword(data, start, at):
                for place in range(start, at):
                    folded[size] = data[place]
                    size += 1
            else:
                folded[size] = IDENTIFIER
                size += 1
        elif kind == DIGIT:
            while at < data.size and (
                CLASSES[data[at]] == LETTER
                or CLASSES[data[at]] == DIGIT
                or (data[at] == 0x2E and at + 1 < data.size and CLASSES[data[at + 1]] == DIGIT)
            ):
                at += 1
            folded[size] = NUMBER
            size += 1
        else:
            at = _comment_end(data, start)
            if at > start:
                continue
            if data[start] == 0x22 or data[start] == 0x27:
                at = _string_end(data, start)
                folded[size] = STRING
            else:
                at = start + 1
                folded[size] = data[start]
            size += 1
        folded[size] = 0x20
        size += 1
    store_u64(folded, size, SPACES)
    return size


SOURCES: Final = ("dedup/code_kernel.py",)
