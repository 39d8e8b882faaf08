"""What TCP knows of a connection, counted."""

import socket

from proxeny.extensions.transport_sockets.tcp_stats import TCP_STATS, ConnectionFacts, read_facts
from proxeny.kernel.stats import Segment


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


class Stream:
    """A stream that is connected."""

    dispatcher = None

    def __init__(self, fd: int) -> None:
        self.fd = fd


def test_facts_are_added_once() -> None:
    client, peer = pair()
    segment = Segment.create()
    block = segment.block(0, TCP_STATS.size)
    facts = ConnectionFacts(block, 0)
    with client, peer:
        facts.connected(Stream(client.fileno()))
        client.sendall(b"x" * 100)
        assert peer.recv(100) == b"x" * 100
        peer.sendall(b"yy")
        assert client.recv(2) == b"yy"
        facts.record(client.fileno())
        sent = block.get(TCP_STATS.slot("cx_tx_data_segments"))
        assert sent >= 1
        facts.record(client.fileno())
        assert block.get(TCP_STATS.slot("cx_tx_data_segments")) == sent
        assert block.get(TCP_STATS.slot("cx_rx_data_segments")) == 1
        assert block.get(TCP_STATS.slot("cx_rx_bytes_received")) in (2, 3)
        assert block.get(TCP_STATS.slot("cx_tx_bytes_sent")) == 100
        facts.closing(Stream(client.fileno()))  # type: ignore[arg-type]
    for gauge in TCP_STATS.gauges:
        assert block.get(TCP_STATS.slot(gauge)) == 0
    assert block.count(TCP_STATS.slot("cx_rtt_us")) == 3
    segment.close()


def test_what_is_no_tcp_has_no_facts() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert read_facts(one.fileno()) is None
    assert read_facts(-1) is None
