"""Certificates as Envoy shows them: names, numbers, digests, odd encodings."""

import base64
import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from proxeny.kernel.tls_certificate import DNS, EMAIL, IP, OTHERNAME, URI, Certificate, object_identifier
from proxeny.testing.certificates import Authority, der_string, make

ROOT = Authority("the root")


def parse(*sans, **options) -> Certificate:
    return Certificate(ROOT.issue("leaf", *sans, **options).der)


def other(content: bytes) -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), content)


def test_facts() -> None:
    made = ROOT.issue("leaf", "DNS:a.test", serial_number=0x0ABC)
    parsed = Certificate(made.der)
    assert parsed.subject == "CN=leaf,O=Proxeny tests"
    assert parsed.issuer == "CN=the root,O=Proxeny tests"
    assert parsed.serial == "0abc"
    assert parsed.sha256 == made.fingerprint
    assert parsed.sha1 == hashlib.sha1(made.der).hexdigest()
    assert parsed.pem == made.pem
    assert parsed.der == made.der
    assert parsed.not_before == made.x509.not_valid_before_utc.timestamp()
    assert parsed.not_after == made.x509.not_valid_after_utc.timestamp()
    assert parsed.extension_oids == tuple([one.oid.dotted_string for one in made.x509.extensions])


def test_names_by_kind() -> None:
    sans = ("DNS:a.test", "URI:spiffe://a/b", "email:a@b", "IP:10.0.0.1", "DNS:*.b.test", "IP:2001:db8::1", "RID:1.2.3")
    parsed = parse(*sans, "dirName:somebody", "otherName:1.2.3;UTF8:me")
    assert parsed.names(DNS) == ("a.test", "*.b.test")
    assert parsed.names(URI) == ("spiffe://a/b",)
    assert parsed.names(EMAIL) == ("a@b",)
    assert parsed.names(IP) == ("10.0.0.1", "2001:db8::1")
    assert parsed.names(OTHERNAME) == ("me",)
    assert parsed.names(4711) == ()


def test_without_names() -> None:
    assert parse().names(DNS) == ()


@pytest.mark.parametrize(
    ("der", "text"),
    [
        (b"\x05\x00", ""),
        (b"\x01\x01\xff", "true"),
        (b"\x01\x01\x00", "false"),
        (b"\x02\x01\x2a", "42"),
        (b"\x02\x01\xff", "-1"),
        (b"\x0a\x01\x07", "7"),
        (b"\x06\x03\x2a\x03\x04", "1.2.3.4"),
        (der_string(0x1E, "grün".encode("utf-16-be")), "grün"),
        (der_string(0x1C, "grün".encode("utf-32-be")), "grün"),
        (der_string(0x16, b"ia5"), "ia5"),
        (der_string(0x04, b"\x00\x01"), "\x00\x01"),
        (der_string(0x0C, "grün".encode()), "grün"),
        (der_string(0x17, b"260101000000Z"), "260101000000Z"),
        (b"\x30\x03\x02\x01\x05", "0\x03\x02\x01\x05"),
    ],
)
def test_other_names(der: bytes, text: str) -> None:
    assert parse(other(der)).names(OTHERNAME) == (text,)


def test_a_name_with_a_nul_stays_whole() -> None:
    assert parse("DNS:a.test\0.evil.test").names(DNS) == ("a.test\0.evil.test",)


def test_subject_is_escaped() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'Müller, "Söhne"'),
            x509.NameAttribute(x509.ObjectIdentifier("1.2.3.4.5"), "odd"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b"),
        ]
    )
    parsed = Certificate(make("x", subject=name).der)
    assert parsed.subject == 'emailAddress=a@b,1.2.3.4.5=#0C036F6464,O=M\\C3\\BCller\\, \\"S\\C3\\B6hne\\",C=DE'


def test_validity_after_2050() -> None:
    parsed = parse(not_after=datetime.timedelta(days=365 * 40))
    assert parsed.not_after - parsed.not_before > 365 * 39 * 86400


@pytest.mark.parametrize(
    "der", [b"", b"\x30\x03\x02\x01\x05", ROOT.der + b"x", ROOT.der[:-1]], ids=["empty", "other", "longer", "shorter"]
)
def test_what_is_no_certificate(der: bytes) -> None:
    with pytest.raises(ValueError, match="not a certificate"):
        Certificate(der)


def test_mapped_addresses_are_shown_as_the_system_does() -> None:
    assert parse("IP:::ffff:10.0.0.1").names(IP) == ("::ffff:10.0.0.1",)


def test_alternative_names_in_their_order() -> None:
    parsed = parse("URI:a://b", "DNS:a.test", "RID:1.2.3", "otherName:1.2.3;UTF8:me")
    assert parsed.alternative_names == ((6, "a://b", ""), (2, "a.test", ""), (8, "", ""), (0, "me", "1.2.3"))
    assert parse().alternative_names == ()


def test_digest_of_the_public_key() -> None:
    made = ROOT.issue("leaf")
    assert base64.b64encode(Certificate(made.der).public_key_sha256).decode() == made.spki_pin


def test_who_may_issue() -> None:
    assert not parse().may_issue
    assert parse(usages=None).may_issue
    assert parse(usages=("crl_sign",)).may_issue
    assert parse(ca=True).may_issue


def test_object_identifiers() -> None:
    assert object_identifier("1.2.3") == "1.2.3"
    assert object_identifier("commonName") == "2.5.4.3"
    assert object_identifier("nope") == object_identifier("") == ""
