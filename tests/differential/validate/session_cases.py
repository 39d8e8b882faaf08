"""Stateful sessions."""

from tests.differential.validate.corpus import ROUTER_FILTER, TYPE, Verdict, manager, route

_FILTER = f"{TYPE}/envoy.extensions.filters.http.stateful_session.v3"
_STATES = f"{TYPE}/envoy.extensions.http.stateful_session"


def _state(kind: str, message: str, fields: str, name: str = "") -> str:
    typed = f'{{"@type": {_STATES}.{kind}.v3.{message}, {fields}}}'
    return f"session_state: {{name: '{name or f'envoy.http.stateful_session.{kind}'}', typed_config: {typed}}}"


def _filter(name: str, fields: str, stricter: str = "") -> Verdict:
    typed = f'{{"@type": {_FILTER}.StatefulSession, {fields}}}'
    filters = f"{{name: envoy.filters.http.stateful_session, typed_config: {typed}}}, {ROUTER_FILTER}"
    return manager(f"session-{name}", f"http_filters: [{filters}]", stricter)


def _route(name: str, fields: str) -> Verdict:
    typed = f'{{"@type": {_FILTER}.StatefulSessionPerRoute, {fields}}}'
    config = f"typed_per_filter_config: {{envoy.filters.http.stateful_session: {typed}}}"
    return route(f"session-{name}", f"match: {{prefix: /}}\nroute: {{cluster: one}}\n{config}")


_COOKIE, _HEADER, _ENVELOPE = "CookieBasedSessionState", "HeaderBasedSessionState", "EnvelopeSessionState"

CASES = [
    _filter("empty", ""),
    _filter("strict", "strict: true, stat_prefix: a"),
    _filter("cookie", _state("cookie", _COOKIE, "cookie: {name: a, ttl: 10s, path: /x}")),
    _filter("cookie-attributes", _state("cookie", _COOKIE, "cookie: {name: a, attributes: [{name: b, value: c}]}")),
    _filter("cookie-attribute-nameless", _state("cookie", _COOKIE, "cookie: {name: a, attributes: [{name: ''}]}")),
    _filter("cookie-missing", _state("cookie", _COOKIE, "")),
    _filter("cookie-nameless", _state("cookie", _COOKIE, "cookie: {name: ''}")),
    _filter("cookie-negative-ttl", _state("cookie", _COOKIE, "cookie: {name: a, ttl: -1s}")),
    _filter("header", _state("header", _HEADER, "name: x-a")),
    _filter("header-nameless", _state("header", _HEADER, "name: ''")),
    _filter("envelope", _state("envelope", _ENVELOPE, "header: {name: x-a}")),
    _filter("envelope-nameless", _state("envelope", _ENVELOPE, "header: {name: ''}")),
    _filter("envelope-empty", _state("envelope", _ENVELOPE, "")),
    _filter("unknown-name", _state("header", _HEADER, "name: x-a", "other")),
    _filter("other-type", _state("header", _HEADER, "name: x-a", "envoy.http.stateful_session.cookie")),
    _filter("nameless", "session_state: {name: ''}"),
    _route("route-disabled", "disabled: true"),
    _route("route-not-disabled", "disabled: false"),
    _route("route-empty", ""),
    _route("route-own", f"stateful_session: {{strict: true, {_state('header', _HEADER, 'name: x-a')}}}"),
    _route("route-own-empty", "stateful_session: {}"),
]
