"""The base ID: at most one proxy per base ID and host, claimed by an abstract unix socket (as Envoy's hot restart)."""

from __future__ import annotations

import secrets
import socket

from proxeny.config.errors import ConfigError
from proxeny.server.options import Options

_TRIES = 64


class BaseIdTaken(ConfigError):
    """Another process holds the base ID."""


def _bind(base_id: int) -> socket.socket:
    # Envoy leaves room for ten epochs per base ID.
    base_id *= 10
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(f"\0proxeny_domain_socket_{base_id}_0")
    except OSError as error:
        sock.close()
        raise BaseIdTaken(
            f"unable to bind domain socket with base_id={base_id}, id=0, errno={error.errno} (see --base-id option)"
        ) from error
    return sock


def claim(options: Options) -> socket.socket | None:
    """Claim ``options.base_id`` (or a free one, stored there) for this process's life; raises BaseIdTaken.

    None under --disable-hot-restart.
    """
    if options.disable_hot_restart:
        return None
    if not options.use_dynamic_base_id:
        return _write(options, _bind(options.base_id))
    for _ in range(_TRIES):
        options.base_id = secrets.randbelow(2**31 // 10)
        try:
            return _write(options, _bind(options.base_id))
        except BaseIdTaken:
            continue
    raise BaseIdTaken("no free base ID found")


def _write(options: Options, sock: socket.socket) -> socket.socket:
    if options.base_id_path:
        try:
            with open(options.base_id_path, "w") as file:
                file.write(str(options.base_id))
        except OSError as error:
            raise ConfigError(f"cannot write base ID to '{options.base_id_path}': {error.strerror}") from error
    return sock
