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
from proxeny.kernel.sockets import bind_to, local_sockaddr
from proxeny.network.address import from_sockaddr
from proxeny.network.socket_options import SocketOptionError, SocketState, apply_options

if TYPE_CHECKING:
    from proxeny.listener.config import ListenAddress, ListenerConfig
    from proxeny.network.address import Address


class ListenSocketFactory:
    """The listening sockets of one listener, for ``concurrency`` workers. Raises ConfigError when one cannot be.

    A listener that does not bind has its addresses and no sockets.
    """

    def __init__(self, config: ListenerConfig, concurrency: int) -> None:
        self._config = config
        self._sockets: list[list[socket.socket]] = []
        """By address, then by worker (one entry when the workers share it)."""
        self.addresses: list[Address] = []
        if not config.bind_to_port:
            self.addresses = config.addresses
            return
        try:
            for listen in config.listen_addresses:
                self._open_all(listen, concurrency if config.reuse_port else 1)
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
                bound = from_sockaddr(local_sockaddr(made[0].fileno()))
        self.addresses.append(bound)

    def _open(self, listen: ListenAddress, bound: Address) -> socket.socket:
        opened = socket.socket(bound.family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            opened.setblocking(False)
            self._prepare(opened, listen, bound)
            self._bind(opened.fileno(), bound)
            apply_options(opened.fileno(), listen.options, SocketState.BOUND)
            opened.listen(self._config.backlog)
            apply_options(opened.fileno(), listen.options, SocketState.LISTENING)
        except SocketOptionError as error:
            opened.close()
            raise ConfigError(
                f"{self._config.name}: Setting socket options failed: {os.strerror(error.errno or 0)}"
            ) from None
        except BaseException:
            opened.close()
            raise
        return opened

    def _prepare(self, opened: socket.socket, listen: ListenAddress, bound: Address) -> None:
        if not bound.is_pipe:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if bound.family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listen.ipv4_compat else 1)
            if self._config.reuse_port:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        apply_options(opened.fileno(), listen.options, SocketState.PREBIND)

    def _bind(self, fd: int, bound: Address) -> None:
        if bound.is_pipe:
            _remove_stale_socket(bound)
        error = bind_to(fd, bound.sockaddr)
        if error:
            raise ConfigError(f"cannot bind '{bound.as_string()}': {os.strerror(error)}")
        if bound.is_pipe and bound.mode and not bound.path.startswith("@"):
            os.chmod(bound.path, bound.mode)

    def fds(self, worker_index: int) -> list[int]:
        """The listening descriptors of one worker, one per address that is bound."""
        return [made[worker_index if len(made) > 1 else 0].fileno() for made in self._sockets]

    def close(self) -> None:
        """Close main's descriptors."""
        for made in self._sockets:
            for opened in made:
                opened.close()
        self._sockets = []


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
