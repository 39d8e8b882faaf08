"""Cipher strings in BoringSSL's language; what becomes of each was asked of Envoy."""

from __future__ import annotations

import pytest

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls.ciphers import compile_ciphers


def names(*rules: str) -> list[str]:
    return compile_ciphers(list(rules)).names


def test_the_default_is_envoys_in_its_order() -> None:
    made = compile_ciphers([])
    assert made.names == [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ]
    assert made.equal[0] == ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert names("") == made.names


def test_operators() -> None:
    assert names("AES128-SHA", "AES256-SHA", "+AES128-SHA") == ["AES256-SHA", "AES128-SHA"]
    assert names("RSA", "-AESGCM") == ["AES128-SHA", "AES256-SHA"]
    assert names("!AESGCM", "RSA") == ["AES128-SHA", "AES256-SHA"]
    assert names("AES128-SHA:AES256-SHA", "@STRENGTH") == ["AES256-SHA", "AES128-SHA"]
    assert names("-ALL", "AES128-SHA", "AES128-SHA") == ["AES128-SHA"]


def test_aliases_are_intersected_and_leave_old_ones_out() -> None:
    assert names("ECDHE+AESGCM+aRSA") == ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
    assert "ECDHE-RSA-AES128-SHA256" not in names("ALL")
    assert names("ECDHE-RSA-AES128-SHA256") == ["ECDHE-RSA-AES128-SHA256"]
    assert names("DEFAULT") == names("ALL")
    assert names("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256") == ["ECDHE-RSA-AES128-GCM-SHA256"]


def test_groups() -> None:
    assert compile_ciphers(["[AES128-SHA|AES256-SHA]AES128-GCM-SHA256"]).names == [
        "AES128-SHA",
        "AES256-SHA",
        "AES128-GCM-SHA256",
    ]
    assert compile_ciphers(["[AES128-SHA|AES256-SHA]"]).equal == (("AES128-SHA", "AES256-SHA"),)
    assert compile_ciphers(["AES128-SHA:AES256-SHA"]).equal == ()
    assert names("[]", "AES128-SHA") == ["AES128-SHA"]


@pytest.mark.parametrize(
    ("rules", "bad"),
    [
        (["BOGUS"], "BOGUS"),
        (["AES128-SHA", "!ADH", "BOGUS"], "ADH, BOGUS"),
        (["!ALL"], ""),
        (["[AES128-SHA"], ""),
        (["[AES128-SHA|AES256-SHA]", "@STRENGTH"], "@STRENGTH"),
        (["-[AES128-SHA|AES256-SHA]"], ""),
        (["AES128-SHA", "-"], ""),
        (["AES128-SHA AES256-SHA"], "AES128-SHA AES256-SHA"),
        (["AES128-SHA+SHA"], ""),
        (["AES128-SHA", "DEFAULT"], ""),
        (["DEFAULTX"], "DEFAULTX"),
        (["TLS_AES_128_GCM_SHA256"], "TLS_AES_128_GCM_SHA256"),
    ],
)
def test_refusals_are_envoys(rules: list[str], bad: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compile_ciphers(rules)
    assert str(refused.value) == (
        f"Failed to initialize cipher suites {':'.join(rules)}. "
        f"The following ciphers were rejected when tried individually: {bad}"
    )


def test_what_openssl_is_built_without_is_refused() -> None:
    with pytest.raises(ConfigError, match="None of the cipher suites 3DES is in this build of OpenSSL"):
        compile_ciphers(["3DES"])
    assert names("3DES", "AES128-SHA") == ["DES-CBC3-SHA", "AES128-SHA"], "OpenSSL leaves out what it does not know"
