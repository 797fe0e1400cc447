"""What a Hugging Face ``tokenizer.json`` with a BPE model says, read and checked: see `huggingface`.

The file is data from anywhere: it is bounded in size, ids and lengths, and whatever is not understood is refused by
name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import AssetError
from curate.tokenize import pairs, pretokens

MAX_BYTES: Final = 256 << 20
MAX_MERGES: Final = 2 * pairs.MAX_SYMBOLS
SPACE: Final = "\u2581"
BYTE_PIECES: Final = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}
_TOP: Final = {
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
    "model",
}  # fmt: skip
_MODEL: Final = {
    "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback",
    "ignore_merges", "vocab", "merges",
}  # fmt: skip


class Model(NamedTuple):
    """What a file says.

    Ids of its vocabulary and the bytes of each; merges (left, right, result) as ids in the order of their ranks int32
    [merges, 3]; ids of its special tokens; whether a word of the vocabulary needs no merges; the split pattern (None in
    SentencePiece style); whether a space is put before a text.
    """

    vocabulary: dict[str, int]
    tokens: dict[int, bytes]
    merges: npt.NDArray[np.int32]
    specials: dict[str, int]
    whole_words: bool
    pattern: str | None
    dummy_prefix: bool


def byte_characters() -> list[str]:
    """Return the character that stands for each byte in a byte-level vocabulary (GPT-2's ``bytes_to_unicode``)."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def read_model(data: bytes, where: str) -> Model:
    """Return what a ``tokenizer.json`` says. Raises AssetError, which names what is not supported."""
    file = read_object(data, where)
    model = file.get("model")
    if not isinstance(model, dict):
        raise AssetError(f"{where}: not a tokenizer.json: it has no model")
    _only(file, _TOP, where, "")
    for key in ("truncation", "padding"):
        refuse(file.get(key) is not None, where, f"{key} {brief(file.get(key))}")
    specials = _specials(file.get("added_tokens") or [], where)
    refuse(model.get("type", "BPE") != "BPE", where, f"model {brief(model.get('type'))} (only BPE is)")
    _only(model, _MODEL, where, "model.")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        refuse(bool(model.get(key)), where, f"model.{key} {brief(model.get(key))}")
    vocabulary = _vocabulary(model.get("vocab"), where)
    rules = _merges(model.get("merges"), vocabulary, where)
    refuse(bool(np.isin(rules[:, 2], list(specials.values())).any()), where, "a special token that merges make")
    _check_post_processor(file.get("post_processor"), specials, where)
    pattern, prefix = _look(file, bool(model.get("byte_fallback")), where)
    plain = {token: at for token, at in vocabulary.items() if token not in specials}
    refuse(any(specials.get(token, at) != at for token, at in vocabulary.items()), where, "a token with two ids")
    refuse(bool(set(plain.values()) & set(specials.values())), where, "an id with two tokens")
    whole = bool(model.get("ignore_merges"))
    refuse(whole and pattern is None, where, "model.ignore_merges in SentencePiece style")
    tokens = _spelled(plain) if pattern is None else _byte_level_tokens(plain, where)
    return Model(plain, tokens, rules, specials, whole, pattern, prefix)


def _spelled(vocabulary: Mapping[str, int]) -> dict[int, bytes]:
    """Return the bytes of each id in SentencePiece style."""
    return {at: BYTE_PIECES.get(token, token.replace(SPACE, " ").encode()) for token, at in vocabulary.items()}


def _byte_level_tokens(vocabulary: Mapping[str, int], where: str) -> dict[int, bytes]:
    byte_of = {char: byte for byte, char in enumerate(byte_characters())}
    strange = next((token for token in vocabulary if not byte_of.keys() >= set(token)), None)
    refuse(strange is not None, where, f"the token {brief(strange)} in a byte-level vocabulary")
    missing = [byte for char, byte in byte_of.items() if char not in vocabulary]
    refuse(bool(missing), where, f"a byte-level vocabulary without {len(missing)} of the 256 bytes")
    return {at: bytes(byte_of[char] for char in token) for token, at in vocabulary.items()}


def read_object(data: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object that `data` are. Raises AssetError."""
    if len(data) > MAX_BYTES:
        raise AssetError(f"{where}: {len(data)} bytes are too many for a tokenizer (limit {MAX_BYTES})")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise AssetError(f"{where}: not JSON: {what}") from error
    if not isinstance(value, dict):
        raise AssetError(f"{where}: not a JSON object")
    return value


def brief(value: Any) -> str:
    """Return JSON of at most 80 characters, for a message."""
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def refuse(wrong: bool, where: str, what: str) -> None:
    """Raise AssetError, if something is `wrong`, that says what is not supported."""
    if wrong:
        raise AssetError(f"{where}: not supported: {what}")


def _only(value: Mapping[str, Any], known: set[str], where: str, place: str) -> None:
    for key in value:
        refuse(key not in known, where, f"the field {brief(place + key)}")


def _specials(added: Any, where: str) -> dict[str, int]:
    specials: dict[str, int] = {}
    if not isinstance(added, list) or not all(isinstance(one, dict) for one in added):
        raise AssetError(f"{where}: added_tokens is no list of tokens")
    for one in added:
        content, at = one.get("content"), one.get("id")
        if not isinstance(content, str) or not content or not _is_id(at) or content in specials:
            raise AssetError(f"{where}: added_tokens: {brief(one)} is no token, or there twice")
        refuse(not one.get("special"), where, f"the added token {brief(content)}, which is to be found in text")
        specials[content] = at
    if len(set(specials.values())) != len(specials):
        raise AssetError(f"{where}: two added tokens have the same id")
    return specials


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < pairs.MAX_SYMBOLS


def _vocabulary(value: Any, where: str) -> dict[str, int]:
    if not isinstance(value, dict) or not value:
        raise AssetError(f"{where}: model.vocab is missing or empty")
    for token, at in value.items():
        if not _is_id(at) or not token:
            raise AssetError(f"{where}: model.vocab: {brief({token: at})}: ids are 0 to {pairs.MAX_SYMBOLS - 1}")
        if len(token) > pairs.MAX_TOKEN_BYTES // 4:
            raise AssetError(f"{where}: model.vocab: {brief(token)} is too long")
    if len(set(value.values())) != len(value):
        raise AssetError(f"{where}: model.vocab: two tokens have the same id")
    return dict(value)


def _merges(value: Any, vocabulary: Mapping[str, int], where: str) -> npt.NDArray[np.int32]:
    if not isinstance(value, list) or len(value) > MAX_MERGES:
        raise AssetError(f"{where}: model.merges is no list, or too long")
    found: dict[tuple[int, int], int] = {}
    for number, one in enumerate(value):
        sides = one.split(" ") if isinstance(one, str) else one
        if not isinstance(sides, list) or len(sides) != 2 or not all(isinstance(side, str) for side in sides):
            raise AssetError(f"{where}: model.merges[{number}]: {brief(one)} is no pair of tokens")
        left, right = (vocabulary.get(side) for side in sides)
        result = vocabulary.get(sides[0] + sides[1])
        if left is None or right is None or result is None:
            raise AssetError(f"{where}: model.merges[{number}]: {brief(one)} has a part or result without an id")
        if (left, right) in found:
            raise AssetError(f"{where}: model.merges[{number}]: {brief(one)} is there twice")
        found[left, right] = result
    table = [(left, right, result) for (left, right), result in found.items()]
    return np.array(table, dtype=np.int32).reshape(-1, 3)


def _steps(value: Any, key: str, where: str) -> list[dict[str, Any]]:
    """Return a component's steps: none, itself, or those of a Sequence."""
    if value is None:
        return []
    steps = value.get(key) if isinstance(value, dict) and value.get("type") == "Sequence" else [value]
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise AssetError(f"{where}: {brief(value)} is no component of a tokenizer")
    return steps


def _look(file: Mapping[str, Any], byte_fallback: bool, where: str) -> tuple[str | None, bool]:
    """Return how the file looks at text: (split pattern, None if it is of SentencePiece style; dummy prefix)."""
    normalizers = _steps(file.get("normalizer"), "normalizers", where)
    splitters = _steps(file.get("pre_tokenizer"), "pretokenizers", where)
    if splitters and splitters[-1].get("type") == "ByteLevel":
        refuse(bool(normalizers), where, f"normalizer {brief(file.get('normalizer'))}")
        refuse(byte_fallback, where, "model.byte_fallback in a byte-level vocabulary")
        _check_decoder(file, [{"type": "ByteLevel"}], where)
        return _pattern(splitters, where), False
    refuse(not byte_fallback, where, f"pre_tokenizer {brief(file.get('pre_tokenizer'))} without byte_fallback")
    prefix = _prefix(normalizers, splitters, file, where)
    _check_decoder(file, sentencepiece_decoder(prefix), where)
    return None, prefix


def sentencepiece_decoder(prefix: bool) -> list[dict[str, Any]]:
    """Return the steps of a decoder in SentencePiece style."""
    steps: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}]
    steps += [{"type": "ByteFallback"}, {"type": "Fuse"}]
    return [*steps, {"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else steps


def _pattern(splitters: list[dict[str, Any]], where: str) -> str:
    last = splitters[-1]
    refuse(bool(last.get("add_prefix_space", True)), where, "ByteLevel with add_prefix_space")
    if len(splitters) == 1 and last.get("use_regex", True):
        pattern: Any = pretokens.GPT2_PATTERN
    else:
        first = splitters[0]
        plain = len(splitters) == 2 and first.get("type") == "Split" and not last.get("use_regex", True)
        refuse(not plain or first.get("behavior") != "Isolated", where, f"pre_tokenizer {brief(splitters)}")
        refuse(bool(first.get("invert")), where, "pre_tokenizer Split with invert")
        pattern = (first.get("pattern") or {}).get("Regex")
    refuse(pattern not in pretokens.PATTERNS, where, f"the split pattern {brief(pattern)}")
    return str(pattern)


def _prefix(
    normalizers: list[dict[str, Any]], splitters: list[dict[str, Any]], file: Mapping[str, Any], where: str
) -> bool:
    """Return whether a space is put before a text: by a normalizer (older files) or by Metaspace."""
    prepend = {"type": "Prepend", "prepend": SPACE}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if not splitters:
        refuse(normalizers not in ([prepend, replace], [replace]), where, f"normalizer {brief(file['normalizer'])}")
        return prepend in normalizers
    refuse(bool(normalizers), where, f"normalizer {brief(file.get('normalizer'))}")
    one = splitters[0]
    plain = len(splitters) == 1 and one.get("type") == "Metaspace" and one.get("replacement") == SPACE
    scheme = one.get("prepend_scheme")
    plain = plain and one.get("split") is False and scheme in ("first", "always", "never")
    refuse(not plain, where, f"pre_tokenizer {brief(file.get('pre_tokenizer'))}")
    return bool(scheme != "never")


def _check_decoder(file: Mapping[str, Any], expected: list[dict[str, Any]], where: str) -> None:
    """Refuse a decoder other than that of the style: tokens would not mean their bytes there."""
    steps = _steps(file.get("decoder"), "decoders", where)
    # the options of ByteLevel are for splitting; those of Metaspace have been looked at where it splits
    plain = [{"type": step.get("type")} if step.get("type") == "ByteLevel" else step for step in steps]

    metaspace = len(plain) == 2 and plain[0] == {"type": "ByteFallback"} and plain[1].get("type") == "Metaspace"
    refuse(bool(plain) and plain != expected and not metaspace, where, f"decoder {brief(file.get('decoder'))}")


def _check_post_processor(value: Any, specials: Mapping[str, int], where: str) -> None:
    """Refuse what would change ids; special tokens around a text are the caller's choice (``add_bos``, ``add_eos``)."""
    for step in _steps(value, "processors", where):
        if step.get("type") == "ByteLevel":
            continue
        refuse(step.get("type") != "TemplateProcessing", where, f"post_processor {brief(step)}")
        parts = step.get("single") or []
        names = [part.get("SpecialToken", {}).get("id") for part in parts if isinstance(part, dict)]
        known = [name for name in names if name is not None]
        refuse(any(name not in specials for name in known), where, f"post_processor {brief(parts)}")
        refuse(len(known) != len(parts) - 1, where, f"post_processor {brief(parts)}")
