"""TLS over real socket pairs: two streams with a transport each, driven by one poller."""

import socket

import pytest

from proxeny.kernel.epoll import Poller
from proxeny.kernel.stream import Stream
from proxeny.kernel.tls import NotReadyTransport, TlsTransport
from proxeny.kernel.tls_context import COUNTERS, TlsContext, TlsError
from proxeny.stats.schema import Schema
from proxeny.stats.store import MainStore
from proxeny.testing.certificates import Authority

SCHEMA = Schema("ssl", counters=COUNTERS)
ROOT = Authority("root")
SERVER = ROOT.issue("server", "DNS:server.test")
CLIENT = ROOT.issue("client", "URI:spiffe://test/client")


class End(Stream):
    def __init__(self):
        self.received = b""
        self.eof = False
        self.connected = 0
        self.errors = []

    def on_readable(self, eof):
        self.received += self.read_buffer.take()
        self.eof = self.eof or eof

    def on_connected(self):
        self.connected += 1

    def on_transport_error(self, error):
        self.errors.append(error)
        self.close_stream()

    def on_handler_error(self, error):
        raise error


class World:
    """A server's and a client's context, with their counters."""

    def __init__(self):
        self.store = MainStore()
        self.poller = Poller()
        self.server = self.context(True)
        self.client = self.context(False)
        self.server.add_certificate(SERVER.chain_pem.encode(), SERVER.key_pem.encode())

    def context(self, server):
        scope = "server.ssl." if server else "client.ssl."
        return TlsContext(server, self.store.block(SCHEMA, scope), self.store.dynamic(scope))

    def pair(self, server_name=None):
        theirs, ours = socket.socketpair()
        ends = (End(), End())
        transports = (TlsTransport(self.server), TlsTransport(self.client, server_name))
        for end, transport, sock, connecting in zip(ends, transports, (theirs, ours), (False, True), strict=True):
            sock.setblocking(False)
            end.set_transport(transport)
            end.open(self.poller, sock.detach(), connecting)
        return ends

    def run(self, until):
        for _ in range(100):
            if until():
                return
            self.poller.wait(100)
        raise AssertionError("it did not happen")

    def connected(self, **options):
        server, client = self.pair(**options)
        self.run(lambda: server.connected and client.connected)
        return server, client

    def failed(self, **options):
        server, client = self.pair(**options)
        self.run(lambda: server.fd < 0 and client.fd < 0)
        return server.transport.failure_reason, client.transport.failure_reason

    def counts(self, scope):
        block = self.store.block(SCHEMA, f"{scope}.ssl.")
        return {name: block.get(slot) for slot, name in enumerate(COUNTERS) if block.get(slot)}

    def resumed(self):
        """Whether a second connection resumes the first one's session. Tickets come with the first bytes."""
        for _ in range(2):
            server, client = self.connected()
            client.write(b"x")
            self.run(lambda server=server: server.received)
            server.write(b"y")
            self.run(lambda client=client: client.received)
            assert server.transport.session_reused == client.transport.session_reused
            client.close_stream()
            self.run(lambda server=server: server.eof)
            server.close_stream()
        return client.transport.session_reused


@pytest.fixture
def world():
    made = World()
    yield made
    made.poller.close()


def test_bytes_cross_both_ways(world):
    server, client = world.connected(server_name=b"server.test")
    assert (server.connected, client.connected) == (1, 1)
    client.write(b"question")
    world.run(lambda: server.received == b"question")
    server.write(b"answer")
    world.run(lambda: client.received == b"answer")
    assert server.transport.server_name == "server.test"
    assert server.transport.version == client.transport.version == "TLSv1.3"
    assert world.counts("server") == {"handshake": 1, "no_certificate": 1}
    assert world.counts("client") == {"handshake": 1}
    assert client.transport.peer_certificates == (SERVER.der,)
    assert server.transport.local_certificate == SERVER.der


def test_bytes_written_before_the_handshake_follow_it(world):
    server, client = world.pair()
    client.write(b"early")
    world.run(lambda: server.received == b"early")


def test_much_is_sent_however_small_the_socket(world):
    server, client = world.connected()
    data = bytes(range(256)) * 16384
    client.write(data)
    server.write(data)
    world.run(lambda: len(server.received) == len(data) and len(client.received) == len(data))
    assert server.received == client.received == data
    assert client.unsent == server.unsent == 0


def test_many_slices_are_one_record(world):
    server, client = world.connected()
    for _ in range(40):
        client.write(b"x" * 5000)
    world.run(lambda: len(server.received) == 200_000)


def test_half_close(world):
    server, client = world.connected()
    client.write(b"last", True)
    world.run(lambda: server.eof)
    assert server.received == b"last"
    server.write(b"still here", True)
    world.run(lambda: client.eof)
    assert client.received == b"still here"


def test_the_end_before_the_handshake_waits_for_it(world):
    server, client = world.pair()
    client.write(b"", True)
    world.run(lambda: server.eof)
    assert not server.errors


def test_a_close_is_told(world):
    server, client = world.connected()
    client.close_stream()
    world.run(lambda: server.eof)
    assert not server.errors


def test_reads_that_are_disabled_in_the_handshakes_last_event_come_later(world):
    server, client = world.pair()
    client.write(b"early")
    server.read_disable(True)
    world.poller.wait(10)
    server.read_disable(False)
    world.run(lambda: server.received == b"early")


def test_plain_text_to_a_server(world):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    end = End()
    end.set_transport(TlsTransport(world.server))
    end.open(world.poller, ours.detach())
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    world.run(lambda: end.fd < 0)
    assert (
        end.transport.failure_reason == "TLS_error:|268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end"
    )
    assert world.counts("server") == {"connection_error": 1}
    theirs.close()


def test_an_end_in_the_handshake_is_no_error_of_tls(world):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    end = End()
    end.set_transport(TlsTransport(world.server))
    end.open(world.poller, ours.detach())
    theirs.close()
    world.run(lambda: end.fd < 0)
    assert end.transport.failure_reason is None
    assert world.counts("server") == {}


def test_a_client_verifies_the_server(world):
    world.client.trust(ROOT.pem.encode())
    world.client.set_verification(True, False, True)
    _, client = world.connected()
    assert client.transport.verified
    assert client.transport.validated_issuer == ROOT.der


def test_an_unknown_authority_is_refused(world):
    world.client.trust(Authority("other").pem.encode())
    world.client.set_verification(True, False, True)
    server, client = world.failed()
    assert client == (
        "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: "
        "X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate:"
        "TLS_error_end"
    )
    assert server == "TLS_error:|268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end"
    assert world.counts("client") == {"fail_verify_error": 1}
    assert world.counts("server") == {"connection_error": 1}


def test_a_server_asks_for_a_certificate(world):
    world.server.trust(ROOT.pem.encode())
    world.server.set_verification(True, True, True)
    world.client.add_certificate(CLIENT.chain_pem.encode(), CLIENT.key_pem.encode())
    server, _ = world.connected()
    assert server.transport.peer_certificates == (CLIENT.der,)
    assert world.counts("server") == {"handshake": 1}


def test_a_server_insists_on_a_certificate(world):
    world.server.trust(ROOT.pem.encode())
    world.server.set_verification(True, True, True)
    server, _ = world.failed()
    assert server == (
        "TLS_error:|268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:"
        "peer did not provide required client certificate:TLS_error_end"
    )
    assert world.counts("server") == {"fail_verify_no_cert": 1}


class Refusing:
    def verify(self, transport, certificates):
        assert certificates == [SERVER.der]
        return COUNTERS.index("fail_verify_san"), "verify cert failed: verify SAN list"


def test_a_validator_has_the_last_word(world):
    world.client.set_verification(True, False, False, Refusing())
    _, client = world.failed()
    assert client.endswith("CERTIFICATE_VERIFY_FAILED:verify cert failed: verify SAN list:TLS_error_end")
    assert world.counts("client") == {"fail_verify_san": 1}


def test_application_protocols(world):
    world.server.set_alpn([b"h2", b"http/1.1"])
    world.client.set_alpn([b"http/1.1", b"h2"])
    server, client = world.connected()
    assert server.transport.alpn == client.transport.alpn == "h2"


def test_no_common_protocol_is_no_error(world):
    world.server.set_alpn([b"h2"])
    world.client.set_alpn([b"x"])
    server, client = world.connected()
    assert server.transport.alpn == client.transport.alpn == ""


def test_secrets_that_have_not_come(world):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    end = End()
    end.set_transport(NotReadyTransport())
    end.open(world.poller, ours.detach())
    theirs.sendall(b"x")
    world.run(lambda: end.fd < 0)
    assert end.transport.failure_reason == "TLS error: Secret is not supplied by SDS"
    theirs.close()


def test_what_libssl_refuses(world):
    with pytest.raises(TlsError):
        world.client.set_ciphers(b"NO-SUCH-CIPHER")
    with pytest.raises(TlsError):
        world.client.add_certificate(CLIENT.pem.encode(), SERVER.key_pem.encode())
    with pytest.raises(TlsError):
        world.client.add_certificate(b"no certificate", b"")
    with pytest.raises(TlsError):
        world.client.set_alpn([b""])


RSA = ROOT.issue("rsa", "DNS:server.test", "DNS:rsa.test", key="rsa2048")
OTHER = ROOT.issue("other", "DNS:other.test", "DNS:*.wild.test")
NAMED = ROOT.issue("named.test")


def shown(world, server_name, client=None):
    """The certificate that a client gets."""
    if client is not None:
        world.client = client
    _, client = world.connected(server_name=server_name)
    return client.transport.peer_certificates[0]


def limited(world, algorithms=None, maximum=0x0304):
    made = world.context(False)
    made.set_protocols(0x0303, maximum)
    if algorithms:
        made.set_signature_algorithms(algorithms)
    return made


def add(world, *certificates):
    for certificate in certificates:
        world.server.add_certificate(certificate.chain_pem.encode(), certificate.key_pem.encode())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"server.test", SERVER),
        (b"rsa.test", RSA),
        (b"other.test", OTHER),
        (b"a.wild.test", OTHER),
        (b"a.b.wild.test", SERVER),
        (b"wild.test", SERVER),
        (b"named.test", NAMED),
        (b"unknown.test", SERVER),
        (None, SERVER),
    ],
)
def test_the_server_name_chooses_the_certificate(world, name, expected):
    add(world, RSA, OTHER, NAMED)
    assert shown(world, name) == expected.der


@pytest.mark.parametrize("maximum", [0x0303, 0x0304])
def test_a_client_without_ecdsa_gets_the_rsa_certificate(world, maximum):
    add(world, RSA)
    algorithms = b"rsa_pss_rsae_sha256:RSA+SHA256"
    client = limited(world, algorithms, maximum)
    if maximum == 0x0303:
        client.set_ciphers(b"ECDHE-RSA-AES128-GCM-SHA256")
    assert shown(world, b"server.test", client) == RSA.der


def test_a_mismatch_scans_all_certificates_where_that_is_wished(world):
    only_rsa = b"rsa_pss_rsae_sha256"
    add(world, RSA)
    world.server.set_full_scan(True)
    assert shown(world, b"unknown.test", limited(world, only_rsa)) == RSA.der


def test_without_a_full_scan_a_mismatch_takes_the_first(world):
    add(world, RSA)
    world.client = limited(world, b"rsa_pss_rsae_sha256")
    server, _ = world.failed(server_name=b"unknown.test")
    assert "NO_COMMON_SIGNATURE_ALGORITHMS" in server


@pytest.mark.parametrize("maximum", [0x0303, 0x0304])
def test_tickets(world, maximum):
    world.client.set_protocols(0x0303, maximum)
    world.client.keep_sessions(1)
    world.server.set_resumption(True, False, secret=b"shared by all workers")
    assert world.resumed()
    assert world.counts("server")["session_reused"] == world.counts("client")["session_reused"] == 1


def test_another_worker_opens_a_ticket(world):
    world.client.keep_sessions(1)
    for _ in range(2):
        world.server = world.context(True)
        add(world, SERVER)
        world.server.set_resumption(True, True, secret=b"shared by all workers")
        world.server.set_session_id_context(b"same")
        server, client = world.connected()
        server.write(b"y")
        world.run(lambda client=client: client.received)
    assert server.transport.session_reused


def test_keys_rotate(world):
    old, new = b"o" * 80, b"n" * 80
    world.client.keep_sessions(1)
    reused = []
    for keys in ([old], [new, old], [new], [old]):
        world.server = world.context(True)
        add(world, SERVER)
        world.server.set_resumption(True, False, keys=keys)
        server, client = world.connected()
        server.write(b"y")
        world.run(lambda client=client: client.received)
        reused.append(server.transport.session_reused)
    assert reused == [False, True, True, False]


@pytest.mark.parametrize("maximum", [0x0303, 0x0304])
def test_resumption_may_be_off(world, maximum):
    world.client.set_protocols(0x0303, maximum)
    world.client.keep_sessions(1)
    world.server.set_resumption(False, False)
    assert not world.resumed()


def test_a_cache_of_the_server_serves_tls_1_2(world):
    world.client.set_protocols(0x0303, 0x0303)
    world.client.keep_sessions(1)
    world.server.set_resumption(False, True)
    world.server.set_session_id_context(b"id")
    assert world.resumed()


def test_the_servers_cache_does_not_serve_tls_1_3(world):
    world.client.keep_sessions(1)
    world.server.set_resumption(False, True)
    assert not world.resumed()


def test_a_client_that_keeps_none_resumes_none(world):
    world.server.set_resumption(True, True, secret=b"secret")
    assert not world.resumed()


def test_sessions_for_other_names_are_not_offered(world):
    world.client.keep_sessions(4)
    world.server.set_resumption(True, True, secret=b"secret")
    reused = []
    for name in (b"a.test", b"b.test", b"a.test"):
        server, client = world.connected(server_name=name)
        server.write(b"y")
        world.run(lambda client=client: client.received)
        reused.append(client.transport.session_reused)
    assert reused == [False, False, True]


def test_resumed_sessions_know_the_client(world):
    world.server.trust(ROOT.pem.encode())
    world.server.set_verification(True, True, True)
    world.server.set_session_id_context(b"id")
    world.server.set_resumption(True, True, secret=b"secret")
    world.client.add_certificate(CLIENT.chain_pem.encode(), CLIENT.key_pem.encode())
    world.client.keep_sessions(1)
    for _ in range(2):
        server, client = world.connected()
        server.write(b"y")
        world.run(lambda client=client: client.received)
    assert server.transport.session_reused
    assert server.transport.verified
    assert server.transport.peer_certificates == (CLIENT.der,)


def test_keys_are_logged(world):
    world.server.log_keys()
    lines = []
    server, client = world.pair()
    server.transport.key_log = lines.append
    world.run(lambda: server.connected and client.connected)
    assert {line.split()[0] for line in lines} >= {b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"SERVER_TRAFFIC_SECRET_0"}


SIGNS_NOTHING = ROOT.issue("rsa", "DNS:server.test", key="rsa2048", usages=("key_encipherment",))


def test_a_misused_key_is_refused(world):
    world.server = world.context(True)
    add(world, SIGNS_NOTHING)
    _, client = world.failed()
    assert client == ("TLS_error:|268435758:SSL routines:OPENSSL_internal:KEY_USAGE_BIT_INCORRECT:TLS_error_end")
    assert world.counts("client") == {"connection_error": 1}


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (b"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ],
)
def test_the_client_chooses_among_equal_ciphers(world, offered, taken):
    names = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384"
    world.server.set_ciphers(names, [names.split(b":")[:2]])
    world.client.set_protocols(0x0303, 0x0303)
    world.client.set_ciphers(offered)
    server, _ = world.connected()
    assert server.transport.cipher == taken
