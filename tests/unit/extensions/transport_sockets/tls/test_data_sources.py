"""Data sources: what may be missing, empty, neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls.data_sources import NOTHING, read, read_filled, read_present


def source(**fields: Any) -> base_pb2.DataSource:
    return base_pb2.DataSource(**fields)


def from_disk(path: str) -> bytes:
    return Path(path).read_bytes()


def test_what_is_inline() -> None:
    assert read(source(inline_string="ä"), from_disk) == ("ä".encode(), "<inline>")
    assert read(source(inline_bytes=b"\xff"), from_disk) == (b"\xff", "<inline>")
    assert read(source(inline_string=""), from_disk) == NOTHING
    assert read(source(), from_disk) == NOTHING


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXENY_TEST_PEM", "text")
    assert read(source(environment_variable="PROXENY_TEST_PEM"), from_disk) == (b"text", "<inline>")
    with pytest.raises(ConfigError, match="Environment variable doesn't exist: PROXENY_NOT_SET"):
        read(source(environment_variable="PROXENY_NOT_SET"), from_disk)


def test_files(tmp_path: Path) -> None:
    full, empty, missing = (str(tmp_path / name) for name in ("full", "empty", "missing"))
    Path(full).write_bytes(b"x")
    Path(empty).touch()
    assert read_filled(source(filename=full), from_disk) == (b"x", full)
    assert read(source(filename=missing), from_disk) == (b"", missing)
    assert read_present(source(filename=empty), from_disk) == (b"", empty)
    with pytest.raises(ConfigError, match=f"Invalid path: {missing}"):
        read_present(source(filename=missing), from_disk)
    with pytest.raises(ConfigError, match=f"unable to read file: {tmp_path}"):
        read_present(source(filename=str(tmp_path)), from_disk)
    with pytest.raises(ConfigError, match=f"file {empty} is empty"):
        read_filled(source(filename=empty), from_disk)
    with pytest.raises(ConfigError, match="DataSource cannot be empty"):
        read_filled(source(inline_string=""), from_disk)
