"""A worker's copies: what is built from them, and when anew."""

import logging
from pathlib import Path

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import cert_pb2, tls_pb2
from tests.unit.secret.builders import User, by_sds

from proxeny.event.slices import finish
from proxeny.secret.file_set import encode
from proxeny.secret.kinds import TLS_CERTIFICATE
from proxeny.secret.sources import file_key, secret_key, static_key
from proxeny.secret.worker_secrets import WorkerSecrets

CONTEXT = tls_pb2.DownstreamTlsContext()
SDS = by_sds("a", Path("/sds.yaml"))
FILE = Path("/some/file")


def chain(text: str) -> bytes:
    source = base_pb2.DataSource(inline_string=text)
    return cert_pb2.TlsCertificate(certificate_chain=source).SerializeToString()


def files(text: str) -> bytes:
    return encode({str(FILE): text.encode()})


def test_a_secret_that_comes_later_is_built_then() -> None:
    secrets = WorkerSecrets()
    user = User(secrets, CONTEXT, sds=SDS).begin()
    assert user.context == "-"
    finish(secrets.update([(secret_key(TLS_CERTIFICATE, SDS), chain("one"))]))
    assert (user.context, user.updates) == ("one", 0)


def test_static_secrets_come_the_same_way() -> None:
    secrets = WorkerSecrets()
    finish(secrets.update([(static_key(TLS_CERTIFICATE, "a"), chain("one"))]))
    config = tls_pb2.CommonTlsContext().tls_certificate_sds_secret_configs.add(name="a")
    assert User(secrets, CONTEXT, sds=config).begin().context == "one"


def test_files_are_those_that_main_read() -> None:
    secrets = WorkerSecrets()
    finish(secrets.update([(file_key(CONTEXT), files("one"))]))
    users = [User(secrets, CONTEXT, FILE).begin() for _ in range(2)]
    finish(secrets.update([(file_key(CONTEXT), files("two"))]))
    assert [user.context for user in users] == ["two", "two"]
    with pytest.raises(FileNotFoundError):
        User(secrets, tls_pb2.UpstreamTlsContext(), FILE).begin()


def test_what_cannot_be_built_keeps_the_old(caplog: pytest.LogCaptureFixture) -> None:
    secrets = WorkerSecrets()
    finish(secrets.update([(file_key(CONTEXT), files("one"))]))
    user = User(secrets, CONTEXT, FILE).begin()
    with caplog.at_level(logging.ERROR, "proxeny.secret"):
        finish(secrets.update([(file_key(CONTEXT), files("bad"))]))
    assert user.context == "one"
    assert "a secret that main accepted cannot be used, what was there before stays: cannot use bad" in caplog.text
    finish(secrets.update([(file_key(CONTEXT), files("three"))]))
    assert user.context == "three"


def test_who_is_gone_is_not_built() -> None:
    secrets = WorkerSecrets()
    key = file_key(CONTEXT)
    finish(secrets.update([(key, files("one"))]))
    user: User | None = User(secrets, CONTEXT, FILE).begin()
    del user
    finish(secrets.update([(key, files("two")), (key, None)]))
    finish(secrets.update([(key, files("three"))]))
    assert User(secrets, CONTEXT, FILE).begin().context == "three"


def test_users_are_built_step_by_step() -> None:
    secrets = WorkerSecrets()
    finish(secrets.update([(file_key(CONTEXT), files("one"))]))
    users = [User(secrets, CONTEXT, FILE).begin() for _ in range(3)]
    steps = secrets.update([(file_key(CONTEXT), files("two"))])
    next(steps)
    assert sorted(user.context for user in users) == ["one", "one", "two"]
    finish(steps)
    assert [user.context for user in users] == ["two"] * 3
