"""Endpoints: what a ClusterLoadAssignment says of hosts, as plain data that also travels from main to the workers.

DNS runs in main only; its results reach the workers as a ``HostUpdate`` (msgpack), so that all of them see the same
hosts. Static clusters build the same ``HostEntry`` list from their configuration in every process.
"""

from __future__ import annotations

import socket
from typing import Any, Final

import msgspec

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.network.address import IP_RESOLVER

PIPE: Final = -1
"""``HostEntry.port`` of a unix domain socket, whose path is ``HostEntry.address``."""
INTERNAL: Final = -2
"""``HostEntry.port`` of an internal listener of this proxy, whose name is ``HostEntry.address``."""

FAILED_ACTIVE_HC: Final = 0x01
FAILED_OUTLIER_CHECK: Final = 0x02
FAILED_EDS_HEALTH: Final = 0x04
DEGRADED_ACTIVE_HC: Final = 0x08
DEGRADED_EDS_HEALTH: Final = 0x10
PENDING_DYNAMIC_REMOVAL: Final = 0x20
PENDING_ACTIVE_HC: Final = 0x40
EXCLUDED_VIA_IMMEDIATE_HC_FAIL: Final = 0x80
ACTIVE_HC_TIMEOUT: Final = 0x100
EDS_STATUS_DRAINING: Final = 0x200
DEGRADED_OUTLIER_DETECTION: Final = 0x400
"""Health flags (Envoy: ``Upstream::Host::HealthFlag``)."""

EDS_FLAGS: Final = FAILED_EDS_HEALTH | DEGRADED_EDS_HEALTH | EDS_STATUS_DRAINING
"""What an endpoint's configuration says of its health; the other flags are what main found out."""

HEALTH_FLAG_NAMES: Final = (
    (FAILED_ACTIVE_HC, "/failed_active_hc"),
    (FAILED_OUTLIER_CHECK, "/failed_outlier_check"),
    (FAILED_EDS_HEALTH, "/failed_eds_health"),
    (DEGRADED_ACTIVE_HC, "/degraded_active_hc"),
    (DEGRADED_EDS_HEALTH, "/degraded_eds_health"),
    (PENDING_DYNAMIC_REMOVAL, "/pending_dynamic_removal"),
    (PENDING_ACTIVE_HC, "/pending_active_hc"),
    (EXCLUDED_VIA_IMMEDIATE_HC_FAIL, "/excluded_via_immediate_hc_fail"),
    (ACTIVE_HC_TIMEOUT, "/active_hc_timeout"),
    (EDS_STATUS_DRAINING, "/eds_status_draining"),
    (DEGRADED_OUTLIER_DETECTION, "/degraded_outlier_detection"),
)
_EDS_HEALTH: Final = {2: FAILED_EDS_HEALTH, 3: EDS_STATUS_DRAINING, 4: FAILED_EDS_HEALTH, 5: DEGRADED_EDS_HEALTH}
"""core.v3.HealthStatus: UNHEALTHY, DRAINING, TIMEOUT, DEGRADED; UNKNOWN and HEALTHY set nothing."""

UNIX_PATH_MAX: Final = 108
NEW_HOST: Final = -1
"""``HostEntry.stat_index`` of a host that discovery knows to be new, whatever its address."""
DEFAULT_OVERPROVISIONING_FACTOR: Final = 140
"""ClusterLoadAssignment.policy.overprovisioning_factor, percent."""

_Group = tuple[int, str, str, str, int, bytes]
"""Of a ``LocalityLbEndpoints``: priority, region, zone, sub-zone, weight, metadata."""


def host_address_text(address: str, port: int, endpoint_id: str) -> str:
    """``127.0.0.1:80``, ``[::1]:80``, the path of a socket or ``envoy://listener/id``."""
    if port == PIPE:
        return address
    if port == INTERNAL:
        return f"envoy://{address}/{endpoint_id}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def write_address(message: Any, address: str, port: int, endpoint_id: str = "") -> None:
    """Fill a ``core.v3.Address`` with what ``HostEntry`` has of one."""
    if port == PIPE:
        message.pipe.path = address
    elif port == INTERNAL:
        message.envoy_internal_address.server_listener_name = address
        message.envoy_internal_address.endpoint_id = endpoint_id
    else:
        message.socket_address.address = address
        message.socket_address.port_value = port


class CheckTarget(msgspec.Struct, array_like=True, omit_defaults=True):
    """How the health of an endpoint is checked, where that differs from the others' (``health_check_config``)."""

    address: str = ""
    """As ``HostEntry.address``; empty: the host's own."""
    port: int = 0
    """0: the host's own."""
    hostname: str = ""
    disabled: bool = False


class HostEntry(msgspec.Struct, array_like=True, omit_defaults=True):
    """One host: an IP address and port, the path of a unix domain socket and ``PIPE``, or the name of an internal
    listener and ``INTERNAL``."""

    address: str
    port: int
    hostname: str = ""
    weight: int = 1
    priority: int = 0
    health_flags: int = 0
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    canary: bool = False
    metadata: bytes = b""
    """A serialized core.v3.Metadata."""
    stat_index: int = 0
    """Which of the cluster's per-host stat blocks is this host's."""
    endpoint_id: str = ""
    """Tells hosts apart that are the same internal listener."""
    health_status: int = 0
    """The core.v3.HealthStatus that the endpoint's configuration says."""
    additional_addresses: tuple[tuple[str, int], ...] = ()
    """Where else it can be reached; connections are opened to the one that answers first."""
    check: CheckTarget | None = None
    locality_weight: int = 0
    """``load_balancing_weight`` of the host's locality."""
    locality_metadata: bytes = b""
    """A serialized core.v3.Metadata, of the locality."""

    @property
    def address_text(self) -> str:
        """``127.0.0.1:80``, ``[::1]:80``, the path or ``envoy://listener/id``."""
        return host_address_text(self.address, self.port, self.endpoint_id)

    def write_address(self, message: Any) -> None:
        """Fill a ``core.v3.Address``."""
        write_address(message, self.address, self.port, self.endpoint_id)

    @property
    def is_unchecked(self) -> bool:
        """Whether its health is not checked although its cluster's is."""
        return self.check is not None and self.check.disabled


class AssignmentPolicy(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True):
    """What a ClusterLoadAssignment says besides its hosts; equal ones compare equal."""

    overprovisioning_factor: int = DEFAULT_OVERPROVISIONING_FACTOR
    weighted_priority_health: bool = False
    drop_overload: float = 0.0
    """The part of requests to answer at once, from 0 to 1."""
    drop_category: str = ""

    @property
    def balancing(self) -> tuple[int, bool]:
        """What load balancers look at."""
        return self.overprovisioning_factor, self.weighted_priority_health


class HostUpdate(msgspec.Struct, array_like=True, omit_defaults=True):
    """All hosts of one cluster, and the bases of the stat blocks that were allotted for them."""

    hosts: list[HostEntry]
    stat_bases: dict[str, int]
    """Prefix of a per-host block -> base, of blocks that are new since the last update (all of them at the first)."""
    policy: AssignmentPolicy | None = None
    """None: what the cluster's configuration says."""


HealthFlags = dict[int, int]
"""``HostEntry.stat_index`` -> all health flags of that host."""


class HealthChange(msgspec.Struct, array_like=True):
    """What became of the health of a cluster's hosts since the last one."""

    flags: HealthFlags
    rebuild: bool
    """Whether load balancing follows now; without it host sets stay as they are (``update_merge_window``)."""


class HostChange(msgspec.Struct, array_like=True):
    """A worker made a host for a destination (clusters of type ORIGINAL_DST), or removed it: what main is told."""

    added: bool
    address: str
    port: int
    block: int
    """Which of the worker's per-host stat blocks it has; 0: none for it alone."""


class DnsTarget(msgspec.Struct):
    """A name to resolve, and the host every resolved address becomes."""

    name: str
    port: int
    template: HostEntry


def host_stat_prefix(scope: str, index: int) -> str:
    """Where the per-host block ``index`` of a cluster is found in the stat store (``scope``: ``host_scope``)."""
    return f"cluster.{scope}.host.{index}."


def host_scope(cluster_name: str, generation: int) -> str:
    """What tells the hosts of a cluster from those of others, and of clusters that it replaced.

    By the cluster's name: clusters that share an ``alt_stat_name`` share their statistics, but not their hosts'.
    """
    return f"{cluster_name}\x1f{generation}" if generation else cluster_name


def is_ip(text: str) -> bool:
    """Whether ``text`` is an IPv4 or (scoped) IPv6 address."""
    try:
        socket.inet_pton(socket.AF_INET, text)
        return True
    except (OSError, ValueError):
        pass
    address, percent, scope = text.partition("%")
    if percent and not scope:
        return False
    try:
        socket.inet_pton(socket.AF_INET6, address)
        return True
    except (OSError, ValueError):
        return False


def canonical(address: str) -> str:
    """An IP address as the system writes it (``FE80:0::1`` is ``fe80::1``)."""
    if ":" not in address:
        return address
    text, percent, scope = address.partition("%")
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text)) + percent + scope


def parse_static(assignment: Any) -> list[HostEntry]:
    """The hosts of a cluster whose endpoints are addresses; ConfigError on names and what else Envoy refuses."""
    hosts: list[HostEntry] = []
    for group in assignment.endpoints:
        common = _group_fields(group)
        for endpoint in group.lb_endpoints:
            proto = _address_of(endpoint)
            address, port = _resolved(proto)
            entry = _entry(address, port, len(hosts), endpoint, common)
            if endpoint.endpoint.additional_addresses:
                entry.additional_addresses = _additional(endpoint.endpoint.additional_addresses)
            hosts.append(entry)
    return hosts


def _resolved(address: Any) -> tuple[str, int]:
    try:
        return static_address(address)
    except ConfigError as error:
        raise ConfigError(
            f"{error.message}. Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'"
        ) from None


def _additional(additional: Any) -> tuple[tuple[str, int], ...]:
    return tuple([_resolved(more.address) for more in additional])


def parse_dns(assignment: Any, kind: str) -> list[DnsTarget | HostEntry]:
    """The names to resolve of a STRICT_DNS or LOGICAL_DNS cluster (``kind``); pipes need no resolution.

    The one host of a logical cluster is of priority 0, whatever was configured.
    """
    logical = kind == "LOGICAL_DNS"
    # Other addresses are another logical host, even where the first of them is the same.
    index = NEW_HOST if logical else 0
    targets: list[DnsTarget | HostEntry] = []
    for group in assignment.endpoints:
        common = _group_fields(group)
        if logical:
            common = (0, *common[1:])
        for endpoint in group.lb_endpoints:
            address = _address_of(endpoint)
            if address.WhichOneof("address") != "socket_address":
                host, port = static_address(address)
                targets.append(_entry(host, port, 0, endpoint, common))
                continue
            socket_address = address.socket_address
            if socket_address.resolver_name:
                raise ConfigError(f"{kind} clusters must NOT have a custom resolver name set")
            name = socket_address.address
            template = _entry("", socket_address.port_value, index, endpoint, common)
            if not template.hostname:
                template.hostname = name
            targets.append(DnsTarget(name, socket_address.port_value, template))
    return targets


def static_address(address: Any) -> tuple[str, int]:
    """(ip, port), (path, PIPE) or (listener, INTERNAL) of a core.v3.Address that needs no resolution."""
    which = address.WhichOneof("address")
    if which == "socket_address":
        return socket_address_pair(address.socket_address)
    if which == "pipe":
        path = address.pipe.path
        if len(path.encode()) >= UNIX_PATH_MAX:
            raise ConfigError(f'Path "{path}" exceeds maximum UNIX domain socket path size of {UNIX_PATH_MAX}.')
        return path, PIPE
    if which == "envoy_internal_address":
        return address.envoy_internal_address.server_listener_name, INTERNAL
    raise ConfigError("Address must be set")


def socket_address_pair(socket_address: Any) -> tuple[str, int]:
    """(ip, port) of a SocketAddress that must hold an IP address."""
    if socket_address.resolver_name not in ("", IP_RESOLVER):
        raise ConfigError(f"Unknown address resolver: {socket_address.resolver_name}")
    if socket_address.network_namespace_filepath:
        raise UnsupportedFieldError("network_namespace_filepath is supported on listeners' addresses only")
    which = socket_address.WhichOneof("port_specifier")
    if which == "named_port":
        raise ConfigError("IP resolver can't handle port specifier type 4")
    if not is_ip(socket_address.address):
        raise ConfigError(f"malformed IP address: {socket_address.address}")
    return canonical(socket_address.address), socket_address.port_value


def _address_of(endpoint: Any) -> Any:
    if not endpoint.endpoint.HasField("address"):
        raise ConfigError("Address must be set")
    if endpoint.endpoint.address.socket_address.network_namespace_filepath:
        raise ConfigError("Invalid host configuration: hosts cannot specify network namespaces with their address")
    return endpoint.endpoint.address


def _group_fields(group: Any) -> _Group:
    metadata = group.metadata.SerializeToString() if group.HasField("metadata") else b""
    if not group.HasField("locality"):
        return group.priority, "", "", "", 0, metadata
    locality, weight = group.locality, group.load_balancing_weight.value
    return group.priority, locality.region, locality.zone, locality.sub_zone, weight, metadata


def _entry(address: str, port: int, index: int, endpoint: Any, common: _Group) -> HostEntry:
    priority, region, zone, sub_zone, locality_weight, entry_metadata = common
    entry = HostEntry(
        address, port, endpoint.endpoint.hostname, 1, priority, 0, region, zone, sub_zone, False, b"", index
    )
    if locality_weight:
        entry.locality_weight = locality_weight
    if entry_metadata:
        entry.locality_metadata = entry_metadata
    if port == INTERNAL:
        entry.endpoint_id = endpoint.endpoint.address.envoy_internal_address.endpoint_id
    if endpoint.endpoint.HasField("health_check_config"):
        entry.check = _check_target(endpoint.endpoint.health_check_config, port)
    if endpoint.HasField("load_balancing_weight"):
        entry.weight = endpoint.load_balancing_weight.value
    if endpoint.health_status:
        entry.health_status = endpoint.health_status
        entry.health_flags = _EDS_HEALTH.get(endpoint.health_status, 0)
    if endpoint.HasField("metadata"):
        metadata = endpoint.metadata
        entry.metadata = metadata.SerializeToString()
        lb = metadata.filter_metadata.get("envoy.lb")
        if lb is not None and "canary" in lb.fields:
            entry.canary = lb.fields["canary"].bool_value
    return entry


def _check_target(config: Any, host_port: int) -> CheckTarget:
    """From an ``Endpoint.HealthCheckConfig``; ConfigError in Envoy's words."""
    if config.port_value and host_port < 0:
        raise ConfigError("Invalid host configuration: non-zero port for non-IP address")
    target = CheckTarget("", config.port_value, config.hostname, config.disable_active_health_check)
    if config.HasField("address"):
        target.address, target.port = static_address(config.address)
        if config.port_value:
            target.port = config.port_value
    return target
