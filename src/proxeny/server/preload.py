"""Imports all that workers need, so that the zygote has it when it forks them."""

from __future__ import annotations

import socket
from importlib import import_module
from pathlib import Path
from typing import Final

from proxeny import extensions
from proxeny.server.options import Options

_COMMON: Final = (
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
    "proxeny.extensions.http_filters.router",
    "proxeny.extensions.network_filters.http_connection_manager",
    "proxeny.extensions.network_filters.tcp_proxy",
    "proxeny.network.process_secret",
)
"""What nearly every configuration needs; the rest is imported when a configuration names it."""


_TLS: Final = (
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "proxeny.extensions.transport_sockets.tls.context_builder",
    "proxeny.extensions.transport_sockets.tls.factory",
    "cryptography.x509.ocsp",
)
"""What TLS needs besides: 16 MB that workers share, if the zygote has them."""
_SPEAKS_TLS: Final = b"envoy.extensions.transport_sockets.tls."


def preload(options: Options) -> None:
    """Import the data plane and register the extensions; ConfigError when one of a third party fails."""
    import proxeny.worker.worker  # noqa: F401

    extensions.install()
    for module in (*_COMMON, *(_TLS if _mentions_tls(options) else ())):
        import_module(module)


def _mentions_tls(options: Options) -> bool:
    """Whether the configuration, which nobody has read yet, is about TLS: a guess that only memory depends on."""
    if _SPEAKS_TLS in options.config_yaml.encode():
        return True
    try:
        return bool(options.config_path) and _SPEAKS_TLS in Path(options.config_path).read_bytes()
    except OSError:
        return False


def worker_main(options: Options, index: int, epoch: int, sock: socket.socket, shared: list[int]) -> int:
    """What the zygote runs in a worker."""
    from proxeny.worker import worker

    return worker.main(options, index, epoch, sock, shared)
