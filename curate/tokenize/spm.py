"""SentencePiece models (``.model`` files), encoded so that text survives.

Two things are done around the library, both only where the model has byte pieces (``byte_fallback``), does not
normalise, and has no piece with a line break (true of LLaMA 1/2's model and of those that `curate` trains):

- The library writes a space as U+2581, so a U+2581 in the text would come back as a space. It is encoded as its three
  UTF-8 byte pieces instead (0xE2 0x96 0x81).
- Encoding costs more than linear time (a 1 MB text: 2.7 MB/s whole, 7 in blocks) and much memory. Long texts are
  encoded in blocks cut before a line break, which gives the very ids of the whole text; only a line of more than
  400,000 characters is cut inside.

Pieces of type *user-defined* would be found in page text. Those that spell anything but white space are loaded as
*control* pieces, which text can never produce, and a control piece of one character, which it could, gets another name.

Batches are encoded by `spm_kernel` wherever it gives the ids of the library.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sentencepiece

from curate.errors import AssetError
from curate.tokenize import encoder, spm_kernel
from curate.tokenize.batches import Kernel
from curate.tokenize.tokenizer import Ids, Tokenizer, fingerprint

KIND: Final = "sentencepiece"
SPACE: Final = "\u2581"
BLOCK_CHARS: Final = 4_096
MAX_BLOCK_CHARS: Final = 400_000
# noncharacters, which text has no use for, then private-use characters
STAND_INS: Final = [chr(c) for c in range(0xFDD0, 0xFDF0)] + [chr(c) for c in range(0xE000, 0xF900)]
INFILLING: Final = tuple(f"{SPACE}<{name}>" for name in ("PRE", "SUF", "MID", "EOT"))
"""Code Llama's tokens around the prefix, suffix and middle of a text, and at its end: ids 32,007 to 32,010."""
_INFILLING_PARTS: Final = tuple(SPACE + part for part in ("<SU", "<SUF", "<PRE", "<M", "<MID", "<E", "<EOT"))
_INFILLING_UNUSED: Final = 5
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6


def from_model(data: bytes, *, where: str, name: str = "") -> Tokenizer:
    """Return the tokenizer of a SentencePiece model file. Raises AssetError if it is none."""
    proto = parse(data, where)
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(proto.SerializeToString())
    except (RuntimeError, UnicodeDecodeError) as error:
        # the library's own message may hold bytes of the file
        raise AssetError(f"{where}: not a usable SentencePiece model: {error}") from error
    sha256 = fingerprint(data, KIND, "", {})
    return Tokenizer(
        name=name or f"{KIND}-{sha256[:12]}",
        kind=KIND,
        vocab_size=processor.vocab_size(),
        bos_id=_optional(processor.bos_id()),
        eos_id=_optional(processor.eos_id()),
        pad_id=_optional(processor.pad_id()),
        unk_id=_optional(processor.unk_id()),
        sha256=sha256,
        encode_text=_encoder(processor, proto),
        token_bytes=_decoder(proto),
        kernel=_kernel(proto),
        specials={piece.piece: i for i, piece in enumerate(proto.pieces) if piece.type in (_CONTROL, _UNKNOWN)},
    )


def _kernel(proto: Any) -> Callable[[], Kernel] | None:
    """Return what builds the encoder of batches; None for models that only the library knows."""
    pieces = plain_pieces(proto)
    if pieces is None:
        return None
    return functools.cache(lambda: encoder.kernel(spm_kernel.tables(pieces), blocks, MAX_BLOCK_CHARS))


def plain_pieces(proto: Any) -> spm_kernel.Pieces | None:
    """Return the pieces of a BPE model that keeps text as it is, and merges by score alone; None for any other."""
    if proto.trainer_spec.model_type != proto.trainer_spec.BPE or not _keeps_text(proto):
        return None
    if any(piece.type not in (_NORMAL, _UNKNOWN, _CONTROL, _BYTE) for piece in proto.pieces):
        return None
    entries = [(i, piece) for i, piece in enumerate(proto.pieces) if piece.type == _NORMAL]
    by_name = {piece.piece: i for i, piece in enumerate(proto.pieces) if piece.type == _BYTE}
    pieces = spm_kernel.Pieces(
        strings=[piece.piece for _, piece in entries],
        ids=[i for i, _ in entries],
        byte_ids=[by_name[name] for byte in range(256) if (name := f"<0x{byte:02X}>") in by_name],
        dummy_prefix=_dummy_prefix(proto),
        scores=[piece.score for _, piece in entries],
    )
    return pieces if spm_kernel.supports(pieces) else None


def _dummy_prefix(proto: Any) -> bool:
    return bool(proto.normalizer_spec.add_dummy_prefix and not proto.trainer_spec.treat_whitespace_as_suffix)


def parse(data: bytes, where: str) -> Any:
    """Return the ``ModelProto`` of a model file as it is used here (see the head of this file). Raises AssetError."""
    # imported here: only who loads a model pays for protobuf
    messages: Any = importlib.import_module("google.protobuf.message")
    proto = importlib.import_module("sentencepiece.sentencepiece_model_pb2").ModelProto()
    try:
        proto.ParseFromString(data)
    except messages.DecodeError as error:
        raise AssetError(f"{where}: neither a SentencePiece model nor a tiktoken rank file") from error
    if not proto.pieces:
        raise AssetError(f"{where}: a SentencePiece model without pieces")
    if not (proto.HasField("trainer_spec") and proto.HasField("normalizer_spec")):
        raise AssetError(f"{where}: a SentencePiece model without its settings: the file is cut off")
    # what is not UTF-8 is read as bytes
    strange = next((at for at, piece in enumerate(proto.pieces) if not isinstance(piece.piece, str)), None)
    if strange is not None:
        raise AssetError(f"{where}: piece {strange} of the SentencePiece model is not UTF-8")
    for piece in proto.pieces:
        if piece.type == _USER_DEFINED and piece.piece.replace(SPACE, " ").strip():
            piece.type = _CONTROL
        if piece.piece in INFILLING:
            # ordinary pieces in Code Llama's model: a page that spells them would get them
            piece.type = _CONTROL
        if piece.type in (_CONTROL, _UNKNOWN) and len(piece.piece) == 1:
            _rename(piece, proto.trainer_spec)
    return proto


def with_infilling(data: bytes, *, where: str) -> bytes:
    """Return a model with 16 more pieces, as Code Llama has over LLaMA's 32,000: seven parts of the infilling tokens,
    the four of `INFILLING`, and five that are not used (Rozière et al. 2023; ``codellama`` tokenizer.py).

    The parts are control pieces here, as the tokens are: the ids of text stay those of the smaller model. Raises
    AssetError.
    """
    proto = parse(data, where)
    names = [*_INFILLING_PARTS, *INFILLING, *(f"<unused_{number}>" for number in range(_INFILLING_UNUSED))]
    known = {piece.piece for piece in proto.pieces}
    if taken := [name for name in names if name in known]:
        raise AssetError(f"{where}: the piece {taken[0]} is there already")
    for name in names:
        proto.pieces.add(piece=name, score=0.0, type=_CONTROL)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return bytes(proto.SerializeToString(deterministic=True))


def _rename(piece: Any, spec: Any) -> None:
    """Give a special piece of one character a longer name: under that one character the library finds it in text."""
    name = f"<U+{ord(piece.piece):04X}>"
    for role in ("unk_piece", "bos_piece", "eos_piece", "pad_piece"):
        if getattr(spec, role) == piece.piece:
            setattr(spec, role, name)
    piece.piece = name


def _optional(special: int) -> int | None:
    return special if special >= 0 else None


def _keeps_text(proto: Any) -> bool:
    """Return whether the model has byte pieces, leaves text as it is, and never merges across a line break."""
    plain = not proto.normalizer_spec.precompiled_charsmap and not proto.normalizer_spec.remove_extra_whitespaces
    spaces = proto.normalizer_spec.escape_whitespaces and not proto.trainer_spec.treat_whitespace_as_suffix
    return bool(
        proto.trainer_spec.byte_fallback and plain and spaces and not any("\n" in piece.piece for piece in proto.pieces)
    )


def _encoder(processor: Any, proto: Any) -> Callable[[str], npt.NDArray[Any]]:
    if not _keeps_text(proto):
        return lambda text: np.asarray(processor.encode_as_numpy(text))
    byte_ids = {piece.piece: i for i, piece in enumerate(proto.pieces) if piece.type == _BYTE}
    known = {char for piece in proto.pieces for char in piece.piece}
    stand_ins = [char for char in STAND_INS if char not in known]
    lead = len(processor.encode("\n"))

    def spelled(char: str) -> npt.NDArray[np.int32]:
        return np.array([byte_ids[f"<0x{byte:02X}>"] for byte in char.encode()], dtype=np.int32)

    space = spelled(SPACE)

    def encode_block(block: str) -> npt.NDArray[np.int32]:
        ids: npt.NDArray[np.int32] = processor.encode_as_numpy(block)
        return ids

    def encode(text: str) -> npt.NDArray[np.int32]:
        stand_in = ""
        if SPACE in text:
            stand_in = next((char for char in stand_ins if char not in text), "")
            # a text that uses up every stand-in keeps its words and loses only this character
            text = text.replace(SPACE, stand_in or " ")
        parts = list(blocks(text))
        # a later block is encoded after a line break, whose ids (with those of the dummy prefix) are then dropped
        ids = [encode_block(part) if not i else encode_block("\n" + part)[lead:] for i, part in enumerate(parts)]
        result = ids[0] if len(ids) == 1 else np.concatenate(ids)
        return _replace(result, spelled(stand_in), space) if stand_in else result

    return encode


def blocks(text: str) -> Iterator[str]:
    """Yield `text` in the pieces that are encoded one by one (see the head of this file); they join to `text`."""
    start = 0
    while len(text) - start > BLOCK_CHARS:
        # the first line break after a block's worth of text: a cut before it moves no token
        cut = text.find("\n", start + BLOCK_CHARS, start + MAX_BLOCK_CHARS)
        if cut < 0:
            cut = start + MAX_BLOCK_CHARS
        if cut >= len(text):
            break
        yield text[start:cut]
        start = cut
    yield text[start:]


def _replace(
    ids: npt.NDArray[np.int32], old: npt.NDArray[np.int32], new: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Return `ids` with each occurrence of the three ids `old` replaced by the three ids `new`.

    Byte pieces come in whole characters, so that an occurrence is always the one character.
    """
    starts = np.flatnonzero((ids[:-2] == old[0]) & (ids[1:-1] == old[1]) & (ids[2:] == old[2]))
    out = ids.copy()
    out[starts[:, None] + np.arange(3)] = new
    return out


def _decoder(proto: Any) -> Callable[[Ids], bytes]:
    table: list[bytes] = []
    for piece in proto.pieces:
        if piece.type == _BYTE:
            table.append(bytes([int(piece.piece[3:-1], 16)]))
        elif piece.type == _CONTROL:
            table.append(b"")
        elif piece.type == _UNKNOWN:
            table.append(proto.trainer_spec.unk_surface.encode())
        else:
            table.append(piece.piece.replace(SPACE, " ").encode())
    dummy_prefix = _dummy_prefix(proto)

    def decode(ids: Ids) -> bytes:
        data = b"".join([table[int(i)] for i in ids])
        return data.removeprefix(b" ") if dummy_prefix else data

    return decode
