"""Real text in any amount: the sources and the documentation that are installed on this machine.

Every regular text file below the given folders, then those inside packages (wheels, jars, zip files), each content
once, long ones cut at line ends. What it comes to differs from machine to machine, so figures on it are ratios of one
run.
"""

from __future__ import annotations

import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import xxhash

SUFFIXES: Final = (
    *(".c", ".cpp", ".css", ".el", ".go", ".h", ".hpp", ".html", ".java", ".js", ".json", ".lua", ".md", ".php", ".pl"),
    *(
        ".pm",
        ".py",
        ".pyi",
        ".rb",
        ".rs",
        ".rst",
        ".sh",
        ".sql",
        ".tcl",
        ".tex",
        ".toml",
        ".ts",
        ".txt",
        ".xml",
        ".yaml",
    ),
)
PACKAGES: Final = (".whl", ".jar", ".zip")
MAX_FILE_BYTES: Final = 4 << 20
MAX_PACKAGE_BYTES: Final = 64 << 20
MIN_PIECE_BYTES: Final = 200


def folders() -> list[Path]:
    """Return the folders that hold installed text: packages of Python, and what the system's packages brought."""
    found = [Path(name) for name in sys.path if name and Path(name).is_dir()]
    found += [Path(sys.base_prefix), *map(Path, ("/usr/share", "/usr/include", "/usr/lib", "/usr/local", "/opt"))]
    found += [Path.home()]
    unique = sorted({path.resolve() for path in found if path.exists()})
    return [path for path in unique if not any(other in path.parents for other in unique)]


def texts(piece_bytes: int, most_bytes: int) -> Iterator[str]:
    """Yield pieces of text of at most about `piece_bytes` UTF-8 bytes, until there are `most_bytes` in all."""
    seen: set[int] = set()
    total = 0
    for data in contents():
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        digest = xxhash.xxh3_64_intdigest(data)
        if digest in seen or "\0" in text:
            continue
        seen.add(digest)
        for piece in pieces(text, piece_bytes):
            total += len(piece.encode())
            if total > most_bytes:
                return
            yield piece


def contents() -> Iterator[bytes]:
    """Yield the bytes of every text file, then of those inside packages."""
    for path in files(SUFFIXES, MAX_FILE_BYTES):
        try:
            yield path.read_bytes()
        except OSError:
            continue
    for path in files(PACKAGES, MAX_PACKAGE_BYTES):
        try:
            with zipfile.ZipFile(path) as package:
                for member in package.infolist():
                    if member.filename.lower().endswith(SUFFIXES) and member.file_size <= MAX_FILE_BYTES:
                        yield package.read(member)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error):
            continue  # damaged, encrypted (RuntimeError) or packed by another method (NotImplementedError): not text


def files(suffixes: tuple[str, ...], max_bytes: int) -> Iterator[Path]:
    """Yield the files below `folders` with one of the suffixes, not larger than `max_bytes`, in the order of names."""
    for folder in folders():
        for where, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith(".") or name == ".venv")
            for name in sorted(names):
                path = Path(where, name)
                try:
                    fits = path.name.lower().endswith(suffixes) and path.lstat().st_size <= max_bytes
                except OSError:
                    continue
                if fits and not path.is_symlink():
                    yield path


def pieces(text: str, piece_bytes: int) -> Iterator[str]:
    """Cut a text at line ends into pieces of about `piece_bytes` characters; a longer line is a piece of its own."""
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        if size and size + len(line) > piece_bytes:
            yield "".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if size >= MIN_PIECE_BYTES:
        yield "".join(lines)
