"""The registries: every measure, and every cleaner, by the name that a recipe uses.

To add a signal is to write one function and one line here. A measure is a pure function of texts; equal texts have
equal signals whatever stands beside them. Its `version` is bumped by hand when its output changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import pyarrow as pa

from curate.filters import bad_words, c4_lines, language, text_statistics

Assets = Mapping[str, str]  # local path of each asset, by name


class Measure(NamedTuple):
    """A function of texts (large_string [rows]) and assets that returns one array per signal.

    signals: dtype by signal name, 'int64', 'float64', 'bool' or 'string'. libraries: distributions whose version shapes
    the output. assets: what `function` needs a path of. given: signals of the extracted text, of other measures, that
    `function` takes as further arguments, in this order; they are measured because it is.
    """

    signals: dict[str, str]
    function: Callable[..., dict[str, pa.Array]]
    version: int = 1
    libraries: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


class Cleaner(NamedTuple):
    """A function of texts (large_string [rows]) that returns the edits to make, and signals about them."""

    signals: dict[str, str]
    function: Callable[[pa.Array], c4_lines.Cleaned]
    version: int = 1
    libraries: tuple[str, ...] = ()


MEASURES: Final[dict[str, Measure]] = {
    "text": Measure(text_statistics.SIGNALS, text_statistics.measure_text, version=2),
    "language": Measure(
        language.SIGNALS, language.measure_language, libraries=("fasttext-community",), assets=("lid.176",)
    ),
    "bad_words": Measure(
        bad_words.SIGNALS, bad_words.measure_bad_words, assets=(bad_words.ASSET,), given=bad_words.GIVEN
    ),
}


def _c4_cleaner(name: str) -> Cleaner:
    def clean(text: pa.Array) -> c4_lines.Cleaned:
        return c4_lines.clean_lines(text, name)

    return Cleaner(c4_lines.signals_of(name), clean)


CLEANERS: Final[dict[str, Cleaner]] = {name: _c4_cleaner(name) for name in c4_lines.VARIANTS}


def signal_types() -> dict[str, str]:
    """Return the dtype of every signal that a measure or cleaner gives, by name."""
    tables = [measure.signals for measure in MEASURES.values()] + [cleaner.signals for cleaner in CLEANERS.values()]
    return {name: dtype for table in tables for name, dtype in table.items()}
