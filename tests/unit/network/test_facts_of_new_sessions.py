"""What is told of a session of libssl before its handshake, and of one that failed."""

import socket

import pytest

from proxeny.extensions.transport_sockets.tls.stats import SSL
from proxeny.kernel.epoll import Poller
from proxeny.kernel.stats import DynamicLog, DynamicStats, Segment
from proxeny.kernel.stream import Stream
from proxeny.kernel.tls import TlsTransport
from proxeny.kernel.tls_context import TlsContext
from proxeny.network.ssl_connection import SslConnectionInfo
from proxeny.testing.certificates import Authority

LEAF = Authority("root").issue("leaf", "DNS:a.test")
TOLD = {"version", "local", "dns_sans_local_certificate", "subject_local_certificate"}
"""What is known of ourselves."""


@pytest.fixture
def transport():
    segment = Segment.create()
    context = TlsContext(True, segment.block(0, SSL.size), DynamicStats(DynamicLog(segment), "ssl."))
    context.add_certificate(LEAF.chain_pem.encode(), LEAF.key_pem.encode())
    yield TlsTransport(context)
    segment.close()


class Failing(Stream):
    """A stream that closes at an error."""

    def on_transport_error(self, error):
        self.close_stream()


def told(transport):
    info = SslConnectionInfo(transport)
    return {name for name in dir(SslConnectionInfo) if not name.startswith("_") and getattr(info, name)}


def test_before_the_handshake(transport):
    assert told(transport) == TOLD


def test_after_a_handshake_that_failed(transport):
    poller = Poller()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = Failing()
    stream.set_transport(transport)
    stream.open(poller, ours.detach())
    with theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while stream.fd >= 0:
            poller.wait(1000)
    poller.close()
    assert told(transport) == TOLD
