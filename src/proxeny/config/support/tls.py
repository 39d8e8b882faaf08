"""TLS transport sockets."""

from proxeny.config.support.table import Table, extension, fields

_TLS = "envoy.extensions.transport_sockets.tls.v3"

TABLE: Table = {
    f"{_TLS}.DownstreamTlsContext": extension(done="common_tls_context require_client_certificate"),
    f"{_TLS}.UpstreamTlsContext": extension(done="common_tls_context sni"),
    f"{_TLS}.CommonTlsContext": fields(done="tls_certificates validation_context alpn_protocols"),
    f"{_TLS}.TlsCertificate": fields(done="certificate_chain private_key watched_directory"),
    f"{_TLS}.CertificateValidationContext": fields(done="trusted_ca watched_directory"),
}
