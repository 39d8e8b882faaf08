"""Sessions of real workers: what one has sealed another opens, also one that took a dead one's place."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable

from proxeny.testing import RunningProxy
from proxeny.testing.certificates import Authority

LEAF = Authority("root").issue("leaf", "DNS:a.test")
CONFIG = f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: tls
    stat_prefix: tls
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    connection_balance_config: {{exact_balance: {{}}}}
    filter_chains:
    - filters:
      - name: echo
        typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{inline_string: {json.dumps(LEAF.pem)}}}
              private_key: {{inline_string: {json.dumps(LEAF.key_pem)}}}
"""


class Client:
    def __init__(self, port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), 10)
        self.wrapped = context.wrap_socket(plain, session=session)
        # The ticket comes with the first bytes.
        self.wrapped.sendall(b"hello")
        assert self.wrapped.recv(5) == b"hello"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.wrapped.close()


def anybody() -> ssl.SSLContext:
    """A client that trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_workers_open_the_tickets_of_each_other(proxy: Callable[..., RunningProxy]) -> None:
    running = proxy(CONFIG, concurrency=2)
    port, context = running.port("tls"), anybody()
    # Exact balance gives the second connection to the worker that has none.
    with Client(port, context) as first, Client(port, context, first.wrapped.session) as second:
        assert not first.wrapped.session_reused
        assert second.wrapped.session_reused
        assert [running.stat(f"listener.tls.worker_{index}.downstream_cx_total") for index in (0, 1)] == [1, 1]
    assert running.wait_for_stat("listener.tls.ssl.session_reused", 1) == 1


def test_a_replaced_worker_opens_the_tickets_of_its_predecessor(proxy: Callable[..., RunningProxy]) -> None:
    running = proxy(CONFIG, concurrency=1)
    port, context = running.port("tls"), anybody()
    with Client(port, context) as first:
        session = first.wrapped.session
    os.kill(running.worker_pids()[0], signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    with Client(port, context, session) as second:
        assert second.wrapped.session_reused


def test_much_comes_back_as_it_was_sent(proxy: Callable[..., RunningProxy]) -> None:
    """The client reads only when it has sent a lot: buffers fill on the way, and drain again."""
    running = proxy(CONFIG)
    data = os.urandom(1 << 16) * 64
    with Client(running.port("tls"), anybody()) as client:
        received = bytearray()

        def read() -> None:
            while len(received) < len(data):
                part = client.wrapped.recv(1 << 16)
                if not part:
                    return
                received.extend(part)

        reader = threading.Thread(target=read)
        client.wrapped.sendall(data[: 1 << 18])
        reader.start()
        client.wrapped.sendall(data[1 << 18 :])
        reader.join(30)
        assert bytes(received) == data
