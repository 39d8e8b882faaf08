"""x-forwarded-client-cert, through a certificate that nobody signed."""

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf import json_format

from proxeny.http.forward_client_cert import (
    ALWAYS_FORWARD_ONLY,
    APPEND_FORWARD,
    FORWARD_ONLY,
    SANITIZE,
    SANITIZE_SET,
    ForwardClientCert,
)
from proxeny.kernel.headers import HeaderMap

XFCC = b"x-forwarded-client-cert"
ALL = {"cert": True, "chain": True, "subject": True, "uri": True, "dns": True}


class FakeSsl:
    """A session with a client certificate."""

    peer_certificate_presented = True
    uri_sans_local_certificate = ("spiffe://us",)
    uri_sans_peer_certificate: tuple[str, ...] = ("spiffe://them", "spiffe://again")
    dns_sans_peer_certificate: tuple[str, ...] = ("a.test", "b.test")
    subject_peer_certificate = "CN=them"
    sha256_peer_certificate_digest = "abcd"
    url_encoded_pem_peer_certificate = "PEM"
    url_encoded_pem_peer_certificate_chain = "CHAIN"


class Without(FakeSsl):
    """A session without one."""

    peer_certificate_presented = False


class Bare(FakeSsl):
    """A certificate without names."""

    uri_sans_local_certificate = ()
    uri_sans_peer_certificate = ()
    dns_sans_peer_certificate = ()
    subject_peer_certificate = ""
    sha256_peer_certificate_digest = ""
    url_encoded_pem_peer_certificate = ""
    url_encoded_pem_peer_certificate_chain = ""


def rules(mode: int, details: dict[str, bool] | None = None) -> ForwardClientCert:
    message = json_format.ParseDict(details or {}, HttpConnectionManager.SetCurrentClientCertDetails())
    return ForwardClientCert(mode, message)


FULL = (
    b'By=spiffe://us;Hash=abcd;Cert="PEM";Chain="CHAIN";Subject="CN=them";URI=spiffe://them;URI=spiffe://again;'
    b"DNS=a.test;DNS=b.test"
)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (SANITIZE, None),
        (FORWARD_ONLY, b"By=before"),
        (APPEND_FORWARD, b"By=before," + FULL),
        (SANITIZE_SET, FULL),
        (ALWAYS_FORWARD_ONLY, b"By=before"),
    ],
)
def test_modes_with_a_certificate(mode: int, expected: bytes | None) -> None:
    headers = HeaderMap(((XFCC, b"By=before"),))
    rules(mode, ALL).apply(headers, FakeSsl())
    assert headers.get(XFCC) == expected


@pytest.mark.parametrize("ssl", [None, Without()])
@pytest.mark.parametrize("mode", [SANITIZE, FORWARD_ONLY, APPEND_FORWARD, SANITIZE_SET, ALWAYS_FORWARD_ONLY])
def test_without_a_certificate_only_always_forwards(mode: int, ssl: FakeSsl | None) -> None:
    headers = HeaderMap(((XFCC, b"By=before"),))
    rules(mode, ALL).apply(headers, ssl)
    assert (XFCC in headers) == (mode == ALWAYS_FORWARD_ONLY)


def test_empty_facts() -> None:
    headers = HeaderMap()
    rules(SANITIZE_SET, ALL).apply(headers, Bare())
    assert headers.get(XFCC) == b'Subject="";URI='


def test_nothing_is_asked_for() -> None:
    headers = HeaderMap()
    rules(APPEND_FORWARD).apply(headers, FakeSsl())
    assert headers.get(XFCC) == b"By=spiffe://us;Hash=abcd"
