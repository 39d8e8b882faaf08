"""What the zygote imports before it forks."""

from pathlib import Path

import pytest

from proxeny.server.options import Options
from proxeny.server.preload import _mentions_tls

TLS = '{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}'


@pytest.mark.parametrize("text", ["", "node: {id: a}", "name: envoy.transport_sockets.raw_buffer"])
def test_without_tls(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert not _mentions_tls(Options(config_path=str(path)))
    assert not _mentions_tls(Options(config_yaml=text))


def test_with_tls(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TLS)
    assert _mentions_tls(Options(config_path=str(path)))
    assert _mentions_tls(Options(config_yaml=TLS))


def test_a_file_that_cannot_be_read_is_told_of_later(tmp_path: Path) -> None:
    assert not _mentions_tls(Options(config_path=str(tmp_path / "none")))
