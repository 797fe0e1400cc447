"""Write a tokenizer as a folder that Hugging Face's ``transformers``, ``tiktoken``, SentencePiece and `registry` load.

The folder holds the model file itself, ``tokenizer.json`` made from it, what ``transformers`` reads beside that, and a
card with the SHA-256 of each; equal tokenizers give equal bytes. As in the published conversions of Llama's
vocabularies, every pair of tokens that spells a token becomes a merge, in the order of what it spells. The ids of text
are ours, but that ``tokenizers`` finds special tokens in text unless told not to (``encode_special_tokens``), that a
U+2581 in a text is a space to it, and that it does not cut very long texts. Left out: models that change text before
they encode it, and unigram models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from curate.errors import AssetError
from curate.tokenize import bpe, huggingface, huggingface_file, registry, spm
from curate.tokenize.tokenizer import Tokenizer

CONFIG_FILE: Final = huggingface.CONFIG_FILE
SPECIALS_FILE: Final = "special_tokens_map.json"
FILE_VERSION: Final = "1.0"
ROLES: Final = ("bos", "eos", "unk", "pad")
NO_LIMIT: Final = 10**30
"""What ``transformers`` writes for a tokenizer that puts no limit on a text."""


def export(uri: str, *, name: str = "", infilling: bool = False) -> dict[str, bytes]:
    """Return the files of the folder (name -> bytes) for the tokenizer at `uri`, as `registry.load` takes it.

    `infilling` adds Code Llama's pieces to a SentencePiece model first (`spm.with_infilling`). Raises AssetError for a
    tokenizer that a ``tokenizer.json`` cannot express, or that is one already.
    """
    tokenizer, files = registry.read(uri, name=name)
    if tokenizer.kind not in registry.MODEL_FILES:
        raise AssetError(f"{uri}: is a {huggingface.MODEL_FILE} already; copy it")
    if infilling:
        tokenizer, files = _with_infilling(tokenizer, files, uri)
    model = registry.MODEL_FILES[tokenizer.kind]
    card = json.loads(files[registry.CARD_FILE])
    make = _byte_level if tokenizer.kind == bpe.KIND else _sentencepiece
    names = {role: _name(tokenizer, role) for role in ROLES}
    written = {
        model: files[model],
        huggingface.MODEL_FILE: _json(make(files[model], tokenizer, card, uri), indent=None),
        CONFIG_FILE: _json(_config(names)),
        SPECIALS_FILE: _json({f"{role}_token": token for role, token in names.items() if token is not None}),
    }
    checksums = {file: hashlib.sha256(data).hexdigest() for file, data in written.items()}
    return {**written, registry.CARD_FILE: _json({**card, "name": tokenizer.name, "checksums": checksums})}


def _with_infilling(tokenizer: Tokenizer, files: Mapping[str, bytes], where: str) -> tuple[Tokenizer, dict[str, bytes]]:
    """Return a tokenizer with Code Llama's infilling tokens, and its files."""
    if tokenizer.kind != spm.KIND:
        raise AssetError(f"{where}: infilling tokens are those of a SentencePiece model, as Code Llama's")
    data = spm.with_infilling(files[registry.MODEL_FILES[spm.KIND]], where=where)
    grown = spm.from_model(data, where=where, name=f"{tokenizer.name}-infilling")
    card = json.loads(files[registry.CARD_FILE]) | {"vocab_size": grown.vocab_size, "sha256": grown.sha256}
    return grown, {registry.MODEL_FILES[spm.KIND]: data, registry.CARD_FILE: _json(card)}


def _json(value: Mapping[str, Any], *, indent: int | None = 2) -> bytes:
    # the order of a vocabulary and of merges means something: keys are sorted only where people read them
    return (json.dumps(value, ensure_ascii=False, indent=indent, sort_keys=indent is not None) + "\n").encode()


def _name(tokenizer: Tokenizer, role: str) -> str | None:
    at = getattr(tokenizer, f"{role}_id")
    return next((token for token, one in tokenizer.specials.items() if one == at), None)


def _config(names: Mapping[str, str | None]) -> dict[str, Any]:
    config: dict[str, Any] = {f"{role}_token": token for role, token in names.items() if token is not None}
    return {
        **config,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": NO_LIMIT,
        "clean_up_tokenization_spaces": False,
    }


def _file(
    tokenizer: Tokenizer, model: Mapping[str, Any], normalizer: Any, pre_tokenizer: Any, decoder: Any
) -> dict[str, Any]:
    added = sorted(tokenizer.specials.items(), key=lambda item: item[1])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": FILE_VERSION,
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": at, "content": token, **flags} for token, at in added],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": _post_processor(tokenizer),
        "decoder": decoder,
        "model": model,
    }


def _post_processor(tokenizer: Tokenizer) -> dict[str, Any] | None:
    """Return what begins a text with bos, as Llama's own files do, where there is one."""
    token = _name(tokenizer, "bos")
    if token is None:
        return None

    def text(name: str, number: int) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": token, "type_id": number}}, {"Sequence": {"id": name, "type_id": number}}]

    special = {token: {"id": token, "ids": [tokenizer.bos_id], "tokens": [token]}}
    pair = [*text("A", 0), *text("B", 1)]
    return {"type": "TemplateProcessing", "single": text("A", 0), "pair": pair, "special_tokens": special}


def _model(vocabulary: Mapping[str, int], merges: Iterable[tuple[str, str]], **options: Any) -> dict[str, Any]:
    plain = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    fallback = {"unk_token": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **options}
    return {"type": "BPE", **plain, **fallback, "vocab": dict(vocabulary), "merges": [list(pair) for pair in merges]}


def _pairs(tokens: Iterable[str], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return every pair of tokens that spells one of `tokens`, in their order, those of one token by their ids."""
    merges: list[tuple[str, str]] = []
    for token in tokens:
        halves = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        known = [(left, right) for left, right in halves if left in ids and right in ids]
        merges += sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    return merges


def _byte_level(data: bytes, tokenizer: Tokenizer, card: Mapping[str, Any], where: str) -> dict[str, Any]:
    characters = huggingface_file.byte_characters()
    ranks = bpe.parse_ranks(data, where)
    vocabulary = {"".join(characters[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = _pairs(vocabulary, vocabulary)
    # a pre-token that is a token needs no merges: so does tiktoken take it
    model = _model(vocabulary, merges, ignore_merges=True)
    split = {"type": "Split", "pattern": {"Regex": card["pattern"]}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    splitter = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    return _file(tokenizer, model, None, splitter, {**byte_level, "use_regex": True})


def _sentencepiece(data: bytes, tokenizer: Tokenizer, card: Mapping[str, Any], where: str) -> dict[str, Any]:
    proto = spm.parse(data, where)
    pieces = spm.plain_pieces(proto)
    if pieces is None or pieces.scores is None:
        raise AssetError(f"{where}: no tokenizer.json can be made: not a BPE model that keeps text as it is")
    by_score = sorted(zip(pieces.scores, pieces.ids, pieces.strings, strict=True), key=lambda one: (-one[0], one[1]))
    ids = dict(zip(pieces.strings, pieces.ids, strict=True))
    merges = _pairs([string for _, _, string in by_score], ids)
    vocabulary = {piece.piece: at for at, piece in enumerate(proto.pieces)}
    unknown = _name(tokenizer, "unk")
    model = _model(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    prepend = [{"type": "Prepend", "prepend": spm.SPACE}] if pieces.dummy_prefix else []
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": spm.SPACE}
    decoder = {"type": "Sequence", "decoders": huggingface_file.sentencepiece_decoder(pieces.dummy_prefix)}
    return _file(tokenizer, model, {"type": "Sequence", "normalizers": [*prepend, replace]}, None, decoder)
