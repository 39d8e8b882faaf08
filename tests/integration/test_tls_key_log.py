"""Secrets of sessions are written down for the connections that the configuration names."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from proxeny.testing import RunningProxy
from proxeny.testing.certificates import Authority

CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: tls
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
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
            - certificate_chain: {{inline_string: {chain}}}
              private_key: {{inline_string: {key}}}
            key_log:
              path: {log}
              remote_address_range: [{{address_prefix: 127.0.0.2, prefix_len: 32}}]
"""


def echo(port: int, source: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        wrapped.sendall(b"hello")
        assert wrapped.recv(5) == b"hello"


def test_keys_of_the_named_clients_are_logged(proxy: Callable[..., RunningProxy], tmp_path: Path) -> None:
    leaf = Authority("root").issue("leaf", "DNS:a.test")
    log = tmp_path / "keys"
    running = proxy(CONFIG.format(chain=json.dumps(leaf.pem), key=json.dumps(leaf.key_pem), log=log))
    port = running.port("tls")
    echo(port, "127.0.0.1")
    echo(port, "127.0.0.2")
    running.stop()
    lines = log.read_text().splitlines()
    assert {line.split()[0] for line in lines} >= {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}
    assert len({line.split()[1] for line in lines}) == 1, "one client's random"
