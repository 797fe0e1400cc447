"""The texts of files outside any run, one after the other: what a tokenizer is trained on by hand.

Every format that a run reads is read here too, with the same limits; ``.txt`` and ``.md`` files are read in blocks that
end at a line break. What cannot be read is counted, never silent.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from curate import storage
from curate.errors import InputError, RecipeError
from curate.extract import ExtractSettings, extract
from curate.readers import READERS, Page, ReadSettings, Reject, detect_format
from curate.storage import InputFile

PLAIN_EXTENSIONS: Final = (".txt", ".md")
BLOCK_BYTES: Final = 1 << 20
REPLACEMENT: Final = "\ufffd"


def list_texts(patterns: Sequence[str], option: str = "--input") -> list[tuple[str, InputFile]]:
    """Return (format, file) of everything that the patterns match, sorted by name; the format ``text`` is plain text.
    `option` is where the patterns were given.

    Raises RecipeError naming every pattern that matches nothing and every file of unknown format.
    """
    mistakes: list[str] = []
    found: list[tuple[str, InputFile]] = []
    try:
        files = storage.list_inputs(patterns)
    except InputError as error:
        raise RecipeError(f"{option} {error}") from None
    for file in files:
        try:
            found.append(("text" if file.name.lower().endswith(PLAIN_EXTENSIONS) else detect_format(file.name), file))
        except InputError as error:
            mistakes.append(f"{option} {error}; plain text: {', '.join(PLAIN_EXTENSIONS)}")
    if mistakes:
        raise RecipeError(mistakes)
    return found


def read_texts(files: Sequence[tuple[str, InputFile]], settings: ReadSettings, tally: Counter[str]) -> Iterator[str]:
    """Yield the texts of `files` in order, counting in `tally` the ``texts``, every ``error.<kind>``, and as
    ``replaced.utf8`` the places of plain text that were no UTF-8."""
    for kind, file in files:
        for text in _plain(file, tally) if kind == "text" else _documents(kind, file, settings, tally):
            if text:
                tally["texts"] += 1
                yield text


def _plain(file: InputFile, tally: Counter[str]) -> Iterator[str]:
    """Yield a plain text in blocks of about a MiB that end at a line break; what is no UTF-8 becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    rest, before, replaced = "", b"", 0
    with storage.open_input(file.uri) as stream:
        while block := stream.read(BLOCK_BYTES):
            decoded = decoder.decode(block)
            # those that the file has itself do not count, nor one that two blocks share
            replaced += decoded.count(REPLACEMENT) - (before + block).count(REPLACEMENT.encode())
            before = (before + block)[-2:]
            head, newline, tail = (rest + decoded).rpartition("\n")
            # a block without any line break goes as it is: a text of one endless line stays in bounded memory
            yield head + newline if newline else tail
            rest = tail if newline else ""
    decoded = decoder.decode(b"", final=True)
    if replaced := replaced + decoded.count(REPLACEMENT):
        tally["replaced.utf8"] += replaced
    yield rest + decoded


def _documents(kind: str, file: InputFile, settings: ReadSettings, tally: Counter[str]) -> Iterator[str]:
    skipped: Counter[str] = Counter()
    for item in READERS[kind].read(file, 0, file.size, "", settings, skipped):
        if isinstance(item, Reject):
            tally[item.reason] += 1
        elif isinstance(item, Page):
            try:
                yield item.text or extract(item.body or b"", item.content_type, item.charset, ExtractSettings())
            except InputError as error:
                tally[f"error.{error.kind}"] += 1
        else:
            yield from item.column("text").to_pylist()
