"""Rules that Envoy has in its code instead of `validate.rules`, and that need nothing but the message itself.

Each takes a message and says in Envoy's words why it is refused, or None.
"""

import ipaddress
from collections.abc import Callable
from typing import Any, Final

import re2

ExtraRule = Callable[[Any], str | None]

_HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3"


def _exclusive(first: str, second: str, reason: str) -> ExtraRule:
    """Fields of which only one may be set."""
    return lambda message: reason if _is_set(message, first) and _is_set(message, second) else None


def _is_set(message: Any, field: str) -> bool:
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    return bool(message.HasField(field) if descriptor.has_presence else getattr(message, field))


def _any_of(*rules: ExtraRule) -> ExtraRule:
    def rule(message: Any) -> str | None:
        return next((reason for reason in (rule(message) for rule in rules) if reason is not None), None)

    return rule


def _has_configuration(message: Any) -> str | None:
    """Extensions are found by the type of their configuration, never by name alone."""
    if message.WhichOneof("config_type") is not None:
        return None
    return f"Didn't find a registered implementation for '{message.name}' with type URL: ''"


def _has_ranges(message: Any) -> str | None:
    for cidr in message.cidr_ranges:
        try:
            ipaddress.ip_address(cidr.address_prefix)
        except ValueError:
            combination = f"{cidr.address_prefix}/{cidr.prefix_len.value}"
            return f"invalid ip/mask combo '{combination}' (format is <ip>/<# mask bits>)"
    return None


def _last_filter_is_enabled(message: Any) -> str | None:
    last = message.http_filters[-1] if message.http_filters else None
    if last is None or not last.disabled:
        return None
    return f"Error: the last (terminal) filter ({last.name}) in the chain cannot be disabled by default."


def _vhost_header_is_one_line(message: Any) -> str | None:
    # A rule of the field in Envoy's own API, which the installed one lacks.
    if not set(message.vhost_header) & set("\0\r\n"):
        return None
    return "Proto constraint validation failed (RouteConfigurationValidationError.VhostHeader: value is not valid)"


def _program_is_small(message: Any) -> str | None:
    if not message.google_re2.HasField("max_program_size"):
        return None
    limit = message.google_re2.max_program_size.value
    try:
        size = re2.compile(message.regex).programsize
    except re2.error:
        return None  # whoever compiles it has the words for that
    if size <= limit:
        return None
    return (
        f"regex '{message.regex}' RE2 program size of {size} > max program size of {limit}. "
        "Increase configured max program size if necessary."
    )


EXTRA_RULES: Final[dict[str, ExtraRule]] = {
    "envoy.config.bootstrap.v3.Bootstrap": _any_of(
        _exclusive(
            "stats_flush_interval",
            "stats_flush_on_admin",
            "Only one of stats_flush_interval or stats_flush_on_admin should be set!",
        ),
        _exclusive("watchdog", "watchdogs", "Only one of watchdog or watchdogs should be set!"),
    ),
    "envoy.config.listener.v3.Filter": _has_configuration,
    "envoy.config.accesslog.v3.AccessLog": _has_configuration,
    "envoy.config.core.v3.TransportSocket": _has_configuration,
    f"{_HCM}.HttpConnectionManager.InternalAddressConfig": _has_ranges,
    f"{_HCM}.HttpFilter": _has_configuration,
    f"{_HCM}.HttpConnectionManager": _any_of(
        _exclusive(
            "strip_matching_host_port",
            "strip_any_host_port",
            "Error: Only one of `strip_matching_host_port` or `strip_any_host_port` can be set.",
        ),
        _last_filter_is_enabled,
    ),
    "envoy.config.route.v3.RouteConfiguration": _vhost_header_is_one_line,
    "envoy.type.matcher.v3.RegexMatcher": _program_is_small,
}
