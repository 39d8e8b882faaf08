"""A c-ares channel on an asyncio loop: the only module that talks to the C library.

It goes below pycares' own ``Channel``, to the bindings that pycares brings along, for what that class has no way to
say: no cache of answers (Envoy asks anew at every refresh), EDNS0 and UDP limits, how often a query timed out. It also
ends a channel here and now, where pycares would leave it to a thread.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pycares import _cares

if TYPE_CHECKING:
    import asyncio

    from proxeny.upstream.dns_resolver_config import CaresOptions

_ffi: Final = _cares.ffi
_lib: Final = _cares.lib

ENODATA: Final = 1
ESERVFAIL: Final = 3
ENOTFOUND: Final = 4
ENOTIMP: Final = 5
EREFUSED: Final = 6
EBADNAME: Final = 8
ECONNREFUSED: Final = 11
ETIMEOUT: Final = 12
"""ares.h"""
_OPT_UDP_MAX_QUERIES: Final = 1 << 19
_OPT_QUERY_CACHE: Final = 1 << 21
_OPT_NOROTATE: Final = 1 << 16
_AI_NOSORT: Final = 1 << 7
_SOCKET_BAD: Final = -1
_LOOPBACK_ONLY: Final = "127.0.0.1:53"
"""What c-ares falls back to without a resolv.conf."""

Found = list[tuple[str, int]]
"""Addresses with their TTLs."""
Answered = Callable[[int, int, Found], object]
"""Gets a status, how often servers did not answer in time, and what was found."""


def strerror(status: int) -> str:
    """A status in c-ares' words."""
    return str(_ffi.string(_lib.ares_strerror(status)).decode())


class AresChannel:
    """A channel; ``getaddrinfo`` may call back before it returns, all other callbacks come from the loop."""

    __slots__ = ("__weakref__", "_channel", "_closed", "_handle", "_loop", "_queries", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, options: CaresOptions) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._queries: dict[Any, Answered] = {}
        self._closed = False
        self._handle = _ffi.new_handle(self)
        self._channel: Any = _open(options, self._handle)

    def getaddrinfo(self, name: bytes, family: int, callback: Answered) -> None:
        """The addresses of a name in a family (AF_UNSPEC: both)."""
        hints = _ffi.new("struct ares_addrinfo_hints *")
        hints.ai_flags = _AI_NOSORT
        hints.ai_family = family
        hints.ai_socktype = socket.SOCK_STREAM
        query = _ffi.new_handle(self)
        self._queries[query] = callback
        _lib.ares_getaddrinfo(self._channel, name, _ffi.NULL, hints, _on_addrinfo, query)
        self._arm()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._queries

    def _answered(self, query: Any, status: int, timeouts: int, found: Found) -> None:
        callback = self._queries.pop(query, None)
        if callback is not None and not self._closed:
            callback(status, timeouts, found)

    # -- driving c-ares ------------------------------------------------------------------------------------------
    def _on_socket_state(self, fd: int, readable: bool, writable: bool) -> None:
        if readable:
            self._loop.add_reader(fd, self._process, fd, _SOCKET_BAD)
        else:
            self._loop.remove_reader(fd)
        if writable:
            self._loop.add_writer(fd, self._process, _SOCKET_BAD, fd)
        else:
            self._loop.remove_writer(fd)

    def _process(self, read_fd: int, write_fd: int) -> None:
        if not self._closed:
            _lib.ares_process_fd(self._channel, read_fd, write_fd)
            self._arm()

    def _arm(self) -> None:
        """c-ares retries and gives up only when it is called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        wait = _ffi.new("struct timeval *")
        if _lib.ares_timeout(self._channel, _ffi.NULL, wait) != _ffi.NULL:
            self._timer = self._loop.call_later(wait.tv_sec + wait.tv_usec / 1e6, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._process(_SOCKET_BAD, _SOCKET_BAD)

    def close(self) -> None:
        """End it and its sockets; never from inside one of its callbacks. Nobody is called back."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _lib.ares_destroy(self._channel)
        self._channel = None
        self._queries.clear()


def _open(options: CaresOptions, handle: Any) -> Any:
    settings = _ffi.new("struct ares_options *")
    mask = _lib.ARES_OPT_SOCK_STATE_CB | _lib.ARES_OPT_TIMEOUTMS | _lib.ARES_OPT_TRIES | _OPT_QUERY_CACHE
    settings.sock_state_cb = _on_socket_state
    settings.sock_state_cb_data = handle
    settings.timeout = min(options.timeout_ms, 0x7FFFFFFF)
    settings.tries = min(options.tries, 0x7FFFFFFF)
    settings.qcache_max_ttl = 0
    # As Envoy: c-ares offers EDNS0 by default, and any flag replaces that default.
    flags = 0
    if options.use_tcp:
        flags |= _lib.ARES_FLAG_USEVC
    if options.no_search:
        flags |= _lib.ARES_FLAG_NOSEARCH
    if options.edns_payload:
        settings.ednspsz = options.edns_payload
        mask |= _lib.ARES_OPT_EDNSPSZ
    if flags:
        settings.flags = flags
        mask |= _lib.ARES_OPT_FLAGS
    if options.udp_max_queries:
        settings.udp_max_queries = min(options.udp_max_queries, 0x7FFFFFFF)
        mask |= _OPT_UDP_MAX_QUERIES
    mask |= _lib.ARES_OPT_ROTATE if options.rotate else _OPT_NOROTATE
    made = _ffi.new("ares_channel *")
    status = _lib.ares_init_options(made, settings, mask)
    if status:
        raise OSError(f"Failed to initialize a c-ares channel: {strerror(status)}")
    channel = made[0]
    if options.servers and not (options.servers_as_fallback and _system_servers(channel) != _LOOPBACK_ONLY):
        status = _lib.ares_set_servers_csv(channel, ",".join(options.servers).encode("ascii"))
        if status:
            _lib.ares_destroy(channel)
            raise OSError(f"Failed to set the servers of a c-ares channel: {strerror(status)}")
    return channel


def _system_servers(channel: Any) -> str:
    text = _lib.ares_get_servers_csv(channel)
    if text == _ffi.NULL:
        return ""
    servers = _ffi.string(text).decode()
    _lib.ares_free_string(text)
    return str(servers)


@_ffi.callback("ares_sock_state_cb")  # type: ignore[untyped-decorator, unused-ignore]
def _on_socket_state(handle: Any, fd: int, readable: int, writable: int) -> None:
    _ffi.from_handle(handle)._on_socket_state(fd, bool(readable), bool(writable))


@_ffi.callback("ares_addrinfo_callback")  # type: ignore[untyped-decorator, unused-ignore]
def _on_addrinfo(handle: Any, status: int, timeouts: int, result: Any) -> None:
    found: Found = []
    if result != _ffi.NULL:
        found = _read(result.nodes)
        _lib.ares_freeaddrinfo(result)
    _ffi.from_handle(handle)._answered(handle, status, timeouts, found)


def _read(node: Any) -> Found:
    found: Found = []
    while node != _ffi.NULL:
        if node.ai_family == socket.AF_INET:
            raw = bytes(_ffi.buffer(node.ai_addr, 8))
            found.append((socket.inet_ntop(socket.AF_INET, raw[4:8]), node.ai_ttl))
        elif node.ai_family == socket.AF_INET6:
            raw = bytes(_ffi.buffer(node.ai_addr, 28))
            scope = int.from_bytes(raw[24:28], "little")
            found.append((socket.inet_ntop(socket.AF_INET6, raw[8:24]) + (f"%{scope}" if scope else ""), node.ai_ttl))
        node = node.ai_next
    return found
