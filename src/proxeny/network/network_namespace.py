"""Sockets in another network namespace (Envoy: ``execInNetworkNamespace``)."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from typing import Final

from proxeny.config.errors import ConfigError

CLONE_NEWNET: Final = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def open_socket_in(path: str, family: int, kind: int, protocol: int) -> socket.socket:
    """A socket of the namespace that ``path`` names; ConfigError in Envoy's words, OSError from socket(2).

    A namespace belongs to a thread: one is made for this, so that the caller's never changes, whatever fails.
    """
    found: list[socket.socket | BaseException] = []
    thread = threading.Thread(target=lambda: found.append(_enter_and_open(path, family, kind, protocol)))
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _enter_and_open(path: str, family: int, kind: int, protocol: int) -> socket.socket | BaseException:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return ConfigError(f"failed to open netns file {path}: {error.strerror}")
    try:
        if _libc.setns(fd, CLONE_NEWNET):
            reason = os.strerror(ctypes.get_errno())
            return ConfigError(f"failed to set netns to {path} (fd={fd}): {reason}")
        return socket.socket(family, kind, protocol)
    except OSError as error:
        return error
    finally:
        os.close(fd)
