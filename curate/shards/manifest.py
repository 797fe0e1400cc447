"""The manifest of a folder of shards: what is there, what it was made of, and one fingerprint over all of it.

Everything in a manifest shapes bytes or follows from them; times, hosts, paths of a run, workers and task keys have no
place here. Two runs of equal fingerprint wrote equal shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from curate import storage
from curate.errors import ShardError
from curate.shards.layout import ShardSpec
from curate.shards.writer import ShardSummary

MANIFEST_FILE: Final = "manifest.json"
SCHEMA_NAME: Final = "manifest/1"
TOTALS: Final = ("rows", "documents", "tokens", "padding_tokens", "bytes")


def build_manifest(
    shards: Iterable[ShardSummary | Mapping[str, Any]],
    spec: ShardSpec,
    *,
    settings: Mapping[str, Any] | None = None,
    epochs: Mapping[str, float] | None = None,
    quarantined: Sequence[Mapping[str, Any]] = (),
    repeats: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest of `shards`, sorted by path, with its fingerprint.

    `settings` are those of the recipe that shape bytes; `epochs` says how often the mix saw each source's tokens;
    `quarantined` names the units that are missing; `repeats` says how often documents were seen, by source and by how
    often an epoch holds them, if the mix repeats documents. The realised mix (documents, tokens, share) is summed from
    the shards. The order in which shards and keys are given changes nothing.
    """
    entries = sorted((_entry(shard) for shard in shards), key=lambda entry: str(entry["path"]))
    paths = [entry["path"] for entry in entries]
    if len(set(paths)) != len(paths):
        raise ShardError("two shards have one name; a partition was packed twice into one folder")
    totals = {key: sum(entry[key] for entry in entries) for key in TOTALS}
    body = {
        "schema": SCHEMA_NAME,
        **spec.settings(),
        "settings": dict(settings or {}),
        "mix": _realised_mix(entries, spec.sources, epochs or {}),
        **({} if repeats is None else {"repeats": dict(repeats)}),
        "quarantined": sorted((dict(unit) for unit in quarantined), key=canonical_json),
        "totals": {"shards": len(entries), **totals},
        "shards": entries,
    }
    return {**json.loads(canonical_json(body)), "fingerprint": manifest_fingerprint(body)}


def _entry(shard: ShardSummary | Mapping[str, Any]) -> dict[str, Any]:
    values = shard._asdict() if isinstance(shard, ShardSummary) else shard
    return {key: values[key] for key in ShardSummary._fields}


def _realised_mix(
    entries: Sequence[Mapping[str, Any]], sources: Sequence[str], epochs: Mapping[str, float]
) -> dict[str, Any]:
    mix = {}
    total = sum(entry["tokens"] for entry in entries)
    for name in sources:
        found = [entry["sources"][name] for entry in entries if name in entry["sources"]]
        tokens = sum(count["tokens"] for count in found)
        mix[name] = {
            "documents": sum(count["documents"] for count in found),
            "tokens": tokens,
            "share": tokens / total if total else 0.0,
            "epochs": epochs.get(name),
        }
    return mix


def manifest_fingerprint(manifest: Mapping[str, Any]) -> str:
    """Return the sha256, in hex, of the canonical JSON of a manifest without its ``fingerprint``."""
    body = {key: value for key, value in manifest.items() if key != "fingerprint"}
    return hashlib.sha256(canonical_json(body)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return `value` as JSON with sorted keys and no space: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write_manifest(manifest: Mapping[str, Any], folder: str) -> None:
    """Write ``manifest.json`` below `folder`, atomically; do it after all shards are there."""
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    storage.make_folder(folder)
    storage.write_bytes(storage.join(folder, MANIFEST_FILE), text.encode() + b"\n")


def read_manifest(folder: str) -> dict[str, Any]:
    """Return the manifest of `folder`. Raises ShardError if it is missing, damaged, of a newer version, or edited."""
    uri = storage.join(folder, MANIFEST_FILE)
    where = f"{folder}/{MANIFEST_FILE}" if storage.is_local(folder) else MANIFEST_FILE
    try:
        manifest = json.loads(storage.read_bytes(uri))
    except FileNotFoundError as error:
        raise ShardError(f"{where}: missing; the run that writes these shards has not finished") from error
    except ValueError as error:
        raise ShardError(f"{where}: not JSON; fetch the folder again") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA_NAME:
        raise ShardError(f"{where}: not a manifest of version {SCHEMA_NAME}")
    if manifest.get("fingerprint") != manifest_fingerprint(manifest):
        raise ShardError(f"{where}: its fingerprint does not match its content; it was edited or damaged")
    for entry in manifest["shards"]:
        # a manifest may come from anywhere: it must not make a reader leave the folder
        if "/" in entry["path"] or "\\" in entry["path"] or entry["path"].startswith("."):
            raise ShardError(f"{where}: shard path {entry['path']!r} is not a file name")
    return manifest


def info(folder: str) -> dict[str, Any]:
    """Return the manifest of `folder` without its list of shards."""
    return {key: value for key, value in read_manifest(folder).items() if key != "shards"}
