"""Extraction engines: HTML text to the main text of the page, lines and paragraphs kept.

`resiliparse` is the default: main content by rules on the tree, at several hundred pages a second. Alternative texts
of images are out, since they repeat captions and navigation (+1.3 points of word F1 on annotated pages); link targets
and form fields are out by its default. `trafilatura` is slower and more precise; it is an optional extra.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, Final

import xxhash
from resiliparse.extract.html2text import extract_plain_text

from curate.errors import RecipeError

SHORT_TEXT_CHARS: Final = 250
MISSED_RATIO: Final = 4


def extract_resiliparse(html: str) -> str:
    """Return the main text of a page, paragraphs separated by blank lines, list items marked by a bullet.

    Where the rules for main content keep next to nothing of a page that says much more, they have missed it, and the
    whole page's text is returned (another +1.7 points of word F1, from 3% of the pages).
    """
    text = extract_plain_text(html, preserve_formatting=True, main_content=True, alt_texts=False)
    if len(text) <= SHORT_TEXT_CHARS:
        whole = extract_plain_text(html, preserve_formatting=True, main_content=False, alt_texts=False)
        if len(whole) >= MISSED_RATIO * len(text):
            return whole
    return text


@functools.cache
def _trafilatura() -> tuple[Any, Any]:
    try:
        import trafilatura
        from trafilatura.settings import use_config
    except ImportError as error:
        raise RecipeError(
            "extract.engine = 'trafilatura' needs an extra that is not installed: pip install 'curate-llm[trafilatura]'"
        ) from error
    config = use_config()
    # its time limit uses signals, which fail outside the main thread and depend on the clock
    config.set("DEFAULT", "EXTRACTION_TIMEOUT", "0")
    return trafilatura, config


def extract_trafilatura(html: str) -> str:
    """Return the main text that trafilatura finds, with comments and tables, '' if it finds none."""
    module, config = _trafilatura()
    return module.extract(html, include_comments=True, include_tables=True, config=config) or ""


ENGINES: Final[dict[str, Callable[[str], str]]] = {
    "resiliparse": extract_resiliparse,
    "trafilatura": extract_trafilatura,
}
LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "resiliparse": ("resiliparse",),
    "trafilatura": ("resiliparse", "trafilatura", "lxml", "justext"),
}
"""The distributions whose versions shape each engine's output (resiliparse also detects character sets)."""


def find_engine(name: str) -> Callable[[str], str]:
    """Return the engine of a name: one of `ENGINES`, or the user's own ``module:function`` from HTML to text.

    Raises RecipeError if there is none.
    """
    return ENGINES[name] if name in ENGINES else _imported(name)


@functools.cache
def _imported(name: str) -> Callable[[str], str]:
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise RecipeError(f"{name!r} is not one of {', '.join(ENGINES)}, nor a module:function")
    try:
        engine: Callable[[str], str] = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        # a module of the user's own may fail in any way while it is imported
        hint = "the module must be importable where the run starts"
        raise RecipeError(f"{name!r}: {type(error).__name__}: {error}; {hint}") from error
    if not callable(engine):
        raise RecipeError(f"{name!r} is not a function")
    return engine


def engine_source(name: str) -> str:
    """Return what identifies the code of a user's engine: a digest of its module's source; '' for one of `ENGINES`,
    whose version is `curate.extract.VERSION`.

    Raises RecipeError if there is no such engine, or no source, without which a change would go unnoticed.
    """
    if name in ENGINES:
        return ""
    module = inspect.getmodule(find_engine(name)) or importlib.import_module(name.partition(":")[0])
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        hint = "write a function in a module of your own that calls it"
        raise RecipeError(f"{name!r} has no Python source, by which a change of it would be seen; {hint}") from None
    return xxhash.xxh3_128_hexdigest(source.encode())
