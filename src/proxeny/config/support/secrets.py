"""Secrets, of the bootstrap and discovered."""

from typing import Final

from proxeny.config.support.table import Table, fields

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"

TABLE: Final[Table] = {
    f"{_TLS}.Secret": fields(done="name tls_certificate session_ticket_keys validation_context generic_secret"),
    f"{_TLS}.SdsSecretConfig": fields(done="name sds_config"),
    f"{_TLS}.TlsSessionTicketKeys": fields(done="keys"),
    f"{_TLS}.GenericSecret": fields(done="secret secrets"),
}
