"""A folder of shards as people see it: where it is, and its first rows as text, each with the documents in it."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from curate import storage
from curate.errors import RecipeError
from curate.report.terminal import place_text
from curate.shards.manifest import MANIFEST_FILE
from curate.shards.reader import ShardSet
from curate.tokenize import registry
from curate.tokenize.tokenizer import Tokenizer

TOKENIZER: Final = "tokenizer"
SHARD_PREFIX: Final = "shard-"


class Segment(NamedTuple):
    """A document's part of a row: `tokens` of them from token `first_token` of the document on."""

    document: str
    source: str
    first_token: int
    tokens: int
    text: str


class DecodedRow(NamedTuple):
    """A row as text; `padding` are its tokens that belong to no document."""

    row: int
    padding: int
    segments: list[Segment]


def shards_folder(place: str) -> str:
    """Return the folder of shards that is meant: `place` itself, or the one of the run at `place`.

    Raises RecipeError if there is no manifest in either, and no shard that has lost its own.
    """
    inside = storage.join(place, "shards")
    for folder in (place, inside):
        if storage.exists(storage.join(folder, MANIFEST_FILE)) or _holds_shards(folder):
            return folder
    raise RecipeError(
        f"{place_text(place)}: no {MANIFEST_FILE} here, nor in its shards/; name a folder of shards, or a finished run"
    )


def _holds_shards(folder: str) -> bool:
    if storage.is_local(folder) and not os.path.isdir(storage.local_path(folder)):
        return False
    return any(name.startswith(SHARD_PREFIX) for name in storage.list_names(folder))


def decode_rows(folder: str, number: int, tokenizer: str | None = None) -> list[DecodedRow]:
    """Return the first `number` rows as text, decoded with the given tokenizer or the one beside the shards.

    Raises RecipeError if that is not the tokenizer that made them.
    """
    shards = ShardSet.open(folder)
    loaded = _tokenizer_of(shards, folder, tokenizer)
    rows = []
    for index in range(min(number, len(shards))):
        row = shards.row(index)
        segments, start = [], 0
        for doc_id, length, first, source in zip(row.doc_ids, row.lengths, row.starts, row.sources, strict=True):
            text = loaded.decode(row.ids[start : start + int(length)])
            segments.append(Segment(doc_id.hex(), shards.sources[int(source)], int(first), int(length), text))
            start += int(length)
        rows.append(DecodedRow(index, len(row.ids) - start, segments))
    return rows


def _tokenizer_of(shards: ShardSet, folder: str, given: str | None) -> Tokenizer:
    where = given or storage.join(folder, TOKENIZER)
    if given is None and not registry.file_names(where):
        names = [name for name in storage.list_names(where) if not name.startswith(".")]
        if len(names) != 1:
            raise RecipeError(f"{place_text(where)}: holds no tokenizer; say --tokenizer PATH")
        where = storage.join(where, names[0])
    loaded = registry.load(where)
    wanted = str(shards.manifest["tokenizer"]["sha256"])
    if loaded.sha256 != wanted:
        made = shards.manifest["tokenizer"]["name"]
        found = f"{loaded.name}, sha256 {loaded.sha256[:12]}…; the shards were made with {made}, {wanted[:12]}…"
        raise RecipeError(f"{place_text(where)}: is not the tokenizer of these shards: it is {found}")
    return loaded
