"""The layers of the package, read from its import statements.

::

    errors, schema, storage  <-  readers, extract, filters, dedup, tokenize, shards  <-  pipelines  <-  report  <-  cli
    text (kernels on UTF-8)  <-'
                             <-  engine  <----------------------------------------------'
    assets (errors only)     <---------------------------------------------------------'
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

GROUND = {"errors", "schema", "storage"}
TEXT = {"text"}
STAGES = {"readers", "extract", "filters", "dedup", "tokenize", "shards"}
PIPELINES = GROUND | TEXT | STAGES | {"engine", "assets"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "assets": {"errors"},
    "schema": {"errors"},
    "storage": {"errors", "schema"},
    "text": set(),
    **dict.fromkeys(STAGES, GROUND | TEXT),
    "engine": GROUND,
    "pipelines": PIPELINES,
    "report": PIPELINES | {"pipelines"},
    "cli": PIPELINES | {"pipelines", "report", "cli_common", "cli_dedup", "cli_tokenizer", ""},  # `curate --version`
    "cli_common": {"report"},
    "cli_dedup": PIPELINES | {"pipelines", "report", "cli_common"},
    "cli_tokenizer": PIPELINES | {"pipelines", "report", "cli_common"},
    "": PIPELINES | {"pipelines", "report"},  # curate/__init__.py: the public API, loaded on demand
}
"""What a part of the package may import besides itself."""


class Import(NamedTuple):
    """One imported module: who imports it, where, and whether that happens as soon as the importer is imported."""

    importer: str
    line: int
    module: str
    at_once: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: dict[str, Path] = {module_name(path): path for path in sorted((ROOT / "curate").rglob("*.py"))}


def part(module: str) -> str:
    """`curate.filters.rules` -> `filters`."""
    return ([*module.split("."), ""])[1]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_below(node: ast.AST, importer: str, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(importer, child.lineno, alias.name, at_once)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{importer}:{child.lineno}: relative import"
            for alias in child.names:
                submodule = f"{child.module}.{alias.name}"
                yield Import(importer, child.lineno, submodule if submodule in MODULES else str(child.module), at_once)
        elif isinstance(child, ast.Call) and child.args and isinstance(child.args[0], ast.Constant):
            called = ast.unparse(child.func).split(".")[-1]
            if called in {"import_module", "__import__"} and isinstance(child.args[0].value, str):
                yield Import(importer, child.lineno, child.args[0].value, False)
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(child)
        yield from imports_below(child, importer, at_once and not lazy)


IMPORTS: list[Import] = [
    found
    for name, path in MODULES.items()
    for found in imports_below(ast.parse(path.read_text(encoding="utf-8"), str(path)), name, True)
]


def test_every_part_of_the_package_has_a_layer():
    assert {part(name) for name in MODULES} <= set(MAY_IMPORT)


def test_every_import_goes_down_the_layers():
    wrong = [
        f"{found.importer}:{found.line} imports {found.module}"
        for found in IMPORTS
        if found.module.split(".")[0] == "curate"
        and part(found.module) != part(found.importer)
        and part(found.module) not in MAY_IMPORT[part(found.importer)]
    ]
    assert wrong == []


def test_no_module_imports_the_public_api():
    wrong = [
        f"{found.importer}:{found.line}" for found in IMPORTS if found.module == "curate" and found.importer != "curate"
    ]
    # the command line may ask for the version
    assert [place for place in wrong if not place.startswith("curate.cli:")] == []


def test_ray_is_imported_in_the_engine_only():
    wrong = [
        f"{found.importer}:{found.line}"
        for found in IMPORTS
        if found.module.split(".")[0] == "ray" and part(found.importer) != "engine"
    ]
    assert wrong == []


def test_nothing_imports_a_package_through_its_link_at_the_root():
    links = {"dedup", "filters", "pipelines"}
    assert [found for found in IMPORTS if found.module.split(".")[0] in links] == []


def test_no_two_modules_import_each_other():
    graph = {
        name: {
            found.module for found in IMPORTS if found.importer == name and found.at_once and found.module in MODULES
        }
        for name in MODULES
    }
    # Kahn: take away modules that import nothing that is left; what stays is on a cycle or leads into one
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & set(left) - {name}]:
        for name in free:
            del left[name]
    assert left == {}


def test_dynamic_code_is_nowhere():
    banned = {"eval", "exec", "pickle", "marshal", "shelve", "dill", "cloudpickle"}
    calls = {
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in banned | {"hash"}
    }
    modules = {f"{found.importer}:{found.line}" for found in IMPORTS if found.module.split(".")[0] in banned}
    assert calls | modules == set()


@pytest.mark.skipif("curate" not in MODULES, reason="the public API does not exist yet")
def test_importing_curate_is_light_and_has_no_side_effects():
    heavy = (
        "ray numba numpy pyarrow pandas scipy datasketch duckdb torch trafilatura fasttext sentencepiece tiktoken rich"
    )
    script = f"""
import os, sys, threading
before = dict(os.environ)
import curate
assert dict(os.environ) == before, "the environment changed"
assert threading.active_count() == 1, "a thread was started"
print(sorted(set({heavy!r}.split()) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
