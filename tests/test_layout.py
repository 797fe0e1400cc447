"""The repository's shape: links at the root that break nothing, and a wheel that holds one package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINKS = ("dedup", "filters", "pipelines", "tokenize")


def run_at_root(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the root, where the links lie first in sys.path."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", LINKS)
def test_the_root_links_are_relative_and_lead_into_the_package(name):
    link = ROOT / name
    assert link.is_symlink()
    assert os.readlink(link) == f"curate/{name}"
    assert link.is_dir()


@pytest.mark.parametrize("name", LINKS)
def test_the_root_links_are_tracked_as_links(name):
    listed = run_at_root("git", "ls-files", "--stage", "--", name)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert listed.stdout.split()[:1] == ["120000"], f"git does not track {name} as a symbolic link"


def test_nothing_else_at_the_root_is_importable_but_the_package_and_the_links():
    folders = {entry.name for entry in ROOT.iterdir() if entry.is_dir() and entry.name.isidentifier()}
    generated = {"build", "dist", "runs"}
    assert folders - generated == {"curate", "tests", "benchmarks", "docs", *LINKS}


def test_tokenize_and_the_tests_are_namespaces_without_an_init_file():
    # a regular package called tokenize would win over the standard library's module; a namespace never does
    assert not list((ROOT / "curate" / "tokenize").rglob("__init__.py"))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_standard_library_keeps_its_tokenize_at_the_root():
    script = "import sys, tokenize; assert sys.path[0] == ''; print(tokenize.__file__, tokenize.open.__name__)"
    done = run_at_root(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "tokenize") not in done.stdout
    assert str(ROOT / "curate") not in done.stdout


@pytest.mark.parametrize("module", ["ray", "pdb", "doctest", "inspect", "linecache", "curate"])
def test_imports_that_need_the_real_tokenize_work_at_the_root(module):
    done = run_at_root(sys.executable, "-W", "error", "-c", f"import {module}")
    assert done.returncode == 0, done.stderr


def test_python_dash_m_works_at_the_root():
    for module in ("pytest", "tokenize"):
        done = run_at_root(sys.executable, "-m", module, "--help")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["dedup", "filters", "pipelines"])
def test_a_package_imported_under_its_bare_name_says_what_to_import(name):
    done = run_at_root(sys.executable, "-c", f"import {name}")
    assert done.returncode != 0
    assert f"ImportError: import curate.{name}, not {name}" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    # without isolation: nothing is downloaded; the build backend is in the `test` extra
    done = run_at_root(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_exactly_the_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    metadata = "curate_llm-"
    assert {name.split("/")[0] for name in names if not name.startswith(metadata)} == {"curate"}
    packed = {name for name in names if name.startswith("curate/")}
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "curate").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".pyc", ".nbi", ".nbc"}
    }
    assert packed == on_disk


@pytest.mark.slow
def test_the_wheel_names_its_script_its_licence_and_its_python(wheel):
    archive = zipfile.ZipFile(wheel)

    def read(file: str) -> str:
        (name,) = (name for name in archive.namelist() if name.endswith(f".dist-info/{file}"))
        return archive.read(name).decode()

    assert "curate = curate.cli:main" in read("entry_points.txt")
    assert "Apache License" in read("licenses/LICENSE")
    metadata = read("METADATA").splitlines()
    assert {"Name: curate-llm", "License-Expression: Apache-2.0", "Requires-Python: <3.14,>=3.11"} <= set(metadata)


def test_the_constraints_are_names_and_versions_alone():
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            assert name.replace("-", "").replace("_", "").replace(".", "").isalnum(), line
            assert version.replace(".", "").isalnum(), line
