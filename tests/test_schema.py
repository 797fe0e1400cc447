"""Files say what they are and of which version; those of another major are refused."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate import schema
from curate.errors import InputError

NAMES = sorted(schema.MAJORS)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_of_this_version_passes_with_columns_more_or_less(name: str) -> None:
    schema.check_schema(schema.named_schema(name, [pa.field("id", schema.ID), pa.field("new", pa.int8())]), "here")
    schema.check_schema(schema.named_schema(name, []), "here")


@pytest.mark.parametrize("name", NAMES)
def test_another_major_is_refused_with_what_to_do(name: str) -> None:
    newer = pa.schema([], metadata={schema.SCHEMA_KEY: f"{name}/{schema.MAJORS[name] + 1}".encode()})
    with pytest.raises(InputError, match=rf"p\.parquet: holds {name}/2, this version reads {name}/1; use the version"):
        schema.check_schema(newer, "p.parquet")


@pytest.mark.parametrize("metadata", [None, {}, {b"pandas": b"{}"}, {b"curate.schema": b"\xff"}])
def test_a_file_of_another_program_is_refused(metadata: dict[bytes, bytes] | None) -> None:
    with pytest.raises(InputError, match=r"p\.parquet: holds no curate data"):
        schema.check_schema(pa.schema([], metadata=metadata), "p.parquet")


def test_the_shipped_schemas_carry_their_names() -> None:
    for found, name in ((schema.DOCUMENT, "document"), (schema.REJECT, "reject"), (schema.VERDICT, "verdict")):
        assert found.metadata == {b"curate.schema": f"{name}/1".encode()}
