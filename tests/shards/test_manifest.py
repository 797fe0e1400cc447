from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.errors import ShardError
from curate.shards.manifest import build_manifest, info, manifest_fingerprint, read_manifest, write_manifest


def test_a_manifest_comes_back_as_it_was_written(two_partitions: Callable[..., Path], tmp_path: Path) -> None:
    manifest = read_manifest(str(two_partitions()))
    write_manifest(manifest, str(tmp_path / "copy"))
    assert read_manifest(str(tmp_path / "copy")) == manifest
    assert manifest["fingerprint"] == manifest_fingerprint(manifest)


def test_the_order_of_shards_changes_nothing(two_partitions: Callable[..., Path], toy: Any) -> None:
    manifest = read_manifest(str(two_partitions()))
    parts = {"settings": manifest["settings"], "epochs": {"web": 1.0}}
    again = build_manifest(manifest["shards"][::-1], toy.spec(), **parts)
    assert again == manifest
    assert [entry["path"] for entry in again["shards"]] == sorted(entry["path"] for entry in again["shards"])


def test_everything_that_shapes_bytes_changes_the_fingerprint(two_partitions: Callable[..., Path], toy: Any) -> None:
    shards = read_manifest(str(two_partitions()))["shards"]
    variants = [
        build_manifest(shards, toy.spec()),
        build_manifest(shards[1:], toy.spec()),
        build_manifest([{**shards[0], "sha256": "0" * 64}, *shards[1:]], toy.spec()),
        build_manifest(shards, toy.spec(tokenizer={**toy.tokenizer, "sha256": "1" * 64})),
        build_manifest(shards, toy.spec(run="r2")),
        build_manifest(shards, toy.spec(), settings={"seed": 2}),
        build_manifest(shards, toy.spec(), epochs={"web": 2.0}),
        build_manifest(shards, toy.spec(), quarantined=[{"unit": "a", "reason": "crash"}]),
    ]
    assert len({manifest["fingerprint"] for manifest in variants}) == len(variants)


def test_the_order_of_quarantined_units_changes_nothing(toy: Any) -> None:
    units = [{"unit": name, "reason": "crash"} for name in "cab"]
    one, two = (build_manifest([], toy.spec(), quarantined=order) for order in (units, units[::-1]))
    assert one == two


def test_the_realised_mix_is_summed_from_the_shards(two_partitions: Callable[..., Path]) -> None:
    manifest = read_manifest(str(two_partitions()))
    totals, mix = manifest["totals"], manifest["mix"]
    assert sum(source["tokens"] for source in mix.values()) == totals["tokens"] == 126 * 3 + 42
    assert sum(source["documents"] for source in mix.values()) == totals["documents"] == 20
    assert sum(source["share"] for source in mix.values()) == pytest.approx(1)
    assert (mix["web"]["epochs"], mix["code"]["epochs"]) == (1.0, None)


def test_an_edited_manifest_is_refused(two_partitions: Callable[..., Path]) -> None:
    folder = two_partitions()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["totals"]["tokens"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="fingerprint does not match"):
        read_manifest(str(folder))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "manifest/2"}'])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ShardError, match=r"manifest\.json"):
        read_manifest(str(tmp_path))


def test_a_missing_manifest_says_that_the_run_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="has not finished"):
        read_manifest(str(tmp_path))


def test_two_shards_of_one_name_are_refused(two_partitions: Callable[..., Path], toy: Any) -> None:
    shards = read_manifest(str(two_partitions()))["shards"]
    with pytest.raises(ShardError, match="one name"):
        build_manifest([*shards, shards[0]], toy.spec())


@pytest.mark.parametrize("path", ["../shard.arrow", "/etc/shard.arrow", "..\\shard.arrow", ".hidden"])
def test_a_shard_outside_the_folder_is_refused(two_partitions: Callable[..., Path], toy: Any, path: str) -> None:
    folder = two_partitions()
    shards = read_manifest(str(folder))["shards"]
    write_manifest(build_manifest([{**shards[0], "path": path}], toy.spec()), str(folder))
    with pytest.raises(ShardError, match="is not a file name"):
        read_manifest(str(folder))


def test_info_is_the_manifest_without_its_shards(two_partitions: Callable[..., Path]) -> None:
    found = info(str(two_partitions()))
    assert "shards" not in found
    assert found["layout"] == "packed"
    assert found["totals"]["shards"] == 6


def test_no_path_of_the_run_reaches_a_file(two_partitions: Callable[..., Path], tmp_path: Path) -> None:
    for path in two_partitions().iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
