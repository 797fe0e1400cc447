"""The stages after collect, by name: which function, how it takes part in an exchange, and what shapes its bytes.

A version is raised by hand whenever the stage's output bytes change; a test of golden digests fails until that is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from curate.engine.tasks import Kind


class Stage(NamedTuple):
    """A stage: its function (``module:function``), its kind, its version, the libraries whose versions shape it."""

    function: str
    kind: Kind
    version: int
    libraries: tuple[str, ...] = ("pyarrow",)


MINHASH: Final = ("datasketch", "pyarrow")

STAGES: Final[Mapping[str, Stage]] = {
    "collect": Stage("curate.pipelines.collect:collect", "map", 2),
    "quarantine": Stage("curate.pipelines.quarantine:quarantine_part", "map", 1),
    "decide": Stage("curate.pipelines.decisions:decide_part", "map", 1),
    "quantile": Stage("curate.pipelines.decisions:quantile_part", "map", 1),
    "duplicates.scatter": Stage("curate.pipelines.duplicates:scatter_duplicates", "scatter", 3),
    "duplicates.reduce": Stage("curate.pipelines.duplicates:reduce_duplicates", "reduce", 3),
    "duplicates.apply": Stage("curate.pipelines.duplicates:apply_duplicates", "reduce", 2),
    "minhash.sign": Stage("curate.pipelines.signatures:sign", "map", 3, MINHASH),
    "minhash.bands": Stage("curate.pipelines.signatures:scatter_bands", "scatter", 3, MINHASH),
    "minhash.stars": Stage("curate.pipelines.near_duplicates:find_stars", "reduce", 5),
    "minhash.sets": Stage("curate.pipelines.near_duplicate_sets:send_sets", "scatter", 6),
    "minhash.compare": Stage("curate.pipelines.near_duplicates:compare", "reduce", 4),
    "minhash.components": Stage("curate.pipelines.near_duplicate_components:join_components", "reduce", 4),
    "minhash.links": Stage("curate.pipelines.near_duplicate_components:link_edges", "reduce", 3),
    "minhash.shrink": Stage("curate.pipelines.near_duplicate_components:shrink_links", "reduce", 2),
    "minhash.ask": Stage("curate.pipelines.near_duplicate_components:ask_components", "reduce", 2),
    "cuts.scatter": Stage("curate.pipelines.cuts:scatter_units", "scatter", 4),
    "cuts.reduce": Stage("curate.pipelines.cuts:reduce_units", "reduce", 4),
    "cuts.apply": Stage("curate.pipelines.cuts:apply_cuts", "reduce", 2),
    "substring.scatter": Stage("curate.pipelines.substrings:scatter_anchors", "scatter", 4),
    "substring.contexts": Stage("curate.pipelines.substrings:send_contexts", "scatter", 4),
    "substring.compare": Stage("curate.pipelines.substrings:compare_contexts", "reduce", 3),
    "substring.apply": Stage("curate.pipelines.substrings:apply_substrings", "reduce", 2),
    "measure": Stage("curate.pipelines.measure:measure_part", "map", 1),
    "semantic.words": Stage("curate.pipelines.semantic:train_vectors", "map", 3, ("fasttext-community", "pyarrow")),
    "semantic.embed": Stage("curate.pipelines.semantic:embed_part", "map", 2),
    "semantic.centroids": Stage("curate.pipelines.semantic:train_centroids", "map", 1),
    "semantic.assign": Stage("curate.pipelines.semantic:assign_part", "scatter", 3),
    "semantic.pairs": Stage("curate.pipelines.semantic:find_pairs", "reduce", 2),
    "merge": Stage("curate.pipelines.duplicates:merge_runs", "reduce", 2),
    "tokenizer.count": Stage("curate.pipelines.training:count_pretokens", "scatter", 2, ("pyarrow", "regex")),
    "tokenizer.sum": Stage("curate.pipelines.training:sum_pretokens", "reduce", 2),
    "tokenizer": Stage("curate.pipelines.training:train_tokenizer", "map", 3, ("tiktoken", "sentencepiece", "pyarrow")),
    "tokenize": Stage("curate.pipelines.tokens:tokenize_part", "map", 2, ("tiktoken", "sentencepiece", "pyarrow")),
    "tally": Stage("curate.pipelines.tokens:tally_part", "map", 1),
    "shuffle": Stage("curate.pipelines.packing:scatter_shuffle", "scatter", 2),
    "pack": Stage("curate.pipelines.packing:pack_partition", "reduce", 1),
}
