"""What is asked about: a connection by its addresses and what its client says first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from proxeny.config.errors import ConfigError
from proxeny.network.address import Address, parse_ip_port, pipe_address

SWITCHES = ("", "1", "true", "yes")
"""Values of a parameter that switches something on."""
PARAMETERS = {
    "src": "the client's address, IP:PORT",
    "dst": "the address that it connects to, IP:PORT, or the path of a unix socket",
    "sni": "the server name in its ClientHello",
    "alpn": "protocols that it offers, separated by commas",
    "tls": "it speaks TLS (implied by sni)",
    "listener": "the listener that accepts it, where the address does not tell",
}


class Facts(NamedTuple):
    """A connection that may come."""

    source: Address
    destination: Address
    server_name: str = ""
    protocols: tuple[str, ...] = ()
    tls: bool = False
    listener: str = ""


def parse_facts(parameters: Mapping[str, str]) -> Facts:
    """From parameters by the names in PARAMETERS; ConfigError for what is missing or malformed."""
    destination = _address("dst", parameters.get("dst", ""))
    source = parameters.get("src", "")
    peer = destination if not source and destination.is_pipe else _address("src", source)
    server_name = parameters.get("sni", "")
    tls = "tls" in parameters and parameters["tls"].lower() in SWITCHES
    protocols = tuple(part for part in parameters.get("alpn", "").split(",") if part)
    return Facts(peer, destination, server_name, protocols, tls or bool(server_name), parameters.get("listener", ""))


def _address(name: str, text: str) -> Address:
    if text[:1] in ("/", "@"):
        return pipe_address(text)
    found = parse_ip_port(text)
    if found is None:
        raise ConfigError(f"{name}: '{text}' is not IP:PORT or [IP]:PORT")
    return found
