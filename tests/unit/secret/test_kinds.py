"""Kinds of secrets: which of their files are read when they arrive."""

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2

from proxeny.secret import kinds


def file(name: str) -> base_pb2.DataSource:
    return base_pb2.DataSource(filename=name)


def test_files_of_certificates_are_put_inline() -> None:
    message = common_pb2.TlsCertificate(private_key=file("/key"), password=file("/password"))
    resolved = kinds.resolve(kinds.TLS_CERTIFICATE, message, lambda path: path.encode())
    assert kinds.files_of(kinds.TLS_CERTIFICATE, message) == ["/key"]
    assert resolved.private_key.inline_bytes == b"/key"
    assert resolved.password.filename == "/password"
    assert not resolved.HasField("certificate_chain")
    assert kinds.as_shown(kinds.TLS_CERTIFICATE, resolved).HasField("certificate_chain")
    assert message.private_key.filename == "/key"


def test_files_of_validation_contexts_are_put_inline() -> None:
    message = common_pb2.CertificateValidationContext(trusted_ca=file("/ca"), crl=file("/crl"))
    resolved = kinds.resolve(kinds.VALIDATION_CONTEXT, message, lambda path: path.encode())
    assert (resolved.trusted_ca.inline_bytes, resolved.crl.inline_bytes) == (b"/ca", b"/crl")
    empty = kinds.as_shown(kinds.VALIDATION_CONTEXT, common_pb2.CertificateValidationContext())
    assert (empty.HasField("trusted_ca"), empty.HasField("crl")) == (True, False)


def test_files_of_keys_and_others_stay_names() -> None:
    message = common_pb2.TlsSessionTicketKeys(keys=[file("/key")])
    assert kinds.files_of(kinds.SESSION_TICKET_KEYS, message) == []
    assert kinds.resolve(kinds.SESSION_TICKET_KEYS, message, bytes) == message


def test_every_kind_is_a_field() -> None:
    assert set(kinds.KINDS) == {field.name for field in secret_pb2.Secret.DESCRIPTOR.oneofs_by_name["type"].fields}
    for kind in kinds.KINDS:
        assert kinds.message_of(kind, b"").DESCRIPTOR.name == kinds.LABELS[kind]
