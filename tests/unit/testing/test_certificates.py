"""The certificates that tests are made of, judged by OpenSSL."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from proxeny.testing.certificates import Authority, alternative_name, expired, make, not_yet_valid, private_key

ROOT = Authority("root")


def verify(folder: Path, leaf: str, root: str, *options: str) -> tuple[int, str]:
    """What ``openssl verify`` says."""
    (folder / "leaf").write_text(leaf)
    (folder / "root").write_text(root)
    command = ["openssl", "verify", "-CAfile", str(folder / "root"), "-untrusted", str(folder / "leaf"), *options]
    ran = subprocess.run([*command, str(folder / "leaf")], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048", "ed25519"])
def test_a_leaf_is_valid_under_its_root_through_an_intermediate(tmp_path: Path, key: str) -> None:
    leaf = ROOT.intermediate(key=key).issue("leaf", "DNS:a.test", key=key)
    assert verify(tmp_path, leaf.chain_pem, ROOT.pem, "-x509_strict")[0] == 0
    assert leaf.chain_pem.count("BEGIN CERTIFICATE") == 2
    assert leaf.full_chain_pem.count("BEGIN CERTIFICATE") == 3


def test_bad_ones_are_bad_as_told(tmp_path: Path) -> None:
    assert "certificate has expired" in verify(tmp_path, ROOT.issue("a", **expired()).pem, ROOT.pem)[1]
    assert "not yet valid" in verify(tmp_path, ROOT.issue("a", **not_yet_valid()).pem, ROOT.pem)[1]
    assert "unable to get local issuer" in verify(tmp_path, ROOT.issue("a").pem, Authority("other").pem)[1]
    assert "self-signed" in verify(tmp_path, make("a").pem, ROOT.pem)[1]
    server_only = ROOT.issue("a", extended=("server",))
    assert "certificate purpose" in verify(tmp_path, server_only.pem, ROOT.pem, "-purpose", "sslclient")[1]


def test_a_revocation_list_names_the_revoked(tmp_path: Path) -> None:
    good, bad = ROOT.issue("good"), ROOT.issue("bad")
    crl = tmp_path / "crl"
    crl.write_text(ROOT.crl([bad]))
    options = ("-crl_check", "-CRLfile", str(crl))
    assert verify(tmp_path, good.pem, ROOT.pem, *options)[0] == 0
    assert "certificate revoked" in verify(tmp_path, bad.pem, ROOT.pem, *options)[1]


def test_alternative_names_of_all_kinds() -> None:
    texts = ("DNS:*.a.test", "DNS:a\0b", "IP:127.0.0.1", "IP:::1", "URI:spiffe://a/b", "email:a@b.test")
    leaf = ROOT.issue("leaf", *texts, "RID:1.2.3", "dirName:someone", "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:me@ad")
    names = list(leaf.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    assert names[1].value == "a\0b"
    assert [type(one).__name__ for one in names[6:]] == ["RegisteredID", "DirectoryName", "OtherName"]
    assert names[8].value == b"\x0c\x05me@ad"
    with pytest.raises(ValueError, match="not a kind of alternative name"):
        alternative_name("nonsense")


def test_files_and_bundles(tmp_path: Path) -> None:
    leaf = ROOT.intermediate().issue("leaf", "DNS:a.test")
    files = leaf.write(tmp_path / "made")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_chain, files.private_key)
    context.load_verify_locations(files.authority)
    key, certificate, above = pkcs12.load_key_and_certificates(leaf.pkcs12("secret"), b"secret")
    assert certificate == leaf.x509
    assert key is not None
    assert len(above) == 1
    load_pem_private_key(leaf.encrypted_key_pem("word").encode(), b"word")


def test_rsa_keys_are_made_once() -> None:
    assert private_key("rsa1024", "a") is private_key("rsa1024", "a")
    assert private_key("rsa1024", "a") is not private_key("rsa1024", "b")
    with pytest.raises(ValueError, match="not a kind of key"):
        private_key("dsa")


def test_pins_are_what_openssl_prints(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text(ROOT.pem)
    told = subprocess.run(
        ["openssl", "x509", "-in", str(tmp_path / "pem"), "-noout", "-fingerprint", "-sha256", "-serial"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.lower()
    assert ROOT.fingerprint in told.replace(":", "")
    assert ROOT.serial_number in told
    assert len(ROOT.spki_pin) == 44


@pytest.mark.parametrize("status", ["good", "revoked", "unknown"])
def test_ocsp_responses(status: str) -> None:
    response = x509.ocsp.load_der_ocsp_response(ROOT.ocsp_response(ROOT.issue("leaf"), status))
    assert response.certificate_status.name == status.upper()
