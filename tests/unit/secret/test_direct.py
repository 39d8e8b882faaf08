"""Secrets where nobody manages any."""

from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from tests.unit.secret.builders import User, by_sds

from proxeny.config.errors import ConfigError
from proxeny.secret.certificates import ContextCertificates
from proxeny.secret.direct import DirectSecrets

CONTEXT = tls_pb2.UpstreamTlsContext()


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    user = User(DirectSecrets(), CONTEXT, tmp_path / "file").begin()
    user.sources.show(ContextCertificates(""))
    assert user.context == "content"
    with pytest.raises(FileNotFoundError):
        User(DirectSecrets(), CONTEXT, tmp_path / "none").begin()


def test_there_are_no_secrets() -> None:
    assert User(DirectSecrets(), CONTEXT, sds=by_sds("a", Path("/a"))).begin().context == "-"
    named = tls_pb2.CommonTlsContext().tls_certificate_sds_secret_configs.add(name="a")
    with pytest.raises(ConfigError, match="Unknown static secret: a"):
        User(DirectSecrets(), CONTEXT, sds=named).begin()
