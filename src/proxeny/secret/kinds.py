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
    TLS_CERTIFICATE: (("certificate_chain", True), ("private_key", False)),
    VALIDATION_CONTEXT: (("trusted_ca", True), ("crl", False)),
}
"""The data sources of a kind whose files Envoy reads when the secret arrives; True: shown even where there is none."""


def message_of(kind: str, data: bytes) -> Any:
    """The message of a secret, for example a ``TlsCertificate``, from its bytes."""
    field: Any = secret_pb2.Secret.DESCRIPTOR.fields_by_name[kind]
    return field.message_type._concrete_class.FromString(data)


def files_of(kind: str, message: Any) -> list[str]:
    """The files whose contents belong to a secret that was delivered."""
    sources = [getattr(message, field) for field, _ in _RESOLVED.get(kind, ()) if message.HasField(field)]
    return [source.filename for source in sources if source.WhichOneof("specifier") == "filename"]


def resolve(kind: str, message: Any, read: Callable[[str], bytes]) -> Any:
    """A copy of a secret with the contents of its files in their place."""
    resolved = type(message)()
    resolved.CopyFrom(message)
    for name, always in _RESOLVED.get(kind, ()):
        source = getattr(resolved, name)
        if source.WhichOneof("specifier") == "filename":
            source.inline_bytes = read(source.filename)
        elif always:
            source.SetInParent()
    return resolved
