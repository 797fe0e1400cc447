"""Sentence models of a few words, built here: no weights are downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WORDS: Final = ("[PAD]", "[UNK]", "the", "river", "runs", "dark", "bells", "ring", "far", "away", "tonight", "again")
DIM: Final = 6


def embedding() -> NDArray[np.float32]:
    """Return the vector of each word, float32 [words, DIM]."""
    return np.random.default_rng(2).normal(size=(len(WORDS), DIM)).astype(np.float32)


def word_mean(text: str) -> NDArray[Any]:
    """Return the mean vector of the words of a text, as the models here compute it."""
    numbers = [WORDS.index(word) if word in WORDS else 1 for word in text.split()]
    return embedding()[numbers].mean(axis=0)


def write_onnx(folder: Path, *, pooled: bool = False) -> Path:
    """Write an ONNX model that looks up the vector of each token, and its tokenizer. It gives the states of all tokens,
    or (`pooled`) the sum of those that the mask has."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers

    nodes = [helper.make_node("Gather", ["embedding", "input_ids"], ["states"])]
    inputs, output = ["input_ids"], ("states", ["texts", "tokens", DIM])
    constants = [numpy_helper.from_array(embedding(), "embedding")]
    if pooled:
        inputs, output = ["input_ids", "attention_mask"], ("sums", ["texts", DIM])
        constants.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"))
        constants.append(numpy_helper.from_array(np.array([2], dtype=np.int64), "last"))
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["numbers", "last"], ["wide"]),
            helper.make_node("Mul", ["states", "wide"], ["seen"]),
            helper.make_node("ReduceSum", ["seen", "axis"], ["sums"], keepdims=0),
        ]
    graph = helper.make_graph(
        nodes,
        "little",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        constants,
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_sentence_model(folder: Path) -> Path:
    """Write a sentence-transformers model of the same vectors: words, and their mean in a folder of its own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = WordEmbeddings(WhitespaceTokenizer(list(WORDS), stop_words=set()), embedding(), update_embeddings=False)
    SentenceTransformer(modules=[words, Pooling(DIM)], device="cpu").save(str(folder))
    return folder
