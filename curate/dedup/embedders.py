"""The vector of a document, by the name of its embedder: word vectors of the run, or a sentence model of the user's.

Each embedder is a function ``(texts, model, max_chars) -> (float vectors [rows, dim], valid bool [rows])``; `model` is
the local path of its file or folder. Sentence models are extras: ``sentence-transformers`` (with torch), and ``onnx``,
which needs a folder with ``model.onnx`` and ``tokenizer.json``. They read the first `max_chars` characters of a text,
and what they compute follows from their library and machine; the built-in one does not.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel

from curate.dedup import skipgram
from curate.dedup.semantic import SemanticSettings
from curate.errors import InputError

Embedded = tuple[NDArray[Any], NDArray[np.bool_]]
BATCH_TEXTS: Final = 32
MAX_TOKENS: Final = 256


class Embedder(NamedTuple):
    """How texts become vectors, and the distributions whose versions shape them; `packages` must be importable."""

    function: Callable[[pa.Array, str, int], Embedded]
    libraries: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    extra: str = ""


@functools.lru_cache(maxsize=1)
def _word_vectors(path: str, _identity: tuple[int, int]) -> skipgram.WordVectors:
    return skipgram.read(path)


def embed_skipgram(text: pa.Array, model: str, _max_chars: int) -> Embedded:
    """Embed by the run's own word vectors; a text of unknown words alone has no vector."""
    status = os.stat(model)
    return skipgram.mean_vectors(text, _word_vectors(model, (status.st_mtime_ns, status.st_size)))


@functools.lru_cache(maxsize=1)
def _sentence_model(path: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(path, device="cpu")


def embed_sentences(text: pa.Array, model: str, max_chars: int) -> Embedded:
    """Embed by a sentence-transformers model from a local folder."""
    values, valid = _beginnings(text, max_chars)
    vectors = _sentence_model(model).encode(values, batch_size=BATCH_TEXTS, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float64), valid


@functools.lru_cache(maxsize=1)
def _onnx_model(path: str) -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    tokenizer = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(
        os.path.join(path, "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return tokenizer, session


def embed_onnx(text: pa.Array, model: str, max_chars: int) -> Embedded:
    """Embed by an ONNX model: the mean of its last hidden states over the tokens of a text."""
    values, valid = _beginnings(text, max_chars)
    tokenizer, session = _onnx_model(model)
    wanted = {entry.name for entry in session.get_inputs()}
    vectors = []
    for start in range(0, len(values), BATCH_TEXTS):
        encoded = tokenizer.encode_batch(values[start : start + BATCH_TEXTS])
        mask = np.array([entry.attention_mask for entry in encoded], dtype=np.int64)
        given = {
            "input_ids": np.array([entry.ids for entry in encoded], dtype=np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        states = session.run(None, {name: value for name, value in given.items() if name in wanted})[0]
        if states.ndim == 3:
            states = (states * mask[:, :, None]).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)[:, None]
        vectors.append(states.astype(np.float64))
    return (np.concatenate(vectors) if vectors else np.zeros((0, 1))), valid


def _beginnings(text: pa.Array, max_chars: int) -> tuple[list[str], NDArray[np.bool_]]:
    cut = pc.utf8_slice_codeunits(text.fill_null(""), 0, max_chars)
    valid = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(cut)), 0)
    return cut.to_pylist(), valid.to_numpy(zero_copy_only=False)


EMBEDDERS: Final[dict[str, Embedder]] = {
    "skipgram": Embedder(embed_skipgram),
    "sentence-transformers": Embedder(
        embed_sentences, ("sentence-transformers", "torch"), ("sentence_transformers",), "embed"
    ),
    "onnx": Embedder(embed_onnx, ("onnxruntime", "tokenizers"), ("onnxruntime", "tokenizers"), "onnx"),
}


def package_mistake(settings: BaseModel) -> str:
    """Return which package the settings of a dedup step need that is not installed, or ""."""
    if not isinstance(settings, SemanticSettings):
        return ""
    entry = EMBEDDERS[settings.embedder]
    for package in entry.packages:
        if importlib.util.find_spec(package) is None:
            return f"needs the package {package}; pip install 'curate-llm[{entry.extra}]'"
    if settings.kmeans == "faiss" and importlib.util.find_spec("faiss") is None:
        return "needs the package faiss; pip install 'curate-llm[faiss]'"
    return ""


def model_mistake(settings: BaseModel) -> str:
    """Return what is wrong with the model that the settings of a dedup step name, or ""."""
    if not isinstance(settings, SemanticSettings) or settings.model is None:
        return ""
    if not os.path.isdir(settings.model):
        return f"{settings.model} is no folder; give the folder of a model on this machine"
    if settings.embedder == "onnx":
        missing = [name for name in ("model.onnx", "tokenizer.json") if not os.path.exists(f"{settings.model}/{name}")]
        if missing:
            return f"{settings.model} has no {missing[0]}"
    return ""


def checked(vectors: NDArray[Any], rows: int) -> None:
    """Raise InputError(embed) unless an embedder gave a vector for every row."""
    if vectors.ndim != 2 or len(vectors) != rows:
        raise InputError("embed", f"the embedder gave {vectors.shape} for {rows} texts")
