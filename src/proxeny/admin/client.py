"""Reads an admin interface: Proxeny's or Envoy's, by TCP or by a unix domain socket."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
from typing import Any, Final

TIMEOUT_S: Final = 10.0
DEFAULT_ADDRESS: Final = "127.0.0.1:9901"


class AdminError(Exception):
    """The admin interface does not answer, or not as one."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix domain socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


class AdminClient:
    """One kept connection; a request that finds it closed is asked once more on a new one."""

    def __init__(self, address: str) -> None:
        """``address``: ``host:port``, ``[v6]:port``, or the path of a socket, which has a slash. AdminError."""
        self.address = address
        self._connection = _connection(address)

    def get(self, path: str) -> Any:
        """The JSON at ``path``; AdminError."""
        return self._json("GET", path)

    def post(self, path: str) -> Any:
        """The JSON that a command answers; AdminError."""
        return self._json("POST", path)

    def _json(self, method: str, path: str) -> Any:
        try:
            status, body = self._ask(method, path)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise AdminError(f"no answer from {self.address}: {error}") from None
        if status != http.client.OK:
            reason = body.decode("utf-8", "replace").partition("\n")[0][:200]
            raise AdminError(f"{self.address} answers {status} to {path}: {reason}")
        try:
            return json.loads(body)
        except ValueError:
            raise AdminError(f"what {self.address} answers to {path} is no JSON: not an admin interface?") from None

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        if self._connection.sock is not None:
            try:
                return self._exchange(method, path)
            except (ConnectionError, http.client.RemoteDisconnected):
                self._connection.close()
        return self._exchange(method, path)

    def _exchange(self, method: str, path: str) -> tuple[int, bytes]:
        self._connection.request(method, path)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Keep no connection."""
        self._connection.close()


def _connection(address: str) -> http.client.HTTPConnection:
    if "/" in address:
        return _UnixConnection(address)
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise AdminError(f"'{address}' is neither host:port nor the path of a socket")
    return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=TIMEOUT_S)


def add_address(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command line that say where an admin interface is."""
    parser.add_argument("--admin", default=DEFAULT_ADDRESS, metavar="HOST:PORT|SOCKET", help=f"({DEFAULT_ADDRESS})")
    parser.add_argument("--admin-address-path", metavar="FILE", help="read the address from the proxy's own file")


def address_of(arguments: argparse.Namespace) -> str:
    """What these arguments say; AdminError."""
    if not arguments.admin_address_path:
        return str(arguments.admin)
    try:
        with open(arguments.admin_address_path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise AdminError(f"cannot read {arguments.admin_address_path}: {error.strerror}") from None
