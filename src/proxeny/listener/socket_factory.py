"""Main's side of listening: makes, binds and keeps the sockets (Envoy: ``ListenSocketFactoryImpl``).

With SO_REUSEPORT every worker has its own socket per address, so the kernel spreads connections by hash; without it the
workers share one. Main keeps all of them: a worker's death does not lose what waits in its queue.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

from proxeny.config.errors import ConfigError
from proxeny.kernel.sockets import bind_to, local_sockaddr, set_no_delay
from proxeny.network.address import from_sockaddr
from proxeny.network.network_namespace import open_socket_in
from proxeny.network.socket_options import SocketOptionError, SocketState, apply_options

if TYPE_CHECKING:
    from proxeny.listener.config import ListenerConfig
    from proxeny.listener.listen_address import ListenAddress
    from proxeny.network.address import Address


class ListenSocketFactory:
    """The listening sockets of one listener, for ``concurrency`` workers. Raises ConfigError when one cannot be.

    A listener that does not bind has its addresses and no sockets. With ``listen=False`` they are only bound:
    ``listen`` is then called by whoever starts the workers, as in Envoy.
    """

    def __init__(self, config: ListenerConfig, concurrency: int, *, listen: bool = True) -> None:
        # Not the configuration itself: later generations have these sockets too.
        self._name = config.name
        self._backlog = config.backlog
        self._listen_addresses = config.listen_addresses
        self._sockets: list[list[socket.socket]] = []
        """By address, then by worker (one entry when the workers share it)."""
        self._listening = False
        self.addresses: list[Address] = []
        if not config.bind_to_port:
            self.addresses = config.addresses
            return
        try:
            for listen_address in config.listen_addresses:
                self._open_all(listen_address, concurrency if listen_address.reuse_port else 1)
            if listen:
                self.listen()
        except (OSError, ConfigError) as error:
            self.close()
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(str(error.strerror or error)) from error

    def _open_all(self, listen: ListenAddress, count: int) -> None:
        made: list[socket.socket] = []
        self._sockets.append(made)
        bound = listen.address
        for _ in range(count):
            made.append(self._open(listen, bound))
            if bound.port == 0 and not bound.is_pipe:
                bound = bound.with_port(from_sockaddr(local_sockaddr(made[0].fileno())).port)
        self.addresses.append(bound)

    def _open(self, listen: ListenAddress, bound: Address) -> socket.socket:
        opened = _new_socket(listen)
        fd = opened.fileno()
        try:
            opened.setblocking(False)
            if not bound.is_pipe:
                self._prepare(opened, listen)
            _bind(fd, bound)
            self._apply(fd, listen, SocketState.BOUND, f"{self._name}: Setting socket options failed")
        except BaseException:
            opened.close()
            raise
        return opened

    def _prepare(self, opened: socket.socket, listen: ListenAddress) -> None:
        if listen.socket_type == socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listen.address.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listen.ipv4_compat else 1)
        if listen.reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._apply(opened.fileno(), listen, SocketState.PREBIND, "ListenSocket: Setting socket options failed")

    def _apply(self, fd: int, listen: ListenAddress, state: SocketState, refusal: str) -> None:
        try:
            apply_options(fd, listen.options, state)
        except SocketOptionError:
            raise ConfigError(refusal) from None

    def listen(self) -> None:
        """Begin to listen (once; datagram sockets need not); ConfigError."""
        if self._listening:
            return
        for listen, bound, made in zip(self._listen_addresses, self.addresses, self._sockets, strict=False):
            if listen.socket_type != socket.SOCK_STREAM:
                continue
            for opened in made:
                try:
                    opened.listen(self._backlog)
                except OSError as error:
                    raise ConfigError(f"cannot listen() errno={error.errno}") from None
                refusal = f"cannot set post-listen socket option on socket: {bound.as_string()}"
                self._apply(opened.fileno(), listen, SocketState.LISTENING, refusal)
                # Accepted sockets inherit it, so that none needs a system call for it.
                set_no_delay(opened.fileno())
        self._listening = True

    def fds(self, worker_index: int) -> list[int]:
        """The listening descriptors of one worker, one per address that is bound."""
        return [made[worker_index if len(made) > 1 else 0].fileno() for made in self._sockets]

    def close(self) -> None:
        """Close main's descriptors."""
        for made in self._sockets:
            for opened in made:
                opened.close()
        self._sockets = []


def _new_socket(listen: ListenAddress) -> socket.socket:
    address, kind = listen.address, listen.socket_type | socket.SOCK_CLOEXEC
    if address.network_namespace:
        return open_socket_in(address.network_namespace, address.family, kind, listen.protocol)
    return socket.socket(address.family, kind, listen.protocol)


def _bind(fd: int, bound: Address) -> None:
    if bound.is_pipe:
        _remove_stale_socket(bound)
    error = bind_to(fd, bound.sockaddr)
    if error:
        raise ConfigError(f"cannot bind '{bound.as_string()}': {os.strerror(error)}")
    if bound.is_pipe and bound.mode and not bound.path.startswith("@"):
        os.chmod(bound.path, bound.mode)


def _remove_stale_socket(bound: Address) -> None:
    """A socket file that an earlier process left behind would make bind fail."""
    path = bound.path
    if path.startswith("@"):
        return
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except OSError:
        pass
