"""Names to addresses by c-ares (as Envoy), on main's event loop; honours /etc/hosts and resolv.conf."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pycares

from proxeny.upstream.dns_options import ALL, AUTO, V4_ONLY, V4_PREFERRED, V6_ONLY, DnsOptions
from proxeny.upstream.endpoints import is_ip

_NO_SUCH_NAME: Final = (pycares.errno.ARES_ENODATA, pycares.errno.ARES_ENOTFOUND)
_CARES_BAD: Final = -1
_LONGEST_WAIT_S: Final = 1.0
_CHANNEL_AGE_S: Final = 0.001
"""Queries of the same moment share a channel; a refresh never follows so soon."""

_FAMILIES: Final = {
    AUTO: (socket.AF_INET6, socket.AF_INET),
    V4_ONLY: (socket.AF_INET,),
    V6_ONLY: (socket.AF_INET6,),
    V4_PREFERRED: (socket.AF_INET, socket.AF_INET6),
    ALL: (socket.AF_UNSPEC,),
}
"""Families to ask for, in turn, until one has an address."""


class DnsAnswer(NamedTuple):
    """What a name resolved to. ``ok`` is also true for a name that does not exist: then there are no addresses."""

    ok: bool
    addresses: list[str]
    ttl_s: int
    """The smallest TTL; 0 when unknown."""


class Resolver:
    """c-ares on an asyncio loop.

    A c-ares channel caches answers for their TTL and its binding has no way to turn that off; Envoy asks anew at every
    refresh. So a channel serves the queries of one moment and is given up when they are answered (making one: 25 us).
    """

    __slots__ = ("_channels", "_current", "_loop", "_settings")

    def __init__(self, loop: asyncio.AbstractEventLoop, options: DnsOptions) -> None:
        self._loop = loop
        self._channels: set[_Channel] = set()
        self._current: _Channel | None = None
        flags = 0
        if options.use_tcp:
            flags |= pycares.ARES_FLAG_USEVC
        if options.no_search:
            flags |= pycares.ARES_FLAG_NOSEARCH
        self._settings: dict[str, Any] = {"flags": flags}
        if options.servers:
            self._settings["servers"] = list(options.servers)

    def resolve(self, name: str, family: int, callback: Callable[[DnsAnswer], None]) -> None:
        """Look up ``name`` in a ``Cluster.DnsLookupFamily``; the callback never runs inside this call."""
        if is_ip(name):
            self._loop.call_soon(callback, DnsAnswer(True, [name], 0))
            return
        channel = self._current
        if channel is None or self._loop.time() - channel.made_at > _CHANNEL_AGE_S:
            channel = self._current = _Channel(self._loop, self._settings, self._channel_done)
            self._channels.add(channel)
        channel.ask(name, list(_FAMILIES[family]), callback)

    def _channel_done(self, channel: _Channel) -> None:
        self._channels.discard(channel)
        if self._current is channel:
            self._current = None

    def close(self) -> None:
        """Cancel what runs; nobody is called back."""
        for channel in list(self._channels):
            channel.close()
        self._channels.clear()
        self._current = None


class _Channel:
    """The queries of one moment."""

    __slots__ = ("_channel", "_closed", "_loop", "_on_done", "_queries", "_timer", "made_at")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: dict[str, Any], on_done: Callable[[_Channel], None]
    ) -> None:
        self._loop = loop
        self._on_done = on_done
        self._timer: asyncio.TimerHandle | None = None
        self._queries = 0
        self._closed = False
        self.made_at = loop.time()
        self._channel = pycares.Channel(sock_state_cb=self._on_socket_state, **settings)

    def ask(self, name: str, families: list[int], callback: Callable[[DnsAnswer], None]) -> None:
        """Ask for one family after the other."""
        family = families.pop(0)
        self._queries += 1
        self._arm()
        self._channel.getaddrinfo(
            name,
            None,
            family=family,  # type: ignore[arg-type, unused-ignore]
            type=socket.SOCK_STREAM,
            callback=lambda result, error: self._loop.call_soon(
                self._answered, name, families, callback, result, error
            ),
        )

    def _answered(
        self, name: str, families: list[int], callback: Callable[[DnsAnswer], None], result: Any, error: int | None
    ) -> None:
        self._queries -= 1
        if self._closed:
            return
        answer = _read_answer(result, error)
        if not answer.addresses and families:
            self.ask(name, families, callback)
            return
        if not self._queries:
            self._on_done(self)
            self.close()
        callback(answer)

    # -- driving c-ares ------------------------------------------------------------------------------------------
    def _on_socket_state(self, fd: int, readable: bool, writable: bool) -> None:
        if readable:
            self._loop.add_reader(fd, self._process, fd, _CARES_BAD)
        else:
            self._loop.remove_reader(fd)
        if writable:
            self._loop.add_writer(fd, self._process, _CARES_BAD, fd)
        else:
            self._loop.remove_writer(fd)

    def _process(self, read_fd: int, write_fd: int) -> None:
        self._channel.process_fd(read_fd, write_fd)

    def _arm(self) -> None:
        """c-ares retries and gives up only when it is called."""
        if self._timer is None:
            wait = self._channel.timeout(_LONGEST_WAIT_S)
            self._timer = self._loop.call_later(max(wait, 0.01), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._channel.process_fd(_CARES_BAD, _CARES_BAD)
        if self._queries and not self._closed:
            self._arm()

    def close(self) -> None:
        """Give the channel up. Its sockets are closed here, not later on the thread that frees the channel."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._channel.cancel()
        self._channel.close()


def _read_answer(result: Any, error: int | None) -> DnsAnswer:
    if error is not None:
        # As Envoy: a name without addresses is an answer (hosts go away), a server that fails is not.
        return DnsAnswer(error in _NO_SUCH_NAME, [], 0)
    addresses: list[str] = []
    ttl = 0
    for node in result.nodes:
        raw = node.addr[0]
        address = raw.decode() if isinstance(raw, bytes) else str(raw)
        if address not in addresses:
            addresses.append(address)
        ttl = min(ttl, node.ttl) if ttl else node.ttl
    return DnsAnswer(True, addresses, max(ttl, 0))
