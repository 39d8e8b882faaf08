"""What a listener's filters would find out about a connection that there is not yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from proxeny.explain.facts import Facts
from proxeny.filter_config.provider import current_of

if TYPE_CHECKING:
    from proxeny.listener.config import ListenerConfig
    from proxeny.network.address import Address
    from proxeny.network.stream_info import ConnectionInfo

ORIGINAL_DST: Final = "envoy.filters.listener.original_dst"
TLS_INSPECTOR: Final = "envoy.filters.listener.tls_inspector"
HTTP_INSPECTOR: Final = "envoy.filters.listener.http_inspector"


class FilterStep(NamedTuple):
    """One filter: whether it runs, and what it finds."""

    name: str
    runs: bool
    finds: str


def run_filters(
    config: ListenerConfig, info: ConnectionInfo, facts: Facts, original: Address | None
) -> list[FilterStep]:
    """Let the filters of a listener change ``info`` as they would; ``original`` is where a captured one was going."""
    steps = []
    for entry, disabled in config.listener_filters:
        factory = current_of(entry)
        if factory is None:
            steps.append(FilterStep(entry.name, True, "its configuration has not come: the connection is closed"))
            continue
        if disabled is not None and disabled.matches(info):
            local = info.local_address.as_string()
            steps.append(FilterStep(factory.name, False, f"disabled by filter_disabled (local address {local})"))
            continue
        finds = _KNOWN.get(factory.name)
        text = "taken to change nothing" if finds is None else finds(info, facts, original)
        steps.append(FilterStep(factory.name, True, text))
    return steps


def _original_dst(info: ConnectionInfo, facts: Facts, original: Address | None) -> str:
    if original is None:
        return "the connection was not redirected: the local address stays"
    info.local_address = original
    info.local_address_restored = True
    return f"the original destination {original.as_string()}"


def _tls_inspector(info: ConnectionInfo, facts: Facts, original: Address | None) -> str:
    if not facts.tls:
        return "no TLS"
    info.transport_protocol = "tls"
    found = ["TLS"]
    if facts.server_name:
        info.requested_server_name = facts.server_name.lower()
        found.append(f"server name '{info.requested_server_name}'")
    if facts.protocols:
        info.requested_application_protocols = facts.protocols
        found.append(f"application protocols {', '.join(facts.protocols)}")
    return ", ".join(found)


def _http_inspector(info: ConnectionInfo, facts: Facts, original: Address | None) -> str:
    if info.transport_protocol not in ("", "raw_buffer"):
        return f"nothing: it does not look into {info.transport_protocol}"
    if not facts.protocols:
        return "nothing (a plain HTTP request would give http/1.1 or h2c: say so with alpn)"
    info.requested_application_protocols = facts.protocols[:1]
    return f"application protocol {facts.protocols[0]}"


_KNOWN: Final[dict[str, Callable[[ConnectionInfo, Facts, Address | None], str]]] = {
    ORIGINAL_DST: _original_dst,
    TLS_INSPECTOR: _tls_inspector,
    HTTP_INSPECTOR: _http_inspector,
    "envoy.filters.listener.proxy_protocol": lambda *_: "no PROXY header is assumed: the addresses stay",
    "envoy.filters.listener.local_ratelimit": lambda *_: "the connection is taken to be within the limit",
    "envoy.filters.listener.original_src": lambda *_: "upstream connections will come from the client's address",
}


def unseen(info: ConnectionInfo, facts: Facts) -> list[str]:
    """What the client says that no filter looked for, so that nothing goes by it."""
    notes = []
    if facts.tls and info.transport_protocol != "tls":
        notes.append("TLS is not recognised: no tls_inspector runs")
    if facts.server_name and not info.requested_server_name:
        notes.append(f"the server name '{facts.server_name}' is not seen: no tls_inspector runs")
    if facts.protocols and not info.requested_application_protocols:
        notes.append("the application protocols are not seen: no inspector that looks for them runs")
    return notes
