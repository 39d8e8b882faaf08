"""Contexts of the kernel, made of compiled settings. Main makes them to learn whether libssl takes them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography import x509

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls.cert_validator import DefaultCertValidator, SpiffeCertValidator
from proxeny.extensions.transport_sockets.tls.certificates import (
    check_staple,
    load_certificate,
    readable,
    signature_algorithm_of,
)
from proxeny.extensions.transport_sockets.tls.parameters import default_signature_algorithms
from proxeny.extensions.transport_sockets.tls.validation import NO_VALIDATION, Validation
from proxeny.kernel.tls_context import TlsContext, TlsError
from proxeny.network.process_secret import derived
from proxeny.secret.certificates import ContextCertificates, ShownCertificate

if TYPE_CHECKING:
    from proxeny.extensions.transport_sockets.tls.parameters import Parameters
    from proxeny.extensions.transport_sockets.tls.settings import CommonSettings, DownstreamSettings, UpstreamSettings

MUST_STAPLE: Final = 2
"""``DownstreamTlsContext.OcspStaplePolicy``."""

# X509_V_FLAG_*
_CRL_CHECK: Final = 0x4
_CRL_CHECK_ALL: Final = 0x8
_PARTIAL_CHAIN: Final = 0x80000
_NO_CHECK_TIME: Final = 0x200000

_DEFAULT_DEPTH: Final = 100


def fill_server_context(context: TlsContext, settings: DownstreamSettings, scope: str) -> ContextCertificates:
    """Give a new context what the settings say; what it is made of. ConfigError in Envoy's words."""
    common = settings.common
    validation = common.validation or NO_VALIDATION
    _set_parameters(context, common.parameters)
    _verify(context, validation, settings.require_client_certificate)
    certificates = _load(context, common)
    if settings.prefer_client_ciphers:
        context.prefer_clients_order()
    _set_staples(context, settings, certificates)
    context.set_full_scan(settings.full_scan_certs_on_sni_mismatch)
    context.set_session_id_context(_session_id_context(settings, validation))
    context.set_resumption(
        settings.stateless_resumption,
        settings.stateful_resumption,
        settings.session_timeout_s or 0,
        settings.ticket_keys,
        derived(f"tickets of {scope}".encode()),
    )
    return _shown(scope, common, certificates)


def fill_client_context(context: TlsContext, settings: UpstreamSettings, scope: str) -> ContextCertificates:
    """Give a new context what the settings say; what it is made of. ConfigError in Envoy's words."""
    common = settings.common
    _set_parameters(context, common.parameters)
    _verify(context, common.validation or NO_VALIDATION, False)
    certificates = _load(context, common)
    context.keep_sessions(settings.max_session_keys)
    return _shown(scope, common, certificates)


def _set_staples(context: TlsContext, settings: DownstreamSettings, certificates: list[x509.Certificate]) -> None:
    for position, (own, certificate) in enumerate(zip(settings.common.certificates, certificates, strict=True)):
        expires = check_staple(certificate, own, settings.ocsp_staple_policy == MUST_STAPLE)
        if own.ocsp_staple:
            context.set_staple(position, own.ocsp_staple, expires)
    context.set_staple_policy(settings.ocsp_staple_policy)


def _shown(scope: str, common: CommonSettings, certificates: list[x509.Certificate]) -> ContextCertificates:
    """For /certs and the gauges of expiration."""
    authorities = []
    if common.validation is not None:
        validation = common.validation
        domains = validation.trust_domains
        trusted = validation.authorities if domains is None else domains.authorities
        path = validation.authorities_path if domains is None else domains.path
        authorities = [ShownCertificate(validation.name, path, one) for one in readable(trusted)]
    own = [
        ShownCertificate(one.name, one.path, certificate, one.ocsp_staple)
        for one, certificate in zip(common.certificates, certificates, strict=True)
    ]
    return ContextCertificates(scope, authorities, own)


def _set_parameters(context: TlsContext, parameters: Parameters) -> None:
    try:
        context.set_protocols(parameters.minimum, parameters.maximum)
        equal = [[name.encode() for name in group] for group in parameters.equal_ciphers]
        context.set_ciphers(parameters.ciphers.encode(), equal)
        context.set_groups(parameters.groups.encode())
    except TlsError as error:
        raise ConfigError(f"libssl does not take the TLS parameters: {error}") from None


def _load(context: TlsContext, common: CommonSettings) -> list[x509.Certificate]:
    certificates = [load_certificate(context, own) for own in common.certificates]
    algorithms = common.parameters.signature_algorithms
    if not algorithms:
        algorithms = default_signature_algorithms([signature_algorithm_of(certificate) for certificate in certificates])
    try:
        context.set_signature_algorithms(algorithms.encode())
    except TlsError as error:
        raise ConfigError(f"libssl does not take the signature algorithms: {error}") from None
    if common.alpn:
        context.set_alpn(common.alpn)
    return certificates


def _verify(context: TlsContext, validation: Validation, require: bool) -> None:
    """How peers are verified. ``require``: whether a client has to show a certificate, where it is asked for one."""
    if validation.verifies_chain:
        context.trust(validation.authorities_pem, not validation.suppress_client_ca_list)
        for lists in (validation.authorities_pem, validation.crl):
            if validation.checks_revocation and lists:
                _revoke(context, lists, validation)
    elif validation.trust_domains is not None:
        for authority in validation.trust_domains.authorities:
            context.tell_clients(authority)
    asks = validation.asks_for_certificate
    context.set_verification(
        ask=asks,
        require=validation.requires_certificate or (require and validation.verifies_chain),
        chain=validation.verifies_chain,
        validator=make_validator(validation, context.is_server),
        accept_untrusted=validation.accept_untrusted,
        flags=_flags(validation),
        depth=_depth(validation, context.is_server),
    )


def _revoke(context: TlsContext, lists: bytes, validation: Validation) -> None:
    try:
        context.revoke(lists)
    except TlsError:
        raise ConfigError(f"Failed to load CRL from {validation.crl_path}") from None


def make_validator(validation: Validation, is_server: bool) -> DefaultCertValidator | SpiffeCertValidator | None:
    """What judges a peer's own certificate; None: nobody. Clients may expect other names with each connection."""
    if validation.trust_domains is not None:
        return SpiffeCertValidator(validation, validation.trust_domains)
    if is_server and not validation.checks_certificate:
        return None
    return DefaultCertValidator(validation)


def _flags(validation: Validation) -> int:
    flags = _PARTIAL_CHAIN
    if validation.checks_revocation:
        flags |= _CRL_CHECK if validation.only_leaf_revocation else _CRL_CHECK | _CRL_CHECK_ALL
    if validation.allow_expired:
        flags |= _NO_CHECK_TIME
    return flags


def _depth(validation: Validation, is_server: bool) -> int:
    """The field counts the trusted certificate, OpenSSL does not; Envoy looks at it for servers only."""
    if validation.max_depth is None or not is_server:
        return _DEFAULT_DEPTH
    return max(validation.max_depth - 1, 0)


def _session_id_context(settings: DownstreamSettings, validation: Validation) -> bytes:
    """Sessions are resumed only where a full handshake would have gone as well: what it depends on, as a digest."""
    digest = hashlib.sha256()
    parts: list[bytes] = [own.path.encode() for own in settings.common.certificates]
    parts += validation.authorities
    parts += sorted(validation.hashes)
    parts += sorted(validation.keys)
    parts.append(validation.crl)
    parts += [repr(matcher).encode() for matcher in validation.matchers]
    if validation.trust_domains is not None:
        parts += validation.trust_domains.authorities
    facts = (
        settings.require_client_certificate,
        validation.allow_expired,
        validation.accept_untrusted,
        validation.only_leaf_revocation,
        validation.max_depth,
    )
    parts.append(repr(facts).encode())
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.digest()
