"""Names to addresses by the system's getaddrinfo(3), on threads (Envoy: ``GetAddrInfoDnsResolver``)."""

from __future__ import annotations

import socket
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from proxeny.upstream.dns_options import ALL, AUTO, V4_ONLY, V4_PREFERRED, V6_ONLY
from proxeny.upstream.dns_resolver import DnsAnswer, DnsCallback

if TYPE_CHECKING:
    import asyncio

    from proxeny.upstream.dns_resolver_config import GetAddrInfoOptions

NO_FLAGS: Final = "envoy.reloadable_features.getaddrinfo_no_ai_flags"
"""Runtime: also offer addresses of families that no interface has."""
TTL_S: Final = 60
"""getaddrinfo tells none; Envoy assumes this."""


class GetAddrInfoQuery:
    """One name; goes to the threads and comes back."""

    __slots__ = ("callback", "cancelled", "family", "flags", "left", "name")

    def __init__(self, name: bytes, family: int, flags: int, tries: int | None, callback: DnsCallback) -> None:
        self.name = name
        self.family = family
        self.flags = flags
        self.left = tries
        """How often it may still be tried; None: without end."""
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody is called back any more."""
        self.cancelled = True


class GetAddrInfoResolver:
    """A queue of names and the threads that take from it, started with the first name."""

    __slots__ = ("_closed", "_loop", "_options", "_queue", "_runtime", "_threads")

    def __init__(self, loop: asyncio.AbstractEventLoop, options: GetAddrInfoOptions, runtime: Any = None) -> None:
        self._loop = loop
        self._runtime = runtime
        self._options = options
        self._queue: SimpleQueue[GetAddrInfoQuery | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def resolve(self, name: str, family: int, callback: DnsCallback) -> GetAddrInfoQuery:
        """Look up ``name`` in a ``Cluster.DnsLookupFamily``; the callback never runs inside this call."""
        retries = self._options.retries
        encoded = name.encode("utf-8", "surrogateescape")
        without_flags = self._runtime is not None and self._runtime.get_boolean(NO_FLAGS, False)
        flags = 0 if without_flags else socket.AI_ADDRCONFIG
        query = GetAddrInfoQuery(encoded, family, flags, None if retries is None else retries + 1, callback)
        self._queue.put(query)
        while len(self._threads) < self._options.threads:
            # Daemons: a look-up that hangs must not hold up the end of the process.
            thread = threading.Thread(target=self._work, name="getaddrinfo", daemon=True)
            self._threads.append(thread)
            thread.start()
        return query

    def _work(self) -> None:
        while (query := self._queue.get()) is not None:
            if query.cancelled or self._closed:
                continue
            answer = _look_up(query)
            if answer is None:
                self._queue.put(query)
                continue
            try:
                self._loop.call_soon_threadsafe(self._report, query, answer)
            except RuntimeError:
                # The loop has ended meanwhile.
                return

    def _report(self, query: GetAddrInfoQuery, answer: DnsAnswer) -> None:
        if not query.cancelled and not self._closed:
            query.callback(answer)

    def close(self) -> None:
        """Cancel what runs; nobody is called back. The threads end when they come back from the system."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        self._threads.clear()


def _look_up(query: GetAddrInfoQuery) -> DnsAnswer | None:
    """Ask the system; None: try again."""
    try:
        found = socket.getaddrinfo(query.name, None, type=socket.SOCK_STREAM, flags=query.flags)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            if query.left is not None:
                query.left -= 1
            if query.left is None or query.left > 0:
                return None
        # Unlike c-ares' resolver: also a name that does not exist is a failure, hosts stay.
        return DnsAnswer(False, [], 0, str(error.strerror))
    except (OSError, ValueError) as error:
        return DnsAnswer(False, [], 0, str(error))
    v4 = [str(item[4][0]) for item in found if item[0] == socket.AF_INET]
    v6 = [str(item[4][0]) for item in found if item[0] == socket.AF_INET6]
    addresses = list(dict.fromkeys(_of_family(query.family, v4, v6)))
    return DnsAnswer(True, addresses, TTL_S if addresses else 0, "Success")


def _of_family(family: int, v4: list[str], v6: list[str]) -> list[str]:
    if family == ALL:
        return v6 + v4
    if family == V4_ONLY:
        return v4
    if family == V6_ONLY:
        return v6
    if family == V4_PREFERRED:
        return v4 or v6
    assert family == AUTO
    return v6 or v4
