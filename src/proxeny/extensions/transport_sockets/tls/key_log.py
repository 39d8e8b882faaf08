"""``TlsKeyLog``: secrets of sessions, written to a file as NSS does, for those who decrypt what was captured."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING

from proxeny.access_log.manager import open_log
from proxeny.access_log.stats import FILESYSTEM, PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.access_log.manager import AccessLogFile
    from proxeny.extensions.transport_sockets.tls.settings import KeyLog, Network
    from proxeny.network.address import Address
    from proxeny.network.connection import Connection
    from proxeny.network.factory_context import FactoryContext


class KeyLogFile:
    """Where a context's secrets go; main only looks whether the file can be written."""

    __slots__ = ("_file", "_local", "_remote")

    def __init__(self, config: KeyLog, context: FactoryContext) -> None:
        """ConfigError when the file cannot be opened."""
        self._local = config.local
        self._remote = config.remote
        self._file: AccessLogFile | None = None
        if context.is_worker and context.access_log_manager is not None:
            self._file = context.access_log_manager.create_access_log(config.path)
        else:
            os.close(open_log(config.path))
            context.stats.block(FILESYSTEM, PREFIX)

    def writer(self, connection: Connection) -> Callable[[bytes], None] | None:
        """What takes the lines of a connection; None: its secrets are not written."""
        if self._file is None:
            return None
        info = connection.connection_info
        if not _within(info.local_address, self._local) or not _within(info.remote_address, self._remote):
            return None
        file = self._file
        return lambda line: file.write(line + b"\n")


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    if not networks:
        return True
    try:
        ip = ipaddress.ip_address(address.ip)
    except ValueError:
        return False
    return any(ip in network for network in networks)
