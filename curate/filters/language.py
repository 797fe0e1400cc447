"""Language identification with fastText's lid.176 (Joulin et al. 2016, arXiv:1607.01759; Grave et al. 2018).

Signals: ``language.code``, one of the model's 176 codes (ISO 639-1, or 639-3 where there is none), and
``language.score``, its probability: float32 widened to float64 and clipped to 1.0 (fastText may return 1.00001).
Newlines are replaced by spaces, as datatrove does; CCNet deletes them, which glues words together. An empty text gets
the model's first guess with a low score (en, 0.12).

The whole text is classified, at about 11 MB per second and core: this is the floor of every pipeline that measures
language. No cap on the characters is built in, because the beginning of a page is often its navigation.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import fasttext
import numpy as np
import pyarrow as pa

from curate.errors import AssetError

ASSET: Final = "lid.176"
SIGNALS: Final[dict[str, str]] = {"language.code": "string", "language.score": "float64"}
LABEL: Final = "__label__"


@functools.cache
def _model(path: str) -> Any:
    """Return the raw classifier (the pybind object: its predict takes str and makes no numpy array), once per
    process."""
    try:
        return fasttext.FastText._FastText(path).f
    except (ValueError, MemoryError) as error:
        raise AssetError(f"{path}: not a fastText model ({error}); fetch the asset {ASSET} again") from error


@functools.cache
def known_languages(path: str) -> frozenset[str]:
    """Return the language codes that the model at `path` can answer."""
    labels, _ = _model(path).getLabels("strict")
    return frozenset(label.removeprefix(LABEL) for label in labels)


def measure_language(text: pa.Array, assets: Mapping[str, str]) -> dict[str, pa.Array]:
    """Return language.code (string) and language.score (float64, 0 to 1) for each text; null where the text is null.

    text: large_string. `assets["lid.176"]` is the local path of the model file.
    """
    model = _model(assets[ASSET])
    codes: list[str | None] = []
    scores: list[float | None] = []
    for value in text:
        if not value.is_valid:
            codes.append(None)
            scores.append(None)
            continue
        # Invalid UTF-8 cannot be a Python string; fastText itself would read any bytes.
        words = value.as_buffer().to_pybytes().decode("utf-8", errors="replace").replace("\n", " ")
        found = model.predict(words + "\n", 1, 0.0, "strict")
        score, label = found[0] if found else (0.0, LABEL)
        codes.append(label.removeprefix(LABEL))
        scores.append(min(float(np.float32(score)), 1.0))
    return {
        "language.code": pa.array(codes, type=pa.string()),
        "language.score": pa.array(scores, type=pa.float64()),
    }
