"""What a finished run left on disk, to be compared byte for byte."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Sequence


def digests_of(run: pathlib.Path, folders: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of every file in these folders of a run, by name."""
    paths = (path for folder in folders for path in (run / folder).glob("*"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
