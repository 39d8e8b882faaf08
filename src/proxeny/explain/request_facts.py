"""What is asked about a request: its URL, method and headers, and where it comes from and goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from proxeny.config.errors import ConfigError
from proxeny.explain.facts import SWITCHES
from proxeny.network.address import Address, ip_address, parse_ip_port, pipe_address

REQUEST_PARAMETERS: Final = {
    "url": "of a request: http or https, then its host and path",
    "method": "the request's method",
    "header": "a header of the request, 'name: value'; any number of them",
    "port": "the port that the client connects to, where the URL does not tell",
    "body-size": "bytes of the request's body",
    "http10": "it is an HTTP/1.0 request",
    "random-value": "the request's random number, by which weighted clusters and fractions choose",
    "all": "tell of every route and host, however many",
}
DEFAULT_SOURCE: Final = ip_address("127.0.0.1", 40000)
MOST_BODY: Final = 64 << 20
"""A body is made up and run through the proxy's buffers: 64 MB will do."""
MOST_DIGITS: Final = 20
"""Of a number below 2**64."""
_PORTS: Final = {"http": 80, "https": 443}


class RequestFacts(NamedTuple):
    """A request that may come."""

    scheme: str
    authority: str
    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    source: Address = DEFAULT_SOURCE
    destination: Address | None = None
    port: int = 0
    """That the client connects to."""
    listener: str = ""
    server_name: str = ""
    protocols: tuple[str, ...] = ()
    body_size: int = 0
    http10: bool = False
    random_value: int | None = None
    all: bool = False

    @property
    def tls(self) -> bool:
        """Whether the client speaks TLS."""
        return self.scheme == "https"

    @property
    def url(self) -> str:
        """The URL that was asked about."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_request_facts(parameters: Mapping[str, str], headers: Sequence[str] = ()) -> RequestFacts:
    """From parameters by the names in REQUEST_PARAMETERS and PARAMETERS; ConfigError for what is malformed."""
    scheme, authority, path = _split_url(parameters.get("url", ""))
    pairs = tuple([_header(text) for text in headers])
    port = _number(parameters, "port", 65535) or _url_port(authority) or _PORTS[scheme]
    host = host_of(authority)
    server_name = parameters.get("sni", "")
    if scheme == "https" and not server_name and parse_ip_port(_with_port(host, 1)) is None:
        server_name = host
    body_size = _number(parameters, "body-size", MOST_BODY) or 0
    return RequestFacts(
        scheme,
        authority,
        path,
        parameters.get("method") or ("POST" if body_size else "GET"),
        pairs,
        _source(parameters.get("src", "")),
        _destination(parameters.get("dst", "")),
        port,
        parameters.get("listener", ""),
        server_name,
        tuple(part for part in parameters.get("alpn", "").split(",") if part),
        body_size,
        _switch(parameters, "http10"),
        _number(parameters, "random-value", (1 << 64) - 1),
        _switch(parameters, "all"),
    )


def _split_url(url: str) -> tuple[str, str, str]:
    scheme, found, rest = url.partition("://")
    scheme = scheme.lower()
    if not found or scheme not in _PORTS:
        raise ConfigError(f"url: '{url}' is no http:// or https:// URL")
    end = min([at for at in (rest.find("/"), rest.find("?"), rest.find("#")) if at >= 0], default=len(rest))
    authority, path = rest[:end], rest[end:]
    if not authority:
        raise ConfigError(f"url: '{url}' names no host")
    if not path.startswith("/"):
        path = f"/{path}"
    if any(ord(character) <= 32 for character in authority + path):
        raise ConfigError("url: blanks and control characters cannot be in a URL")
    return scheme, authority, path


def host_of(authority: str) -> str:
    """The host of ``host:port``; an IPv6 address keeps its brackets."""
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isascii() and port.isdigit() and host else authority


def _url_port(authority: str) -> int:
    if host_of(authority) == authority:
        return 0
    port = authority.rpartition(":")[2]
    if len(port) > 5 or int(port) > 65535:
        raise ConfigError(f"url: '{port}' is no port")
    return int(port)


def _with_port(host: str, port: int) -> str:
    return f"{host}:{port}"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not name or any(character in text for character in "\r\n\0"):
        raise ConfigError(f"header: '{text}' is not 'name: value'")
    return name, value


def _number(parameters: Mapping[str, str], name: str, most: int) -> int | None:
    text = parameters.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > MOST_DIGITS or int(text) > most:
        raise ConfigError(f"{name}: '{text}' is no number up to {most}")
    return int(text)


def _switch(parameters: Mapping[str, str], name: str) -> bool:
    return name in parameters and parameters[name].lower() in SWITCHES


def _source(text: str) -> Address:
    if not text:
        return DEFAULT_SOURCE
    if text[:1] in ("/", "@"):
        return pipe_address(text)
    found = parse_ip_port(text) or parse_ip_port(_with_port(f"[{text}]" if text.count(":") > 1 else text, 40000))
    if found is None:
        raise ConfigError(f"src: '{text}' is not IP or IP:PORT")
    return found


def _destination(text: str) -> Address | None:
    if not text:
        return None
    if text[:1] in ("/", "@"):
        return pipe_address(text)
    found = parse_ip_port(text)
    if found is None:
        raise ConfigError(f"dst: '{text}' is not IP:PORT or [IP]:PORT")
    return found
