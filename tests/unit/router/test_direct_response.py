"""Direct responses whose body is a watched file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envoy.config.core.v3.base_pb2 import DataSource

from proxeny.router.direct_response import DirectResponseEntry, WatchedResponseEntry
from proxeny.router.route import RouteConfigInfo, VirtualHost


def watched(file: Path, limit: int = 100) -> WatchedResponseEntry:
    host = VirtualHost("v", RouteConfigInfo("r"))
    source: Any = DataSource(filename=str(file))
    return WatchedResponseEntry(DirectResponseEntry(host, 200, file.read_bytes()), source, limit)


def replace(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def test_another_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_text("one")
    entry = watched(file)
    replace(file, "two")
    entry.refresh()
    assert entry.body == b"two"


def test_a_link_that_leads_elsewhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    link = tmp_path / "link"
    link.symlink_to("a")
    entry = watched(link)
    link.unlink()
    link.symlink_to("b")
    entry.refresh()
    assert entry.body == b"two"


def test_an_edit_in_place_is_not_seen(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_text("one")
    entry = watched(file)
    file.write_text("two")
    entry.refresh()
    assert entry.body == b"one"


def test_what_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_text("one")
    entry = watched(file, limit=5)
    replace(file, "much too long")
    entry.refresh()
    assert entry.body == b"one"
    file.unlink()
    entry.refresh()
    assert entry.body == b"one"
    replace(file, "three")
    entry.refresh()
    assert entry.body == b"three"
