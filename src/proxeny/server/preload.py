"""Imports all that workers need, so that the zygote has it when it forks them."""

from __future__ import annotations

import socket
from importlib import import_module
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


def preload() -> None:
    """Import the data plane and register the extensions; ConfigError when one of a third party fails."""
    import proxeny.worker.worker  # noqa: F401

    extensions.install()
    for module in _COMMON:
        import_module(module)


def worker_main(options: Options, index: int, epoch: int, sock: socket.socket, shared: list[int]) -> int:
    """What the zygote runs in a worker."""
    from proxeny.worker import worker

    return worker.main(options, index, epoch, sock, shared)
