"""Names to addresses by c-ares, as Envoy does; honours /etc/hosts and resolv.conf.

A channel that seems broken (a server that refuses or fails), or is old (``max_udp_channel_duration``), is replaced: new
questions go to a fresh one, the old one ends when its last question is answered.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxeny.upstream import cares_channel
from proxeny.upstream.cares_channel import AresChannel, Found
from proxeny.upstream.dns_options import ALL, AUTO, V4_ONLY, V4_PREFERRED, V6_ONLY
from proxeny.upstream.dns_resolver import CARES, DnsAnswer, DnsCallback

if TYPE_CHECKING:
    import asyncio

    from proxeny.kernel.stats import Block
    from proxeny.upstream.dns_resolver_config import CaresOptions

GET_ADDR_FAILURE: Final = CARES.slot("get_addr_failure")
NOT_FOUND: Final = CARES.slot("not_found")
REINITS: Final = CARES.slot("reinits")
RESOLVE_TOTAL: Final = CARES.slot("resolve_total")
TIMEOUTS: Final = CARES.slot("timeouts")
PENDING_RESOLUTIONS: Final = CARES.slot("pending_resolutions")

PRESERVE_FAILURE: Final = "envoy.reloadable_features.cares_dual_resolution_preserve_failure"

_NO_RECORDS: Final = (cares_channel.ENODATA, cares_channel.ENOTFOUND)
_BROKEN: Final = (
    cares_channel.ECONNREFUSED,
    cares_channel.EREFUSED,
    cares_channel.ESERVFAIL,
    cares_channel.ENOTIMP,
)
_LONGEST_NAME: Final = 255
"""RFC 1035 2.3.4."""

_FAMILIES: Final = {
    AUTO: (socket.AF_INET6, socket.AF_INET),
    V4_ONLY: (socket.AF_INET,),
    V6_ONLY: (socket.AF_INET6,),
    V4_PREFERRED: (socket.AF_INET, socket.AF_INET6),
    ALL: (socket.AF_UNSPEC,),
}
"""Families to ask for, in turn, until one has an address."""


class CaresQuery:
    """One name: a question for each family that it takes."""

    __slots__ = ("_callback", "_failed", "_families", "_name", "_resolver")

    def __init__(self, resolver: CaresResolver, name: bytes, family: int, callback: DnsCallback) -> None:
        self._resolver = resolver
        self._name = name
        self._callback: DnsCallback | None = callback
        self._families = list(_FAMILIES[family])
        self._failed = 0
        """The status of an earlier family whose question failed."""

    def ask(self) -> None:
        """Ask for the next family; the answer comes later in any case."""
        resolver = self._resolver
        family = self._families.pop(0)
        resolver.stats.inc(RESOLVE_TOTAL)
        if resolver.filters and not _routable(family):
            resolver.loop.call_soon(self._on_found, 0, [])
            return
        try:
            channel = resolver.channel()
        except OSError as error:
            resolver.loop.call_soon(self._report, DnsAnswer(False, [], 0, str(error)))
            return
        resolver.stats.inc(PENDING_RESOLUTIONS)
        channel.getaddrinfo(
            self._name,
            family,
            lambda status, timeouts, found: resolver.loop.call_soon(self._on_answer, channel, status, timeouts, found),
        )

    def _on_answer(self, channel: AresChannel, status: int, timeouts: int, found: Found) -> None:
        resolver = self._resolver
        resolver.stats.dec(PENDING_RESOLUTIONS)
        resolver.on_status(status, timeouts, last=not self._families)
        resolver.release(channel)
        self._on_found(status, found)

    def _on_found(self, status: int, found: Found) -> None:
        if self._callback is None or self._resolver.closed:
            return
        if found or not self._families:
            # A name without addresses: the first family whose question failed says why.
            if not found and self._failed and self._resolver.preserves_failures():
                status = self._failed
            self._report(_read_answer(status, found))
            return
        if status and status not in _NO_RECORDS:
            self._failed = status
        self.ask()

    def _report(self, answer: DnsAnswer) -> None:
        callback, self._callback = self._callback, None
        if callback is not None and not self._resolver.closed:
            callback(answer)

    def cancel(self) -> None:
        """Nobody is called back any more."""
        self._callback = None


class CaresResolver:
    """c-ares with one set of options."""

    __slots__ = ("_channel", "_lifetime", "_options", "_retired", "_runtime", "closed", "filters", "loop", "stats")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: CaresOptions, stats: Block, runtime: Any = None
    ) -> None:
        self._runtime = runtime
        self.loop = loop
        self.stats = stats
        self.filters = options.filter_unroutable
        self.closed = False
        self._options = options
        self._channel: AresChannel | None = None
        self._retired: set[AresChannel] = set()
        self._lifetime: asyncio.TimerHandle | None = None
        if options.channel_ms:
            self._lifetime = loop.call_later(options.channel_ms / 1000, self._on_lifetime)

    def resolve(self, name: str, family: int, callback: DnsCallback) -> CaresQuery:
        """Look up ``name`` in a ``Cluster.DnsLookupFamily``; the callback never runs inside this call."""
        query = CaresQuery(self, name.encode("utf-8", "surrogateescape")[: _LONGEST_NAME + 1], family, callback)
        query.ask()
        return query

    def preserves_failures(self) -> bool:
        """Whether a name fails when the first family's question did and the second brought nothing."""
        return self._runtime is None or bool(self._runtime.get_boolean(PRESERVE_FAILURE, True))

    def channel(self) -> AresChannel:
        """The channel for new questions."""
        if self._channel is None:
            self._channel = AresChannel(self.loop, self._options)
        return self._channel

    def on_status(self, status: int, timeouts: int, last: bool) -> None:
        """Count how a question ended; a broken channel is replaced after the ``last`` one of a name."""
        if status in _NO_RECORDS:
            self.stats.inc(NOT_FOUND)
        elif status == cares_channel.ETIMEOUT:
            self.stats.add(TIMEOUTS, timeouts)
        elif status:
            self.stats.inc(GET_ADDR_FAILURE)
        if last and (status in _BROKEN or (status == cares_channel.ETIMEOUT and self._options.reinit_on_timeout)):
            self._reinit()

    def _reinit(self) -> None:
        self.stats.inc(REINITS)
        channel, self._channel = self._channel, None
        if channel is not None:
            self._retired.add(channel)
            self.release(channel)

    def release(self, channel: AresChannel) -> None:
        """A question of this channel is answered; never inside a callback of it."""
        if channel in self._retired and channel.is_idle:
            self._retired.discard(channel)
            channel.close()

    def _on_lifetime(self) -> None:
        self._lifetime = self.loop.call_later(self._options.channel_ms / 1000, self._on_lifetime)
        self._reinit()

    def close(self) -> None:
        """Cancel what runs; nobody is called back. Never inside a callback of a channel."""
        self.closed = True
        if self._lifetime is not None:
            self._lifetime.cancel()
            self._lifetime = None
        for channel in (self._channel, *self._retired):
            if channel is not None:
                channel.close()
        self._channel = None
        self._retired.clear()


def _read_answer(status: int, found: Found) -> DnsAnswer:
    if found:
        addresses = list(dict.fromkeys([address for address, _ in found]))
        return DnsAnswer(True, addresses, max(min([ttl for _, ttl in found]), 0), "cares_success:Successful completion")
    # As Envoy: a name without addresses is an answer (hosts go away), a server that fails is not.
    if not status:
        return DnsAnswer(True, [], 0, "cares_success:Successful completion")
    text = cares_channel.strerror(status)
    if status in _NO_RECORDS:
        return DnsAnswer(True, [], 0, f"cares_norecords:{text}")
    return DnsAnswer(False, [], 0, f"cares_failure:{text}")


# -- filter_unroutable_families ----------------------------------------------------------------------------------
_SIOCGIFCONF: Final = 0x8912
_IFREQ: Final = 40
_LOOPBACK: Final = (b"\x7f\x00\x00\x01", "00000000000000000000000000000001")
_IF_INET6: Final = Path("/proc/thread-self/net/if_inet6")


def _routable(family: int) -> bool:
    """Whether an interface has an address of the family besides the loopback's."""
    if family == socket.AF_INET:
        return _has_v4()
    return _has_v6() if family == socket.AF_INET6 else True


def _has_v4() -> bool:
    """The kernel lists its interfaces with their v4 addresses (netdevice(7))."""
    import array

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        room = array.array("B", bytes(_IFREQ * 1024))
        address, size = room.buffer_info()
        size, _ = struct.unpack("iP", fcntl.ioctl(any_socket, _SIOCGIFCONF, struct.pack("iP", size, address)))
    listed = room.tobytes()[:size]
    return any(listed[at + 20 : at + 24] != _LOOPBACK[0] for at in range(0, len(listed), _IFREQ))


def _has_v6() -> bool:
    try:
        lines = _IF_INET6.read_text().split("\n")
    except OSError:
        return False
    return any(line and not line.startswith(_LOOPBACK[1]) for line in lines)
