"""What became of a request's headers, name by name, and which part of the configuration did it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxeny.http.header_sanitizing import HOP_BY_HOP, UNTRUSTED, UNTRUSTED_AT_EDGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.kernel.headers import HeaderMap

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


class HeaderChange(NamedTuple):
    """One header that is not what it was; values of a repeated one are joined."""

    name: str
    how: str
    before: str
    after: str
    why: str = ""


def header_changes(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> list[HeaderChange]:
    """The differences between two lists of headers, in the order in which they appear."""
    old, new = _by_name(before), _by_name(after)
    changes = []
    for name, values in old.items():
        if name not in new:
            changes.append(HeaderChange(name, REMOVED, values, ""))
        elif new[name] != values:
            changes.append(HeaderChange(name, CHANGED, values, new[name]))
    changes += [HeaderChange(name, ADDED, "", values) for name, values in new.items() if name not in old]
    return changes


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return {name: " | ".join(values) for name, values in found.items()}


def pairs_of(headers: HeaderMap) -> list[tuple[str, str]]:
    """The headers as text."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.items()]


# Before the route.

_HOP_BY_HOP: Final = frozenset([name.decode() for name in HOP_BY_HOP]) - {"x-envoy-internal", "x-forwarded-client-cert"}
_UNTRUSTED: Final = frozenset([name.decode() for name in UNTRUSTED])
_UNTRUSTED_AT_EDGE: Final = frozenset([name.decode() for name in UNTRUSTED_AT_EDGE])
_SANITISED: Final = {
    ("x-envoy-internal", ADDED): "the client's address is an internal one",
    ("x-envoy-internal", REMOVED): "only the proxy says what is internal",
    ("x-envoy-external-address", ADDED): "an edge request: its trusted client address (use_remote_address)",
    ("x-forwarded-for", ADDED): "the address of the client's connection (use_remote_address)",
    ("x-forwarded-for", CHANGED): "the address of the client's connection is appended (use_remote_address)",
    ("x-forwarded-proto", ADDED): "the scheme of the client's connection",
    ("x-forwarded-proto", CHANGED): "no hop before is trusted: the scheme of the client's connection",
    ("x-forwarded-client-cert", REMOVED): "forward_client_cert_details: SANITIZE",
    ("x-request-id", ADDED): "made here (generate_request_id)",
    ("x-request-id", CHANGED): "an edge request: ids from outside are not kept (preserve_external_request_id is off)",
    (":scheme", ADDED): "from x-forwarded-proto",
    (":scheme", CHANGED): "scheme_header_transformation",
    (":path", CHANGED): "path normalisation",
    (":authority", ADDED): "default_host_for_http_10",
    (":authority", CHANGED): "port or trailing dot are stripped, or an absolute URL names another host",
    ("te", REMOVED): "only 'trailers' may pass",
    ("te", CHANGED): "only 'trailers' may pass",
    ("referer", REMOVED): "no URI that may be passed on: user information, a fragment or odd characters",
    ("x-forwarded-port", ADDED): "append_x_forwarded_port",
    ("x-forwarded-port", CHANGED): "no hop before is trusted: append_x_forwarded_port",
    ("expect", REMOVED): "answered here with 100 Continue",
    ("via", ADDED): "via",
    ("via", CHANGED): "via",
    ("user-agent", ADDED): "add_user_agent",
    ("x-envoy-downstream-service-cluster", ADDED): "add_user_agent",
    ("x-envoy-downstream-service-node", ADDED): "add_user_agent",
}


def explain_sanitising(changes: list[HeaderChange], internal_only: Iterable[bytes]) -> list[HeaderChange]:
    """Changes up to the route, with their reasons."""
    own = frozenset([name.decode("latin-1") for name in internal_only])

    def reason(change: HeaderChange) -> str:
        known = _SANITISED.get((change.name, change.how))
        if known is not None:
            return known
        if change.how == REMOVED:
            if change.name in _HOP_BY_HOP:
                return "hop-by-hop: for this connection only"
            if change.name in own:
                return "internal_only_headers: not from outside"
            if change.name in _UNTRUSTED:
                return "not to be said by a client from outside (the request is not internal)"
            if change.name in _UNTRUSTED_AT_EDGE:
                return "not to be said by a client from outside (an edge request)"
        return "early_header_mutation_extensions, or what the Connection header names"

    return [change._replace(why=reason(change)) for change in changes]


# Behind the route.

_ROUTED: Final = {
    "x-envoy-expected-rq-timeout-ms": "the timeout in force, for the upstream",
    "x-envoy-attempt-count": "include_request_attempt_count",
    "x-envoy-original-path": "the path before its rewrite",
    "x-envoy-original-host": "the host before its rewrite",
    "x-forwarded-host": "append_x_forwarded_host",
    "x-envoy-retry-on": "consumed: a retry policy of the request's own",
    "x-envoy-retry-grpc-on": "consumed: a retry policy of the request's own",
    "x-envoy-max-retries": "consumed: a retry policy of the request's own",
    "grpc-timeout": "max_grpc_timeout",
}
_PATH_FIELDS: Final = ("prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite")
_HOST_FIELDS: Final = (
    "host_rewrite_literal",
    "host_rewrite_header",
    "host_rewrite_path_regex",
    "host_rewrite_path",
    "host_rewrite",
    "auto_host_rewrite",
)


def explain_mutations(changes: list[HeaderChange], levels: list[tuple[str, Any]], action: Any) -> list[HeaderChange]:
    """Changes from the route to the upstream, with their reasons.

    ``levels``: (name, message) of what may mutate headers, the most specific first; ``action``: what says how paths and
    hosts are rewritten.
    """

    def reason(change: HeaderChange) -> str:
        if change.name == ":path":
            return _first_set(action, _PATH_FIELDS) or "path rewrite"
        if change.name == ":authority":
            return _first_set(action, _HOST_FIELDS) or "host rewrite"
        named = _levels_naming(change.name, levels)
        if named:
            return named
        if change.name in _ROUTED:
            return _ROUTED[change.name]
        return "consumed by the router" if change.name.startswith("x-envoy-") else "the router or a filter"

    return [change._replace(why=reason(change)) for change in changes]


def _first_set(message: Any, names: Iterable[str]) -> str:
    if message is None:
        return ""
    present = {descriptor.name for descriptor, _ in message.ListFields()}
    return next((name for name in names if name in present), "")


def _levels_naming(name: str, levels: list[tuple[str, Any]]) -> str:
    found = []
    for level, message in levels:
        if any(option.header.key.lower() == name for option in message.request_headers_to_add):
            found.append(f"request_headers_to_add of {level}")
        if any(removed.lower() == name for removed in message.request_headers_to_remove):
            found.append(f"request_headers_to_remove of {level}")
    return ", ".join(found)


def response_mutations(levels: list[tuple[str, Any]]) -> list[str]:
    """What the levels do to the response's headers, in words."""
    found = []
    for level, message in levels:
        added = [option.header for option in message.response_headers_to_add]
        found += [f"{header.key}: {header.value!r} ({level})" for header in added]
        found += [f"{name} is removed ({level})" for name in message.response_headers_to_remove]
    return found
