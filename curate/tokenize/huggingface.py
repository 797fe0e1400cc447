"""Hugging Face ``tokenizer.json`` files with a BPE model, encoded by our own kernels; ``tokenizers`` is not needed.

Two families are read: *byte-level* (GPT-2's alphabet of 256 characters for the bytes, split by a pattern that
`pretokens` knows: Llama 3, GPT-2 and their kin), and *SentencePiece style* (U+2581 for spaces, byte pieces for the
rest: Llama 1 and 2, Mistral, Code Llama). The ids of plain text are those of ``tokenizers``, but for what holds for
every tokenizer here: special tokens in a text stay text, a U+2581 and a space at its beginning come back, and very long
texts are cut.

A file that asks for anything else (a normalizer, another model, tokens that are to be found in text) is refused, and
the message names it. Merges are applied as listed, by the pair, not by what a pair spells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from curate.errors import AssetError
from curate.tokenize import batches, bpe, bpe_kernel, encoder, pairs, spm, spm_kernel
from curate.tokenize.huggingface_file import BYTE_PIECES, Model, brief, read_model, read_object, refuse
from curate.tokenize.tokenizer import Ids, Tokenizer, fingerprint

KIND: Final = "huggingface"
MODEL_FILE: Final = "tokenizer.json"
CONFIG_FILE: Final = "tokenizer_config.json"


def from_json(data: bytes, *, where: str, name: str = "", config: bytes | None = None) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json``. Raises AssetError, which names what is not supported.

    `config` is the ``tokenizer_config.json`` beside it, which says what begins and ends a text.
    """
    model = read_model(data, where)
    roles = _roles(model, read_object(config, f"{where}/{CONFIG_FILE}") if config is not None else {}, where)
    sha256 = fingerprint(data, KIND, "", {role: at for role, at in roles.items() if at is not None})
    vocab_size = 1 + max(*model.vocabulary.values(), *model.specials.values(), 0)
    pattern = model.pattern
    if pattern is None:
        pieces = _pieces(model, where)
        kernel = functools.cache(lambda: encoder.kernel(spm_kernel.tables(pieces), spm.blocks, spm.MAX_BLOCK_CHARS))
    else:
        kernel = functools.cache(lambda: _byte_level(model, pattern))
    return Tokenizer(
        name=name or f"{KIND}-{sha256[:12]}",
        kind=KIND,
        vocab_size=vocab_size,
        bos_id=roles["bos"],
        eos_id=roles["eos"],
        pad_id=roles["pad"],
        unk_id=roles["unk"],
        sha256=sha256,
        encode_text=lambda text: batches.encode_text(kernel(), text),
        token_bytes=_decoder(model, vocab_size),
        kernel=kernel,
        specials=model.specials,
    )


def _roles(model: Model, config: Mapping[str, Any], where: str) -> dict[str, int | None]:
    """Return the ids of bos, eos, pad and unk: as the config says, else by the usual names."""
    names = {**bpe.ROLES, "unk": ("<unk>",)}
    roles: dict[str, int | None] = {}
    for role, usual in names.items():
        if f"{role}_token" in config:
            token = config[f"{role}_token"]
            token = token.get("content") if isinstance(token, dict) else token
            if token is not None and token not in model.specials:
                raise AssetError(f"{where}/{CONFIG_FILE}: {role}_token {brief(token)} is no special token of the file")
            roles[role] = None if token is None else model.specials[token]
        else:
            roles[role] = next((model.specials[name] for name in usual if name in model.specials), None)
    return roles


def _byte_level(model: Model, pattern: str) -> batches.Kernel:
    singles = {token: at for at, token in model.tokens.items() if len(token) == 1}
    ids = np.array([singles[bytes([byte])] for byte in range(256)], dtype=np.int32)
    # the number of a string is its id: an id that text cannot get has bytes that no text has
    size = 1 + max(model.tokens) if model.whole_words else 0
    strings = [model.tokens.get(at, b"\xff" + at.to_bytes(4, "big")) for at in range(size)]
    whole, known = pairs.vocabulary(strings), pairs.listed(*np.ascontiguousarray(model.merges.T))
    tables = bpe_kernel.tables(ids, whole, known, pattern)
    return encoder.kernel(tables, bpe.blocks, bpe.MAX_RUN_CHARS)


def _pieces(model: Model, where: str) -> spm_kernel.Pieces:
    entries = {token: at for token, at in model.vocabulary.items() if token not in BYTE_PIECES}
    refuse(not BYTE_PIECES.keys() <= model.vocabulary.keys(), where, "byte_fallback without all 256 byte pieces")
    number = {at: place for place, at in enumerate(entries.values())}
    try:
        rules = np.array([[number[at] for at in row] for row in model.merges.tolist()], dtype=np.int32).reshape(-1, 3)
    except KeyError as error:
        raise AssetError(f"{where}: not supported: merges of byte pieces") from error
    byte_ids = [model.vocabulary[name] for name in BYTE_PIECES]
    pieces = spm_kernel.Pieces(list(entries), list(entries.values()), byte_ids, model.dummy_prefix, merges=rules)
    refuse(not spm_kernel.supports(pieces), where, "a vocabulary whose merges use characters that have no id")
    return pieces


def _decoder(model: Model, vocab_size: int) -> Callable[[Ids], bytes]:
    table = [b""] * vocab_size
    for at, token in model.tokens.items():
        table[at] = token

    def decode(ids: Ids) -> bytes:
        data = b"".join([table[int(at)] for at in ids])
        return data.removeprefix(b" ") if model.dummy_prefix else data

    return decode
