"""The names that a DNS filter answers by itself (``envoy.data.dns.v3.DnsTable``), compiled to nested maps.

Names are kept by their last two labels (Envoy: the suffix); a name whose suffix is there is a known domain. ``*.x.y``
is kept as ``.x.y``, which every name below ``x.y`` finds on its way up, label by label.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import duration_ms
from proxeny.extensions.udp_filters.dns_filter.message import RecordType, service_data
from proxeny.network.address import ip_address

DEFAULT_TTL: Final = 300
"""``answer_ttl`` when unset, seconds."""
_PROTOCOLS: Final = {6: "tcp", 17: "udp"}

Addresses = list[tuple[int, bytes]]
"""(record type, address as it stands on the wire)."""


class Target:
    """One target of a service."""

    __slots__ = ("is_cluster", "name", "port", "priority", "weight")

    def __init__(self, message: Any) -> None:
        self.is_cluster: bool = not message.host_name
        self.name: str = message.cluster_name if self.is_cluster else message.host_name
        self.priority: int = message.priority
        self.weight: int = message.weight
        self.port: int = message.port

    def data(self, port: int) -> bytes:
        """The data of its SRV record before the target, with another port."""
        return service_data(self.priority, self.weight, port)


class Endpoint:
    """What one name stands for: addresses, a cluster, or a service."""

    __slots__ = ("addresses", "cluster", "targets", "ttl")

    def __init__(self) -> None:
        self.addresses: Addresses | None = None
        self.cluster = ""
        self.targets: tuple[Target, ...] = ()
        self.ttl = 0
        """Of a service's records, seconds."""


class DnsTable:
    """Looks names up; immutable once compiled."""

    __slots__ = ("_suffixes", "_ttls", "retry_count")

    def __init__(self, message: Any, random: Callable[[], int]) -> None:
        self.retry_count: int = message.external_retry_count
        self._suffixes: dict[str, dict[str, Endpoint]] = {}
        self._ttls: dict[str, int] = {}
        for domain in message.virtual_domains:
            self._add(domain, random)

    def _add(self, domain: Any, random: Callable[[], int]) -> None:
        name = domain.name.removeprefix("*") if domain.name.startswith("*.") else domain.name
        kind = domain.endpoint.WhichOneof("endpoint_config")
        if kind == "address_list":
            self._add_addresses(name, domain.endpoint.address_list.address, random)
        elif kind == "service_list":
            for service in domain.endpoint.service_list.services:
                self._add_service(suffix_of(name), domain.name, service)
        elif kind == "cluster_name" and domain.endpoint.cluster_name:
            names = self._suffixes.setdefault(suffix_of(name), {})
            if name not in names:
                names[name] = Endpoint()
                names[name].cluster = domain.endpoint.cluster_name
        ttl = duration_ms(domain.answer_ttl) // 1000 if domain.HasField("answer_ttl") else DEFAULT_TTL
        self._ttls.setdefault(name, ttl)

    def _add_addresses(self, name: str, configured: Any, random: Callable[[], int]) -> None:
        # They begin anywhere, so that not every client of every proxy takes the same one.
        first = random() % len(configured)
        addresses = [packed(text) for text in [*configured[first:], *configured[:first]]]
        endpoint = self._suffixes.setdefault(suffix_of(name), {}).setdefault(name, Endpoint())
        if endpoint.cluster or endpoint.targets:
            # Envoy crashes here.
            raise ConfigError(f"virtual domain '{name}' has a cluster or a service already: it can have no addresses")
        endpoint.addresses = (endpoint.addresses or []) + addresses

    def _add_service(self, suffix: str, domain: str, service: Any) -> None:
        protocol = service.protocol.name or _PROTOCOLS.get(service.protocol.number, "")
        names = self._suffixes.get(suffix)
        # As in Envoy: a service needs a protocol, and another name of its domain listed before it.
        if not protocol or names is None:
            return
        name = f"{_underscored(service.service_name)}.{_underscored(protocol)}.{domain}"
        if name in names:
            return
        endpoint = names[name] = Endpoint()
        endpoint.ttl = duration_ms(service.ttl) // 1000
        targets: dict[str, Target] = {}
        for message in service.targets:
            target = Target(message)
            targets.setdefault(target.name, target)
        endpoint.targets = tuple(targets.values())

    def knows(self, name: str) -> bool:
        """Whether names below the name's domain are listed."""
        return suffix_of(name) in self._suffixes

    def find(self, name: str) -> Endpoint | None:
        """The endpoint of a name: its own, or that of the nearest wildcard above it."""
        names = self._suffixes.get(suffix_of(name))
        if names is None:
            return None
        at = 0
        while at >= 0:
            endpoint = names.get(name[at:])
            if endpoint is not None:
                return endpoint
            at = name.find(".", at + 1)
        return None

    def ttl(self, name: str) -> int:
        """How long a name's addresses may be kept, seconds."""
        return self._ttls.get(name, DEFAULT_TTL)

    def __len__(self) -> int:
        return sum(len(names) for names in self._suffixes.values())


def suffix_of(name: str) -> str:
    """Its last two labels."""
    dot = name.rfind(".")
    if dot > 0:
        dot = name.rfind(".", 0, dot)
    return name[dot + 1 :] if dot >= 0 else name


def packed(text: str) -> tuple[int, bytes]:
    """The record type and wire form of an IP address; ConfigError in Envoy's words."""
    return record_of(ip_address(text).sockaddr)


def record_of(sockaddr: bytes) -> tuple[int, bytes]:
    """The record type and wire form of the IP address in a raw sockaddr."""
    if int.from_bytes(sockaddr[:2], "little") == socket.AF_INET:
        return RecordType.A, sockaddr[4:8]
    return RecordType.AAAA, sockaddr[8:24]


def _underscored(label: str) -> str:
    return label if label.startswith("_") else f"_{label}"
