"""What a cluster of type ORIGINAL_DST is told (``original_dst_lb_config``, ``cleanup_interval``); what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.upstream.dns_options import milliseconds

EXTENSION_NAME: Final = "envoy.cluster.original_dst"
DEFAULT_HEADER: Final = b"x-envoy-original-dst-host"
DEFAULT_CLEANUP_INTERVAL_MS: Final = 5000
"""Cluster.cleanup_interval."""
HOST_BLOCKS: Final = 64
"""Per-host stat blocks that main allots per worker; the first is shared by the hosts that find no other free."""
SHARED_BLOCK: Final = 0


@dataclass(slots=True, frozen=True)
class OriginalDstOptions:
    """Where the destination may come from besides the connection's restored local address."""

    header: bytes | None = None
    """The request header that names it, in lower case."""
    metadata_namespace: str = ""
    """Empty: dynamic metadata is not looked at."""
    metadata_path: tuple[str, ...] = ()
    port_override: int | None = None
    cleanup_interval_ms: int = DEFAULT_CLEANUP_INTERVAL_MS


def compile(cluster: Any, present: dict[str, Any]) -> OriginalDstOptions:
    """The options of a cluster whose set fields are ``present``; ConfigError in Envoy's words."""
    if cluster.lb_policy != cluster.CLUSTER_PROVIDED:
        policy = cluster.LbPolicy.Name(cluster.lb_policy)
        kind = EXTENSION_NAME if "cluster_type" in present else "ORIGINAL_DST"
        raise ConfigError(
            f"cluster: LB policy {policy} is not valid for Cluster type {kind}. "
            "Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'"
        )
    if "load_assignment" in present:
        raise ConfigError("ORIGINAL_DST clusters must have no load assignment configured")
    config = cluster.original_dst_lb_config
    if config.http_header_name and not config.use_http_header:
        raise ConfigError(
            f"ORIGINAL_DST cluster: invalid config http_header_name={config.http_header_name} and use_http_header is "
            "false. Set use_http_header to true if http_header_name is desired."
        )
    has_metadata = config.HasField("metadata_key")
    interval = present.get("cleanup_interval")
    return OriginalDstOptions(
        header=(config.http_header_name.lower().encode() or DEFAULT_HEADER) if config.use_http_header else None,
        metadata_namespace=config.metadata_key.key if has_metadata else "",
        metadata_path=tuple([part.key for part in config.metadata_key.path]) if has_metadata else (),
        port_override=config.upstream_port_override.value if config.HasField("upstream_port_override") else None,
        cleanup_interval_ms=DEFAULT_CLEANUP_INTERVAL_MS if interval is None else max(1, milliseconds(interval)),
    )
