"""MinHash signatures (Broder 1997) and their bands (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4).

The probability that two texts agree in a value of their signatures is the Jaccard similarity of their shingles. A
signature is cut in bands of rows, and texts with an equal band are candidates. So a pair of similarity s is found with
the probability 1 - (1 - s^rows)^bands: the *detection curve* of a setting.

Signatures are datasketch's, bit for bit, in its scheme ``affine32``: the finalizer of MurmurHash3 on the 32-bit shingle
hash, then the minimum of a * h + b modulo 2^32 over all shingles, with datasketch's a and b for the seed. So a stored
signature loads as a `datasketch.MinHash` (`to_datasketch`), and its indexes answer questions about a finished run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.dedup import fold_table
from curate.dedup.keys import Dedup, GroupSettings
from curate.dedup.shingles import MAX_NGRAM, UNITS, Shingles, Unit, hash_shingle, new_scratch
from curate.dedup.shingles_kernel import K1, K2, SOURCES, U32, Scratch, Tables, shingle_document, sort_unique
from curate.dedup.similarity import Similarity
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Hashes, Ints, Words, as_hash, cached, compiled, source_digest

if TYPE_CHECKING:
    import datasketch

SCHEME: Final = "affine32"
EMPTY: Final = (1 << 32) - 1
"""Every value of the signature of a text without shingles, as in datasketch."""
MAX_PERMUTATIONS: Final = 1 << 16
CURVE_SIMILARITIES: Final = tuple(step / 20 for step in range(8, 21))
MAX_OPTIMIZED: Final = 512
"""Permutations up to which bands and rows are searched for: the search takes quadratic time."""


class Shape(NamedTuple):
    """How a signature is cut: `bands` of `rows` values each."""

    bands: int
    rows: int


Preset = Literal["fineweb", "refinedweb", "dclm"]
PRESETS: Final[dict[Preset, Shape]] = {
    "fineweb": Shape(14, 8),  # Penedo et al. 2024, arXiv:2406.17557: 0.92 at a similarity of 0.8
    "refinedweb": Shape(450, 20),  # Penedo et al. 2023, arXiv:2306.01116: 0.995 at 0.8, 9,000 values
    "dclm": Shape(93, 15),  # Li et al. 2024, arXiv:2406.11794: 0.96 at 0.8
}


class MinHashSettings(GroupSettings):
    """Settings of a MinHash dedup step: what a shingle is, how candidates are found, when they are near-duplicates.

    The shape is FineWeb's 14 bands of 8 rows unless one is named by `preset`, given as `bands` and `rows`, or found for
    `threshold` among shapes of at most `permutations` values. After validation all of them are known.
    """

    preset: Preset | None = None
    bands: int = Field(14, ge=1)
    rows: int = Field(8, ge=1)
    permutations: int = Field(112, ge=1, le=MAX_PERMUTATIONS)  # values of a signature; bands need not use all
    seed: int = Field(1, ge=0, lt=1 << 32)  # of the permutations
    ngram: int = Field(5, ge=1, le=MAX_NGRAM)  # words or characters in a shingle
    unit: Unit = "auto"
    threshold: float = Field(0.8, gt=0, le=1)  # candidates at least so similar are near-duplicates
    similarity: Similarity = "jaccard"
    verify: Literal["exact", "estimated"] = "exact"  # by all shingles, or by the signatures
    chain: bool = False  # drop what a path of near-duplicates connects, however far from the document that is kept
    against: tuple[str, ...] = Field(default=(), strict=False)  # finished runs: what is near to their kept goes
    max_edges_in_memory: int = Field(250_000, ge=0)  # more are joined in files; both find the same

    @model_validator(mode="before")
    @classmethod
    def _complete_shape(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        shape: tuple[Any, Any] | None = None
        known = dict(given)
        if isinstance(preset := given.get("preset"), str) and preset in PRESETS:
            shape = PRESETS[preset]
        elif "bands" in given or "rows" in given:
            if not {"bands", "rows"} <= set(given):
                raise ValueError("bands and rows belong together: give both, or a preset, or permutations")
            shape = given["bands"], given["rows"]
        elif isinstance(permutations := given.get("permutations"), int) and permutations > 0:
            threshold = given.get("threshold", cls.model_fields["threshold"].default)
            if isinstance(threshold, int | float) and 0 < threshold <= 1:
                shape = optimal_shape(threshold, permutations)
        if shape is not None:
            known = {"bands": shape[0], "rows": shape[1]} | known
            if isinstance(shape[0], int) and isinstance(shape[1], int):
                known = {"permutations": shape[0] * shape[1]} | known
        return known

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if self.preset is not None and (self.bands, self.rows) != PRESETS[self.preset]:
            bands, rows = PRESETS[self.preset]
            raise ValueError(
                f"the preset {self.preset} has {bands} bands of {rows} rows, not {self.bands} of {self.rows}: "
                f"give the preset or the shape"
            )
        if self.verify == "estimated" and self.similarity == "containment":
            raise ValueError('containment needs verify = "exact": signatures do not show the sizes of sets')
        if self.against and self.similarity == "containment":
            raise ValueError('against needs similarity = "jaccard": older runs are known by their signatures alone')
        if self.bands * self.rows > self.permutations:
            raise ValueError(
                f"{self.bands} bands of {self.rows} rows need {self.bands * self.rows} permutations, "
                f"not {self.permutations}"
            )
        return self


class Signatures(NamedTuple):
    """values uint32 [rows, permutations], EMPTY in rows without shingles; valid bool [rows], false for these.

    Rows that are not valid are all alike, and must not reach an exchange: nothing is a near-duplicate of them.
    """

    values: NDArray[np.uint32]
    valid: NDArray[np.bool_]


class Signed(NamedTuple):
    """What the signing of some texts comes to: their signatures, and the sets that these are of."""

    signatures: Signatures
    shingles: Shingles


def signatures(text: pa.Array, settings: MinHashSettings) -> Signatures:
    """Return the MinHash signature of each text (large_string or string [rows]); see `Signatures`.

    Cost: about 2 ns per byte of web text at 112 permutations on one core. Memory besides the result: about ten bytes
    per byte of the longest text.
    """
    return sign_sets(text, settings, keep_sets=False).signatures


def sign_sets(text: pa.Array, settings: MinHashSettings, *, keep_sets: bool = True) -> Signed:
    """Return signatures and shingles of each text; the shingles cost half as much again as signatures alone."""
    data, bounds = text_buffers(text)
    values = np.full((bounds.size - 1, settings.permutations), EMPTY, dtype=np.uint32)
    valid = np.zeros(bounds.size - 1, dtype=np.bool_)
    ends = np.zeros(bounds.size, dtype=np.int64)
    sets = np.empty(int(bounds[-1] - bounds[0]) if keep_sets else 0, dtype=np.uint32)
    used = _SIGN(
        data, bounds, UNITS[settings.unit], Tables(*fold_table.load()),
        new_scratch(settings.ngram, int(np.diff(bounds).max(initial=0))),
        *permutations(settings.seed, settings.permutations), keep_sets, values, valid, ends, sets,
    )  # fmt: skip
    return Signed(Signatures(values, valid), Shingles(sets[:used], ends))


def band_keys(values: NDArray[np.uint32], settings: MinHashSettings) -> NDArray[np.uint64]:
    """Return a key for each band of each signature, uint64 [rows, bands], from uint32 [rows, permutations].

    Keys are equal where bands are, and differ between bands: all of them can share one exchange. Two different bands
    share a key with a probability of about 2⁻⁶⁴. Rows that are not valid have keys, too: leave them out.
    """
    if values.shape[1] < settings.bands * settings.rows:
        raise ValueError(f"signatures of {values.shape[1]} values are too short for these settings")
    keys = np.empty((len(values), settings.bands), dtype=np.uint64)
    _BAND(np.ascontiguousarray(values), settings.rows, keys)
    return keys


def to_datasketch(row: NDArray[np.uint32], settings: MinHashSettings) -> datasketch.MinHash:
    """Return one signature (uint32 [permutations]) as a datasketch.MinHash, which can be updated with more shingles."""
    import datasketch

    return datasketch.MinHash(
        seed=settings.seed,
        hashfunc=hash_shingle,
        hashvalues=row,
        permutations=permutations(settings.seed, settings.permutations),
        scheme=SCHEME,
    )


def detection_curve(
    settings: MinHashSettings, similarities: Sequence[float] = CURVE_SIMILARITIES
) -> dict[float, float]:
    """Return with what probability a pair of each Jaccard similarity becomes a candidate, 0 to 1."""
    return {s: 1 - (1 - s**settings.rows) ** settings.bands for s in similarities}


@lru_cache(maxsize=64)
def optimal_shape(threshold: float, permutations: int) -> Shape:
    """Return the shape of at most so many values that datasketch's optimizer finds best for a Jaccard threshold: the
    smallest area of false candidates below it and of missed pairs above it."""
    if permutations > MAX_OPTIMIZED:
        raise ValueError(f"a shape is searched for up to {MAX_OPTIMIZED} permutations: give bands and rows")
    if permutations == 1:
        return Shape(1, 1)  # the only one, which datasketch refuses to look for
    import datasketch

    index = datasketch.MinHashLSH(threshold=threshold, num_perm=permutations)
    return Shape(index.b, index.r)


@lru_cache(maxsize=16)
def permutations(seed: int, count: int) -> NDArray[np.uint32]:
    """Return the multipliers a (odd) and the offsets b of a seed, uint32 [2, count], read-only.

    They are drawn as datasketch draws them, from a stream that numpy keeps as it is. Importing datasketch for it would
    cost every worker 40 MB and 0.3 s.
    """
    generator = np.random.RandomState(seed)
    multipliers = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    drawn = np.stack([multipliers, generator.randint(0, 1 << 32, count, dtype=np.uint32)])
    drawn.setflags(write=False)
    return drawn


M1, M2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
S13, S16 = np.uint32(13), np.uint32(16)


@compiled
def _finalize(value: Any) -> Any:
    """MurmurHash3's 32-bit finalizer."""
    value = as_hash((value ^ (value >> S16)) * M1)
    value = as_hash((value ^ (value >> S13)) * M2)
    return as_hash(value ^ (value >> S16))


@compiled
def _sign_hashes(hashes: Hashes, count: int, multipliers: Hashes, offsets: Hashes, row: Hashes) -> None:
    """Lower each value of `row` to the minimum of its permutation over the hashes, four hashes at a time: a permutation
    is then loaded once for four."""
    at = 0
    while at + 4 <= count:
        h0, h1 = _finalize(hashes[at]), _finalize(hashes[at + 1])
        h2, h3 = _finalize(hashes[at + 2]), _finalize(hashes[at + 3])
        for i in range(row.size):
            a, b = multipliers[i], offsets[i]
            low = min(as_hash(a * h0 + b), as_hash(a * h1 + b))
            high = min(as_hash(a * h2 + b), as_hash(a * h3 + b))
            row[i] = min(row[i], min(low, high))
        at += 4
    while at < count:
        h0 = _finalize(hashes[at])
        for i in range(row.size):
            row[i] = min(row[i], as_hash(multipliers[i] * h0 + offsets[i]))
        at += 1


def _compile(sources: str) -> tuple[Any, Any]:
    """Return the compiled loops over documents; `sources` is a `source_digest`."""

    @cached
    def _sign(
        data: Bytes,
        bounds: Ints,
        unit: int,
        tables: Tables,
        scratch: Scratch,
        multipliers: Hashes,
        offsets: Hashes,
        keep_sets: bool,
        values: Hashes,
        valid: NDArray[np.bool_],
        ends: Ints,
        sets: Hashes,
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            count = shingle_document(data[bounds[row] : bounds[row + 1]], unit, tables, scratch)
            valid[row] = count > 0
            hashes = scratch.hashes
            if keep_sets:
                hashes = sets[used:]
                count = sort_unique(scratch, count, hashes)
                used += count
            _sign_hashes(hashes, count, multipliers, offsets, values[row])
            ends[row + 1] = used
        return used

    @cached
    def _band(values: Hashes, rows: int, keys: Words) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for document in range(keys.shape[0]):
            for band in range(keys.shape[1]):
                key = np.uint64(band + 1) * K1
                for i in range(band * rows, (band + 1) * rows):
                    key = (key ^ np.uint64(values[document, i])) * K2
                    key ^= key >> U32
                keys[document, band] = key * K1 ^ ((key * K1) >> U32)

    return _sign, _band


_SIGN, _BAND = _compile(source_digest(*SOURCES))

MINHASH: Final = Dedup(MinHashSettings, None, needs_text=True, version=1, libraries=("datasketch",))
