"""Where tokenizers come from: a SentencePiece model, a tiktoken rank file, a Hugging Face ``tokenizer.json`` or a
folder with one, or a folder that `train` or `export` saved.

A folder holds the model under the name of `MODEL_FILES` and ``card.json`` (kind, vocab_size, pattern, specials, sha256,
settings, what it was trained on). Files are told apart by content, not by name: Llama 2's SentencePiece model and
Llama 3's rank file are both called ``tokenizer.model``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from curate import storage
from curate.errors import AssetError
from curate.tokenize import bpe, huggingface, spm
from curate.tokenize.huggingface_file import MAX_BYTES
from curate.tokenize.tokenizer import Tokenizer

CARD_FILE: Final = "card.json"
CARD_FORMAT: Final = "tokenizer/1"
MODEL_FILES: Final[Mapping[str, str]] = {bpe.KIND: "ranks.tiktoken", spm.KIND: "tokenizer.model"}
_RANK_LINE: Final = re.compile(rb"\s*[A-Za-z0-9+/]+={0,2}[ \t]+\d+\s*?(\n|$)")


def load(
    uri: str, *, name: str = "", pattern: str = bpe.LLAMA3_PATTERN, specials: Sequence[str] | None = None
) -> Tokenizer:
    """Return the tokenizer at `uri`: a folder that was saved or has a ``tokenizer.json``, or a file of the kinds above.

    `pattern` and `specials` apply to a bare rank file only; a folder's card has its own. The default name is made of
    kind and sha256, so that the place of a file never reaches the output. Raises AssetError.
    """
    return read(uri, name=name, pattern=pattern, specials=specials)[0]


def read(
    uri: str, *, name: str = "", pattern: str = bpe.LLAMA3_PATTERN, specials: Sequence[str] | None = None
) -> tuple[Tokenizer, dict[str, bytes]]:
    """Return (the tokenizer that `load` returns, its files: name in a folder -> bytes). A bare model gets a card."""
    names = file_names(uri)
    if CARD_FILE in names:
        files = {file: _read(storage.join(uri, file)) for file in names}
        return from_files(files, where=uri, name=name), files
    if names:
        files = {file: _read(storage.join(uri, file)) for file in names}
        data, config = files[huggingface.MODEL_FILE], files.get(huggingface.CONFIG_FILE)
        where = storage.join(uri, huggingface.MODEL_FILE)
        return huggingface.from_json(data, where=where, name=name, config=config), files
    if not storage.exists(uri):
        raise AssetError(
            f"{uri}: no tokenizer here; give a .model file, a tiktoken rank file, a tokenizer.json or a folder with "
            f"{CARD_FILE} or {huggingface.MODEL_FILE}"
        )
    data = _read(uri)
    if data.lstrip().startswith(b"{"):
        return huggingface.from_json(data, where=uri, name=name), {huggingface.MODEL_FILE: data}
    if _RANK_LINE.match(data):
        tokenizer = bpe.from_ranks(data, where=uri, name=name, pattern=pattern, specials=specials)
    else:
        tokenizer, pattern = spm.from_model(data, where=uri, name=name), ""
    return tokenizer, {MODEL_FILES[tokenizer.kind]: data, CARD_FILE: card_of(tokenizer, pattern)}


def file_names(uri: str) -> list[str]:
    """Return which files below the folder `uri` make its tokenizer; none if it is no folder with one."""
    if storage.exists(storage.join(uri, CARD_FILE)):
        card = _read_card(_read(storage.join(uri, CARD_FILE)), uri)
        model = _model_file(card, uri)
        if not storage.exists(storage.join(uri, model)):
            raise AssetError(f"{uri}: {CARD_FILE} is there, {model} is missing; copy the whole folder")
        return [CARD_FILE, model]
    files = (huggingface.MODEL_FILE, huggingface.CONFIG_FILE)
    found = [file for file in files if storage.exists(storage.join(uri, file))]
    return found if huggingface.MODEL_FILE in found else []


def card_of(tokenizer: Tokenizer, pattern: str) -> bytes:
    """Return the card of a tokenizer of which nothing but its model is known."""
    card = {
        "format": CARD_FORMAT,
        "name": tokenizer.name,
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "pattern": pattern,
        "specials": dict(tokenizer.specials) if tokenizer.kind == bpe.KIND else {},
        "sha256": tokenizer.sha256,
    }
    return (json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _read(uri: str) -> bytes:
    """Return the bytes of a file that may be a tokenizer. Raises AssetError for a larger one than any is."""
    if (size := storage.size(uri)) > MAX_BYTES:
        raise AssetError(f"{uri}: {size} bytes are too many for a tokenizer (limit {MAX_BYTES})")
    return storage.read_bytes(uri)


def from_files(files: Mapping[str, bytes], *, where: str = "tokenizer", name: str = "") -> Tokenizer:
    """Return the tokenizer whose folder has these files (name -> bytes), checked against its card."""
    card = _read_card(files[CARD_FILE], where)
    model = _model_file(card, where)
    name = name or str(card.get("name", ""))
    if card["kind"] == bpe.KIND:
        ordered = sorted(card["specials"], key=lambda token: card["specials"][token])
        tokenizer = bpe.from_ranks(
            files[model], where=f"{where}/{model}", name=name, pattern=card["pattern"], specials=ordered
        )
    else:
        tokenizer = spm.from_model(files[model], where=f"{where}/{model}", name=name)
    if tokenizer.sha256 != card["sha256"] or tokenizer.vocab_size != card["vocab_size"]:
        raise AssetError(f"{where}: {model} is not the file that {CARD_FILE} describes (sha256 or vocab_size differs)")
    return tokenizer


def save(files: Mapping[str, bytes], folder: str) -> None:
    """Write a tokenizer's files below `folder`, the card last."""
    storage.make_folder(folder)
    for name in sorted(files, key=lambda file: file == CARD_FILE):
        storage.write_bytes(storage.join(folder, name), files[name])


def _read_card(data: bytes, where: str) -> dict[str, Any]:
    try:
        card = json.loads(data)
        known = card["format"] == CARD_FORMAT and {"kind", "vocab_size", "pattern", "specials", "sha256"} <= card.keys()
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise AssetError(f"{where}/{CARD_FILE}: not a tokenizer card of format {CARD_FORMAT}")
    return dict(card)


def _model_file(card: Mapping[str, Any], where: str) -> str:
    if card["kind"] not in MODEL_FILES:
        raise AssetError(f"{where}/{CARD_FILE}: unknown kind {card['kind']!r}; known: {', '.join(MODEL_FILES)}")
    return MODEL_FILES[card["kind"]]
