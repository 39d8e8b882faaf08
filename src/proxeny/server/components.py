"""The names of log components and levels (Envoy: ``ALL_LOGGER_IDS``, spdlog's levels) and their Python counterparts.

A module logs to ``logging.getLogger("proxeny.<component>")``, or to its own dotted name, of which the part behind
``proxeny.`` finds the component in ``FOLDERS``.
"""

from __future__ import annotations

import logging
from typing import Final

TRACE: Final = 5
OFF: Final = 100

LEVELS: Final[dict[str, int]] = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": OFF,
}
LEVEL_NAMES: Final[dict[int, str]] = {number: name for name, number in LEVELS.items() if name != "warn"}

COMPONENTS: Final[tuple[str, ...]] = (
    "a2a", "admin", "ai_protocol_manager", "alternate_protocols_cache", "aws", "assert", "backtrace",
    "basic_auth", "cache_filter", "client", "config", "connection", "conn_handler", "compression",
    "credential_injector", "decompression", "dns", "dubbo", "envoy_bug", "ext_authz", "ext_proc", "rocketmq",
    "file", "filter", "forward_proxy", "geolocation", "grpc", "happy_eyeballs", "hc", "health_checker", "http",
    "http2", "hystrix", "init", "io", "jwt", "json_rpc", "kafka", "key_value_store", "lua", "local_rate_limit",
    "main", "matcher", "mcp", "misc", "mongo", "multi_connection", "notification", "oauth2", "quic",
    "quic_stream", "pool", "rate_limit_quota", "rbac", "rds", "redis", "router", "runtime", "stats", "secret",
    "sse", "tap", "testing", "thrift", "tracing", "upstream", "udp", "wasm", "websocket", "golang",
    "stats_sinks", "dynamic_modules", "ip_tagging",
)  # fmt: skip

FOLDERS: Final[dict[str, str]] = {
    "access_log": "misc",
    "cli": "main",
    "event": "main",
    "extensions": "filter",
    "formatter": "misc",
    "kernel": "misc",
    "listener": "conn_handler",
    "network": "connection",
    "registry": "config",
    "server": "main",
    "worker": "main",
    "xds": "config",
}
"""Folders of the source whose name is not a component's."""


def component_of(logger_name: str) -> str:
    """The component that a logger belongs to: ``proxeny.upstream.hosts`` is ``upstream``'s."""
    parts = logger_name.split(".")
    if parts[0] != "proxeny":
        return parts[0] if parts[0] in COMPONENTS else "misc"
    part = parts[1] if len(parts) > 1 else "main"
    return FOLDERS.get(part, part if part in COMPONENTS else "misc")
