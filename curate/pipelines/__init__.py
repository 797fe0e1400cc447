"""Recipes, and the runs that they describe."""

from __future__ import annotations

if __name__ != "curate.pipelines":
    raise ImportError("import curate.pipelines, not pipelines: the folder at the root is only a link to it")
