"""TlsParameters as libssl takes them."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import common_pb2

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.extensions.transport_sockets.tls.parameters import (
    TLS_1_2,
    TLS_1_3,
    Parameters,
    compile_parameters,
    default_signature_algorithms,
)


def compiled(maximum: int = TLS_1_3, **fields: Any) -> Parameters:
    return compile_parameters(common_pb2.TlsParameters(**fields), maximum)


def test_defaults() -> None:
    server, client = compiled(), compiled(TLS_1_2)
    assert (server.minimum, server.maximum) == (TLS_1_2, TLS_1_3)
    assert (client.minimum, client.maximum) == (TLS_1_2, TLS_1_2)
    assert server.groups == "X25519:P-256"
    assert server.signature_algorithms == ""


def test_versions() -> None:
    made = compiled(tls_minimum_protocol_version=1, tls_maximum_protocol_version=4)
    assert (made.minimum, made.maximum) == (0x0301, 0x0304)


def test_groups_have_several_names() -> None:
    assert compiled(ecdh_curves=["x25519", "prime256v1:P-384", "secp521r1"]).groups == "X25519:P-256:P-384:P-521"
    for names in (["P-224"], ["X448"], ["P-256", "prime256v1"], ["P-256", ""]):
        with pytest.raises(ConfigError, match=f"Failed to initialize ECDH curves {':'.join(names)}"):
            compiled(ecdh_curves=names)
    with pytest.raises(UnsupportedFieldError, match="has no ECDH curve X25519MLKEM768"):
        compiled(ecdh_curves=["X25519MLKEM768", "X25519"])


def test_signature_algorithms() -> None:
    names = ["ecdsa_secp256r1_sha256", "PSS+SHA384", "RSA+SHA1", "ed25519"]
    assert compiled(signature_algorithms=names).signature_algorithms == "ECDSA+SHA256:RSA-PSS+SHA384:RSA+SHA1:ed25519"
    for refused in (["bogus"], ["ed448"], ["RSA+SHA256", "rsa_pkcs1_sha256"], ["rsa_pss_pss_sha256"]):
        with pytest.raises(ConfigError, match="Failed to initialize TLS signature algorithms"):
            compiled(signature_algorithms=refused)
    with pytest.raises(UnsupportedFieldError, match="mldsa44"):
        compiled(signature_algorithms=["mldsa44"])


def test_defaults_take_what_boringssl_takes_and_what_our_keys_sign_with() -> None:
    usual = default_signature_algorithms(["", "ecdsa_secp256r1_sha256"])
    assert "ed25519" not in usual
    assert "SHA512" in usual
    assert default_signature_algorithms(["ed25519", "ed25519"]) == f"{usual}:ed25519"


def test_fips_overrides_everything() -> None:
    made = compiled(compliance_policies=[0], cipher_suites=["AES128-SHA"], tls_minimum_protocol_version=1)
    assert made.minimum == TLS_1_2
    assert made.groups == "P-256:P-384"
    assert "AES128-SHA" not in made.ciphers.split(":")
