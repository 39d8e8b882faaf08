"""What the filters ``set_filter_state`` of connections and of requests share (Envoy: ``Common::SetFilterState``).

Each value is a format string, whose text becomes an object by the factory of its key (or of ``factory_key``).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.formatter import compile_format_string
from proxeny.matcher.integer import parse_uint64
from proxeny.network.address import parse_ip_port
from proxeny.network.filter_state import HashableString, Sharing
from proxeny.network.proxy_info import parse_proxy_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

log = logging.getLogger("proxeny.filter")


def _parse_uint32(text: str) -> int | None:
    number = parse_uint64(text.encode("latin-1", "replace"))
    return number if number is not None and number < 1 << 32 else None


FACTORIES: Final[dict[str, Callable[[str], Any]]] = {
    "envoy.string": str,
    "envoy.hashable_string": HashableString,
    "envoy.tcp_proxy.cluster": str,
    "envoy.network.application_protocols": str,
    "envoy.network.transport_socket.http_11_proxy.info": parse_proxy_info,
    "envoy.network.transport_socket.original_dst_address": parse_ip_port,
    "envoy.network.upstream_server_name": str,
    "envoy.network.upstream_subject_alt_names": str,
    "envoy.upstream.dynamic_host": str,
    "envoy.upstream.dynamic_port": _parse_uint32,
    "envoy.filters.listener.original_dst.local_ip": parse_ip_port,
    "envoy.filters.listener.original_dst.remote_ip": parse_ip_port,
}
"""Key -> what makes its object of a text; None where the text is none."""

NOT_SERVED: Final = frozenset(
    (
        "envoy.bool",
        "envoy.network.ip",
        "envoy.network.network_namespace",
        "envoy.ratelimit.hits_addend",
        "envoy.router.debug_config",
        "envoy.tcp_proxy.disable_tunneling",
        "envoy.tcp_proxy.per_connection_idle_timeout_ms",
    )
)
"""Keys that Envoy has and nothing here looks at."""


class StateValue:
    """One object to set."""

    __slots__ = ("_format", "_key", "_make", "_read_only", "_sharing", "_skip_if_empty")

    def __init__(self, message: Any) -> None:
        self._key: str = message.object_key
        factory = message.factory_key or message.object_key
        if factory in NOT_SERVED:
            raise UnsupportedFieldError(f"filter state objects of '{factory}' are not supported yet")
        if factory not in FACTORIES:
            raise ConfigError(f"'{self._key}' does not have an object factory")
        self._make = FACTORIES[factory]
        self._format = compile_format_string(message.format_string).formatter.format
        self._read_only: bool = message.read_only
        self._sharing = Sharing(message.shared_with_upstream)
        self._skip_if_empty: bool = message.skip_if_empty

    def apply(self, headers: HeaderMap | None, info: StreamInfo) -> None:
        """Set it, if its text makes an object and what is there may be changed."""
        text = self._format(headers, None, None, info).decode("utf-8", "surrogateescape")
        if not text and self._skip_if_empty:
            return
        value = self._make(text)
        state = info.filter_state
        if value is None:
            log.debug("Failed to create an object '%s' from value '%s'", self._key, text)
        elif self._key in state.read_only:
            log.debug("the object '%s' may not be set again", self._key)
        else:
            state.share(self._key, value, self._sharing)
            if self._read_only:
                state.read_only.add(self._key)


def compile_values(messages: Iterable[Any]) -> tuple[StateValue, ...]:
    """``envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue``; ConfigError in Envoy's words."""
    return tuple([StateValue(message) for message in messages])
