"""Byte-level BPE over a tiktoken rank file: one ``base64-token rank`` line per token, ids are ranks.

Split pattern and input guard are Llama 3's (meta-llama/llama-models, ``tokenizer.py``): a text is encoded in blocks of
400,000 characters, and a run of more than 25,000 characters without (or of nothing but) white space is cut, so that no
text costs more than linear time. Tokens never cross such a cut: near it they may differ from an unguarded encoder's,
and the bytes are the same. Never uses ``tiktoken.get_encoding``, which would fetch from the network.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tiktoken

from curate.errors import AssetError
from curate.tokenize import bpe_kernel, encoder, pretokens
from curate.tokenize.batches import Kernel
from curate.tokenize.tokenizer import Ids, Tokenizer, fingerprint

KIND: Final = "bpe"
LLAMA3_PATTERN: Final = pretokens.LLAMA3_PATTERN
DEFAULT_SPECIALS: Final = ("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>")
LLAMA3_RANKS: Final = 128_000
MAX_BLOCK_CHARS: Final = 400_000
MAX_RUN_CHARS: Final = 25_000
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "bos": ("<|begin_of_text|>", "<|startoftext|>", "<s>"),
    "eos": ("<|end_of_text|>", "<|endoftext|>", "</s>"),
    "pad": ("<|pad|>", "<|finetune_right_pad_id|>", "<pad>"),
}
_PROBE_CHARS: Final = MAX_RUN_CHARS // 2
# the look-behind starts a match only where a run starts: without it a long run would be scanned from each character
_LONG_RUN: Final = re.compile(rf"(?<!\S)\S{{{MAX_RUN_CHARS + 1},}}|(?<!\s)\s{{{MAX_RUN_CHARS + 1},}}")


def llama3_specials() -> tuple[str, ...]:
    """Return the 256 special tokens of Llama 3.1 and later, in id order from 128,000 on."""
    head = ["begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1"]
    head += ["finetune_right_pad_id", "step_id", "start_header_id", "end_header_id", "eom_id", "eot_id"]
    head += ["python_tag", "image"]
    head += [f"reserved_special_token_{i}" for i in range(2, 256 - len(head) + 2)]
    return tuple(f"<|{name}|>" for name in head)


def blocks(text: str) -> Iterator[str]:
    """Yield `text` in the pieces that are encoded one by one (see the head of this file); they join to `text`."""
    for start in range(0, len(text), MAX_BLOCK_CHARS):
        block = text[start : start + MAX_BLOCK_CHARS]
        done = 0
        if _may_hold_long_run(block):
            for run in _LONG_RUN.finditer(block):
                for cut in range(run.start() + MAX_RUN_CHARS, run.end(), MAX_RUN_CHARS):
                    yield block[done:cut]
                    done = cut
        yield block[done:] if done else block


def _may_hold_long_run(block: str) -> bool:
    """Return whether some aligned probe is all white space or has none: a run that is too long covers one. This spares
    ordinary text the regular expression, which costs as much as a third of encoding."""
    if len(block) <= MAX_RUN_CHARS:
        return False
    for start in range(0, len(block) - _PROBE_CHARS + 1, _PROBE_CHARS):
        probe = block[start : start + _PROBE_CHARS]
        if probe.isspace() or probe.split(None, 1) == [probe]:
            return True
    return False


def parse_ranks(data: bytes, where: str) -> dict[bytes, int]:
    """Return token -> rank of a rank file.

    Raises AssetError unless every line is ``base64 rank``, ranks are 0, 1, 2, …, tokens are distinct, and all 256
    single bytes are there (without them some text could not be encoded).
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            encoded, rank = line.split()
            token = base64.b64decode(encoded, validate=True)
            value = int(rank)
        except (ValueError, binascii.Error) as error:
            raise AssetError(f"{where}:{number}: not a line of 'base64-token rank'") from error
        if not token or token in ranks:
            raise AssetError(f"{where}:{number}: token {encoded!r} is {'empty' if not token else 'there twice'}")
        ranks[token] = value
    _check_ranks(ranks, where)
    return ranks


def _check_ranks(ranks: dict[bytes, int], where: str) -> None:
    seen = np.sort(np.fromiter(ranks.values(), dtype=np.int64, count=len(ranks)))
    wrong = np.flatnonzero(seen != np.arange(len(seen)))
    if len(wrong):
        at = int(wrong[0])
        what = f"rank {int(seen[at])} is there twice" if at and seen[at] == seen[at - 1] else f"rank {at} is missing"
        raise AssetError(f"{where}: {what}; ranks must be 0 to {len(seen) - 1}, each once")
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise AssetError(
            f"{where}: no token for the single byte 0x{missing[0]:02x} ({len(missing)} of 256 are missing)"
        )


def format_ranks(ranks: Mapping[bytes, int]) -> bytes:
    """Return the rank file of `ranks`, in rank order."""
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ordered)


def from_ranks(
    data: bytes, *, where: str, name: str = "", pattern: str = LLAMA3_PATTERN, specials: Sequence[str] | None = None
) -> Tokenizer:
    """Return the tokenizer of a rank file; special tokens get the ids after the ranks, in the order given.

    Without `specials`, a file of 128,000 ranks gets Llama 3's 256, any other the three of `DEFAULT_SPECIALS`.
    """
    ranks = parse_ranks(data, where)
    if specials is None:
        specials = llama3_specials() if len(ranks) == LLAMA3_RANKS else DEFAULT_SPECIALS
    if len(set(specials)) != len(specials):
        raise AssetError(f"{where}: a special token is named twice")
    ids = {token: len(ranks) + i for i, token in enumerate(specials)}
    sha256 = fingerprint(data, KIND, pattern, ids)
    name = name or f"{KIND}-{sha256[:12]}"
    kernel = _kernel(ranks, pattern)
    # the library's own tables are large, and batches need them only where there is no kernel
    library = functools.cache(lambda: _library(ranks, pattern, where))
    if kernel is None:
        library()
    roles = {role: next((ids[token] for token in names if token in ids), None) for role, names in ROLES.items()}
    return Tokenizer(
        name=name,
        kind=KIND,
        vocab_size=len(ranks) + len(ids),
        bos_id=roles["bos"],
        eos_id=roles["eos"],
        pad_id=roles["pad"],
        unk_id=None,
        sha256=sha256,
        encode_text=_encoder(library),
        token_bytes=_decoder(ranks),
        kernel=kernel,
        specials=ids,
    )


def _kernel(ranks: dict[bytes, int], pattern: str) -> Callable[[], Kernel] | None:
    """Return what builds the encoder of batches; None for patterns that only ``tiktoken`` knows."""
    if not bpe_kernel.supports(ranks, pattern):
        return None
    return functools.cache(lambda: encoder.kernel(bpe_kernel.tables_of_ranks(ranks, pattern), blocks, MAX_RUN_CHARS))


def _library(ranks: dict[bytes, int], pattern: str, where: str) -> tiktoken.Encoding:
    try:
        return tiktoken.Encoding("", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    except ValueError as error:
        raise AssetError(f"{where}: the split pattern does not compile: {error}") from error


def _encoder(library: Callable[[], tiktoken.Encoding]) -> Callable[[str], npt.NDArray[Any]]:
    def encode(text: str) -> npt.NDArray[np.uint32]:
        encoding = library()
        parts = [encoding.encode_to_numpy(block, disallowed_special=()) for block in blocks(text)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint32)

    return encode


def _decoder(ranks: Mapping[bytes, int]) -> Callable[[Ids], bytes]:
    tokens = sorted(ranks, key=lambda token: ranks[token])

    def decode(ids: Ids) -> bytes:
        return b"".join([tokens[i] for i in ids if i < len(tokens)])

    return decode
