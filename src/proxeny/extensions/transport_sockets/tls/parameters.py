"""``TlsParameters``: versions, ciphers, groups and signature algorithms as libssl takes them.

BoringSSL's names count. What it knows and OpenSSL 3.0 does not is refused, so that nobody runs weaker or stronger than
the configuration says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.extensions.transport_sockets.tls.ciphers import compile_ciphers

TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304

_GROUPS: Final = {
    "P-256": "P-256",
    "prime256v1": "P-256",
    "P-384": "P-384",
    "secp384r1": "P-384",
    "P-521": "P-521",
    "secp521r1": "P-521",
    "X25519": "X25519",
    "x25519": "X25519",
}
_GROUPS_OF_BORINGSSL: Final = frozenset({"X25519MLKEM768", "MLKEM1024"})
_DEFAULT_GROUPS: Final = ("X25519", "P-256")

_SIGNATURES: Final = {
    **{f"{kind}_sha{size}": f"{name}+SHA{size}" for kind, name in (("rsa_pkcs1", "RSA"), ("rsa_pss_rsae", "RSA-PSS"))
       for size in (256, 384, 512)},
    "rsa_pkcs1_sha1": "RSA+SHA1",
    "ecdsa_sha1": "ECDSA+SHA1",
    "ecdsa_secp256r1_sha256": "ECDSA+SHA256",
    "ecdsa_secp384r1_sha384": "ECDSA+SHA384",
    "ecdsa_secp521r1_sha512": "ECDSA+SHA512",
    "ed25519": "ed25519",
}  # fmt: skip
_SIGNATURES_BY_PARTS: Final = {
    **{f"{kind}+SHA{size}": f"{name}+SHA{size}" for kind, name in
       (("RSA", "RSA"), ("RSA-PSS", "RSA-PSS"), ("PSS", "RSA-PSS"), ("ECDSA", "ECDSA")) for size in (256, 384, 512)},
    "RSA+SHA1": "RSA+SHA1",
    "ECDSA+SHA1": "ECDSA+SHA1",
}  # fmt: skip
_SIGNATURES_OF_BORINGSSL: Final = frozenset({"rsa_pkcs1_sha256_legacy", "mldsa44", "mldsa65", "mldsa87"})
_DEFAULT_SIGNATURES: Final = (
    "ecdsa_secp256r1_sha256",
    "rsa_pss_rsae_sha256",
    "rsa_pkcs1_sha256",
    "ecdsa_secp384r1_sha384",
    "rsa_pss_rsae_sha384",
    "rsa_pkcs1_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha512",
    "rsa_pkcs1_sha1",
)
"""What BoringSSL takes from a peer; it signs with what the own key can besides."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """As libssl takes them: lists separated by colons."""

    minimum: int
    maximum: int
    ciphers: str
    equal_ciphers: tuple[tuple[str, ...], ...]
    """Of which a server takes the one that its client prefers."""
    groups: str
    signature_algorithms: str
    """Empty: ``default_signature_algorithms``."""


def compile_parameters(config: Any, default_maximum: int) -> Parameters:
    """Compile a ``TlsParameters``; ConfigError in Envoy's words."""
    if config.compliance_policies:
        return _fips(config)
    ciphers = compile_ciphers(list(config.cipher_suites))
    return Parameters(
        minimum=_version(config.tls_minimum_protocol_version, TLS_1_2),
        maximum=_version(config.tls_maximum_protocol_version, default_maximum),
        ciphers=":".join(ciphers.names),
        equal_ciphers=ciphers.equal,
        groups=_groups(list(config.ecdh_curves)),
        signature_algorithms=_signatures(list(config.signature_algorithms)),
    )


def _version(protocol: int, default: int) -> int:
    """``TLSv1_0`` is 1, and 0x0301 on the wire."""
    return 0x0300 + protocol if protocol else default


def _groups(names: list[str]) -> str:
    joined = ":".join(names)
    told = joined.split(":") if joined else list(_DEFAULT_GROUPS)
    foreign = [name for name in told if name in _GROUPS_OF_BORINGSSL]
    if foreign:
        raise UnsupportedFieldError(f"OpenSSL 3.0 has no ECDH curve {foreign[0]}", "tls_params.ecdh_curves")
    found = [_GROUPS.get(name, "") for name in told]
    if not all(found) or len(set(found)) < len(found):
        raise ConfigError(f"Failed to initialize ECDH curves {joined}")
    return ":".join(found)


def _signatures(names: list[str]) -> str:
    joined = ":".join(names)
    if not joined:
        return ""
    told = joined.split(":")
    foreign = [name for name in told if name in _SIGNATURES_OF_BORINGSSL]
    if foreign:
        raise UnsupportedFieldError(
            f"OpenSSL 3.0 has no TLS signature algorithm {foreign[0]}", "tls_params.signature_algorithms"
        )
    found = [_SIGNATURES.get(name) or _SIGNATURES_BY_PARTS.get(name, "") for name in told]
    if not all(found) or len(set(found)) < len(found):
        raise ConfigError(f"Failed to initialize TLS signature algorithms {joined}")
    return ":".join(found)


def default_signature_algorithms(own: Iterable[str]) -> str:
    """What is taken from a peer where nothing is configured, and what our keys sign with ("" for nothing special)."""
    names = dict.fromkeys((*_DEFAULT_SIGNATURES, *filter(None, own)))
    return ":".join(_SIGNATURES[name] for name in names)


def _fips(config: Any) -> Parameters:
    """``FIPS_202205`` (Envoy: ``SSL_CTX_set_compliance_policy``): it overrides everything else."""
    if config.compliance_policies[0] != 0:
        raise ConfigError(f"Unknown compliance policy: {config.compliance_policies[0]}")
    names = [
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ]
    signatures = [f"{kind}_sha{size}" for kind in ("rsa_pkcs1", "rsa_pss_rsae") for size in (256, 384, 512)]
    return Parameters(
        minimum=TLS_1_2,
        maximum=TLS_1_3,
        ciphers=":".join(names),
        equal_ciphers=(),
        groups="P-256:P-384",
        signature_algorithms=_signatures([*signatures, "ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384"]),
    )
