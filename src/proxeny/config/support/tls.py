"""TLS transport sockets and what they are made of."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"

TABLE: Final[Table] = {
    f"{_TLS}.DownstreamTlsContext": extension(
        done="""common_tls_context require_client_certificate session_ticket_keys session_ticket_keys_sds_secret_config
            disable_stateless_session_resumption disable_stateful_session_resumption session_timeout ocsp_staple_policy
            full_scan_certs_on_sni_mismatch prefer_client_ciphers""",
        accepted="require_sni",  # Envoy has it in its API and does nothing with it
    ),
    f"{_TLS}.UpstreamTlsContext": extension(
        done="common_tls_context sni auto_host_sni auto_sni_san_validation max_session_keys",
        accepted="enforce_rsa_key_usage",  # Envoy 1.40 enforces it whatever is said,
    ),
    f"{_TLS}.CommonTlsContext": fields(
        done="""tls_params tls_certificates tls_certificate_sds_secret_configs validation_context
            validation_context_sds_secret_config combined_validation_context alpn_protocols key_log custom_handshaker
            custom_tls_certificate_selector""",
    ),
    f"{_TLS}.CommonTlsContext.CombinedCertificateValidationContext": fields(
        done="default_validation_context validation_context_sds_secret_config"
    ),
    f"{_TLS}.TlsParameters": fields(
        done="""tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves signature_algorithms
            compliance_policies"""
    ),
    f"{_TLS}.TlsKeyLog": fields(done="path local_address_range remote_address_range"),
    f"{_TLS}.TlsCertificate": fields(
        done="certificate_chain private_key pkcs12 password ocsp_staple watched_directory private_key_provider",
        accepted="signed_certificate_timestamp",  # not implemented in Envoy
    ),
    f"{_TLS}.CertificateValidationContext": fields(
        done="""trusted_ca system_root_certs watched_directory verify_certificate_spki verify_certificate_hash
            match_typed_subject_alt_names match_subject_alt_names crl allow_expired_certificate trust_chain_verification
            custom_validator_config only_verify_leaf_cert_crl max_verify_depth suppress_client_ca_list""",
        accepted="require_signed_certificate_timestamp",  # not implemented in Envoy
    ),
    f"{_TLS}.CertificateValidationContext.SystemRootCerts": fields(),
    f"{_TLS}.SubjectAltNameMatcher": fields(done="san_type matcher oid"),
    f"{_TLS}.SPIFFECertValidatorConfig": extension(done="trust_domains trust_bundles"),
    f"{_TLS}.SPIFFECertValidatorConfig.TrustDomain": fields(done="name trust_bundle"),
}
