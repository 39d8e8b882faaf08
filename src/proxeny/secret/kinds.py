"""The kinds of secrets (``envoy.extensions.transport_sockets.tls.v3.Secret``), by their fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

TLS_CERTIFICATE: Final = "tls_certificate"
VALIDATION_CONTEXT: Final = "validation_context"
SESSION_TICKET_KEYS: Final = "session_ticket_keys"
GENERIC_SECRET: Final = "generic_secret"

KINDS: Final = (TLS_CERTIFICATE, VALIDATION_CONTEXT, SESSION_TICKET_KEYS, GENERIC_SECRET)
"""In the order in which /config_dump shows them."""

LABELS: Final = {
    TLS_CERTIFICATE: "TlsCertificate",
    VALIDATION_CONTEXT: "CertificateValidationContext",
    SESSION_TICKET_KEYS: "TlsSessionTicketKeys",
    GENERIC_SECRET: "GenericSecret",
}
"""What Envoy calls them in errors."""

UNKNOWN: Final = {
    TLS_CERTIFICATE: "Unknown static secret",
    VALIDATION_CONTEXT: "Unknown static certificate validation context",
    SESSION_TICKET_KEYS: "Unknown tls session ticket keys",
    GENERIC_SECRET: "Unknown static generic secret",
}
"""How Envoy refuses the name of a static secret that there is not."""

_RESOLVED: Final = {
    TLS_CERTIFICATE: ("certificate_chain", "private_key"),
    VALIDATION_CONTEXT: ("trusted_ca", "crl"),
}
"""The data sources of a kind whose files Envoy reads when the secret arrives; the first one it always shows."""


def message_of(kind: str, data: bytes) -> Any:
    """The message of a secret, for example a ``TlsCertificate``, from its bytes."""
    field: Any = secret_pb2.Secret.DESCRIPTOR.fields_by_name[kind]
    return field.message_type._concrete_class.FromString(data)


def files_of(kind: str, message: Any) -> list[str]:
    """The files whose contents belong to a secret that was delivered."""
    return [source.filename for source in _sources(kind, message) if source.WhichOneof("specifier") == "filename"]


def resolve(kind: str, message: Any, read: Callable[[str], bytes]) -> Any:
    """A copy of a secret with the contents of its files in their place."""
    resolved = type(message)()
    resolved.CopyFrom(message)
    for source in _sources(kind, resolved):
        if source.WhichOneof("specifier") == "filename":
            source.inline_bytes = read(source.filename)
    return resolved


def as_shown(kind: str, resolved: Any) -> Any:
    """A resolved secret as /config_dump has it."""
    shown = type(resolved)()
    shown.CopyFrom(resolved)
    for field in _RESOLVED.get(kind, ())[:1]:
        getattr(shown, field).SetInParent()
    return shown


def _sources(kind: str, message: Any) -> list[Any]:
    return [getattr(message, field) for field in _RESOLVED.get(kind, ()) if message.HasField(field)]
