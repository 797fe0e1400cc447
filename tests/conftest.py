"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from pathlib import Path

import pytest

# what these modules assert is told as in a test
pytest.register_assert_rewrite("archive_files", "small_tables")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pages beside the checkout; a test that needs it skips, and says so, where it is missing."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real pages in {folder.parent.name}/{folder.name} beside the checkout")
    return folder


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say how tests spread over processes: those that start Ray together, others by file; files of slow ones first."""
    groups = {
        item.nodeid: "ray" if item.get_closest_marker("ray") else item.nodeid.partition("::")[0] for item in items
    }
    slow = {groups[item.nodeid] for item in items if item.get_closest_marker("slow")}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.nodeid]))
    items.sort(key=lambda item: groups[item.nodeid] not in slow)
