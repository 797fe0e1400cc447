"""Dedup of lines, and of spans of sentences, across documents: repeated text goes, the rest of a document stays.

===========  =====================================================================================================
``ccnet``    CCNet (Wenzek et al. 2020, arXiv:1911.00359, section 3.1; cc_net/dedup.py): a line that several
             documents of a group hold goes everywhere, the first copy too; one that a single document repeats
             stays there once. An empty line is a line. CCNet's groups are 50 of a dump's 1,600 shards
``llama3``   Llama 3 (arXiv:2407.21783, section 3.1.1): lines that appear more than 6 times in a bucket of 30
             million documents go. Left open there and chosen here: occurrences are counted, not documents; outer
             white space does not count; blank lines stay; a document's bucket follows from its id
``c4``       C4 as it was built (TensorFlow Datasets, c4_utils.py): of equal lines, in lower case, one stays. Which
             one is by priority and id here, by the md5 of the URL there. Blank lines stay. Documents with fewer than
             3 sentences left go; sentences end as `curate.dedup.units` says, there as NLTK does
===========  =====================================================================================================

`C4_SPANS` is C4 as its paper says (Raffel et al. 2020, section 2.2): of a span of three sentences that occurs more
than once, all but one copy go; documents that then have fewer than 50 words or 3 sentences go too, as in datatrove's
`SentenceDedup`, from which it differs in these: sentences end as `curate.dedup.units` says, and not by spaCy; words
are what stands between white space; the copy that stays is by priority and id, not by the order of files.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from curate.dedup.copies import Keep
from curate.dedup.keys import Dedup, Scope, ScopeSettings
from curate.dedup.units import Normalise, UnitKind

Preset = Literal["ccnet", "llama3", "c4"]
Count = Literal["documents", "occurrences"]
Bucket = Annotated[int, Field(ge=1)] | Literal["all"]
"""Documents that share a bucket."""

PRESETS: Final[dict[Preset, dict[str, Any]]] = {
    "ccnet": {"normalise": "ccnet", "count": "documents", "max_count": 1, "keep": "none", "blank_lines": "count"},
    "llama3": {"normalise": "strip", "max_count": 6, "keep": "none", "bucket_documents": 30_000_000},
    "c4": {"normalise": "lower", "max_count": 1, "keep": "first", "min_sentences": 3},
}


class Scheme(NamedTuple):
    """What a step by units does: how texts are cut into units and compared, which copies go, which documents follow."""

    unit: UnitKind
    span: int
    normalise: Normalise
    counted: Count
    max_count: int
    keep: Keep
    blank_units: bool
    scope: Scope
    bucket_documents: Bucket
    min_bytes: int
    min_words: int = 0
    min_sentences: int = 0

    @property
    def once_a_document(self) -> bool:
        """Whether a unit that only one document repeats stays there once: where documents are counted, that one is no
        second document."""
        return self.counted == "documents"


class LinesSettings(ScopeSettings):
    """Which lines are equal, how many are too many, and what stays of them. Without a preset it is Llama 3's scheme.

    A document that loses lines and then has fewer than `min_bytes` bytes, outer white space left out, or fewer than
    `min_sentences` is dropped.
    """

    preset: Preset | None = None
    normalise: Normalise = "strip"
    count: Count = "occurrences"
    max_count: int = Field(6, ge=1, le=1_000_000)  # a line that is counted more often goes
    keep: Keep = "none"  # or the first copy of each line, by (source priority, id)
    blank_lines: Literal["keep", "count"] = "keep"  # or count as any other line
    bucket_documents: Bucket = 30_000_000
    min_bytes: int = Field(1, ge=1)
    min_sentences: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _complete_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = given.get("preset")
        shape = PRESETS[preset] if isinstance(preset, str) and preset in PRESETS else {}
        return ({"bucket_documents": "all"} if shape else {}) | shape | given

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.keep == "first" and self.max_count > 1:
            raise ValueError(f'keep = "first" goes with max_count = 1, not {self.max_count}: one copy stays, or none')
        if self.keep == "first" and self.count == "documents":
            raise ValueError('keep = "first" goes with count = "occurrences": of all copies one stays')
        return self

    def scheme(self) -> Scheme:
        """Return what the step does."""
        return Scheme(
            unit="lines",
            span=1,
            normalise=self.normalise,
            counted=self.count,
            max_count=self.max_count,
            keep=self.keep,
            blank_units=self.blank_lines == "count",
            scope=self.scope,
            bucket_documents=self.bucket_documents,
            min_bytes=self.min_bytes,
            min_sentences=self.min_sentences,
        )


class SpansSettings(ScopeSettings):
    """How many sentences make a span, where copies are looked for, and what a document that loses some must keep."""

    sentences: int = Field(3, ge=1, le=100)  # in a span
    normalise: Normalise = "comparable"
    bucket_documents: Bucket = "all"
    min_words: int = Field(50, ge=0)  # that are left of a document which loses a span; 0: any number
    min_sentences: int = Field(3, ge=0)

    def scheme(self) -> Scheme:
        """Return what the step does."""
        return Scheme(
            unit="sentences",
            span=self.sentences,
            normalise=self.normalise,
            counted="occurrences",
            max_count=1,
            keep="first",
            blank_units=False,
            scope=self.scope,
            bucket_documents=self.bucket_documents,
            min_bytes=1,
            min_words=self.min_words,
            min_sentences=self.min_sentences,
        )


LINES: Final = Dedup(LinesSettings, None, needs_text=True, version=2, libraries=("pyarrow",), cuts=True)
C4_SPANS: Final = Dedup(SpansSettings, None, needs_text=True, version=2, libraries=("pyarrow",), cuts=True)
