"""``RouteAction.HashPolicy``: a number from a request by which a load balancer keeps like requests together
(Envoy: ``source/common/http/hash_policy.cc``).

The numbers of several policies are combined by rotating what there is and XOR-ing the next one in, so that equal ones
do not cancel out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError
from proxeny.http.cookies import cookie_value, make_set_cookie
from proxeny.matcher.query import parse_query
from proxeny.matcher.regex import CompiledRegex
from proxeny.matcher.xxhash import xxhash64, xxhash64_of_all
from proxeny.network.filter_state import HashableString

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

_MASK: Final = (1 << 64) - 1


class HashMethod(Protocol):
    """One policy."""

    def evaluate(
        self, headers: HeaderMap | None, info: StreamInfo | None, set_cookies: list[bytes] | None
    ) -> int | None:
        """The hash, None where the request has nothing to hash."""


class HeaderHash:
    """All values of one header, each rewritten, in sorted order."""

    __slots__ = ("_name", "_regex", "_substitution")

    def __init__(self, config: Any) -> None:
        self._name: bytes = config.header_name.lower().encode("utf-8")
        self._regex: CompiledRegex | None = None
        self._substitution = b""
        if config.HasField("regex_rewrite"):
            self._regex = CompiledRegex(config.regex_rewrite.pattern.regex)
            self._substitution = config.regex_rewrite.substitution.encode("utf-8")

    def evaluate(
        self, headers: HeaderMap | None, info: StreamInfo | None, set_cookies: list[bytes] | None
    ) -> int | None:
        """See HashMethod."""
        values = headers.get_all(self._name) if headers is not None else None
        if not values:
            return None
        if self._regex is not None:
            values = [self._regex.replace_all(value, self._substitution) for value in values]
        return xxhash64_of_all(sorted(values))


class CookieHash:
    """A cookie's value; with a ``ttl`` one is made where the client has none, and sent along with the response."""

    __slots__ = ("_attributes", "_name", "_path", "_ttl")

    def __init__(self, config: Any) -> None:
        self._name: bytes = config.name.encode("utf-8")
        self._path: bytes = config.path.encode("utf-8")
        self._ttl: int | None = config.ttl.seconds if config.HasField("ttl") else None
        self._attributes = tuple([(one.name.encode("utf-8"), one.value.encode("utf-8")) for one in config.attributes])

    @property
    def is_made(self) -> bool:
        """Whether a cookie is made where there is none."""
        return self._ttl is not None

    def evaluate(
        self, headers: HeaderMap | None, info: StreamInfo | None, set_cookies: list[bytes] | None
    ) -> int | None:
        """See HashMethod."""
        if headers is None:
            return None
        value = cookie_value(headers, self._name)
        if not value:
            if self._ttl is None or info is None or set_cookies is None:
                return None
            connection = info.connection
            # The same for all requests of a connection, so that those under way at a time get the same cookie.
            pair = connection.remote_address.as_string() + connection.local_address.as_string()
            value = b"%016x" % xxhash64(pair.encode("utf-8"))
            set_cookies.append(make_set_cookie(self._name, value, self._path, self._ttl, self._attributes))
        return xxhash64(value)


class SourceIpHash:
    """The client's IP address."""

    __slots__ = ()

    def evaluate(
        self, headers: HeaderMap | None, info: StreamInfo | None, set_cookies: list[bytes] | None
    ) -> int | None:
        """See HashMethod."""
        ip = info.downstream_remote_address.ip if info is not None else ""
        return xxhash64(ip.encode("utf-8")) if ip else None


class QueryParameterHash:
    """The first value of a query parameter."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name.encode("utf-8")

    def evaluate(
        self, headers: HeaderMap | None, info: StreamInfo | None, set_cookies: list[bytes] | None
    ) -> int | None:
        """See HashMethod."""
        path = headers.get(b":path") if headers is not None else None
        value = parse_query(path).get(self._name) if path is not None else None
        return xxhash64(value) if value is not None else None


class FilterStateHash:
    """A filter state object that can be hashed."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def evaluate(
        self, headers: HeaderMap | None, info: StreamInfo | None, set_cookies: list[bytes] | None
    ) -> int | None:
        """See HashMethod."""
        state = info.filter_state_map if info is not None else None
        value = state.get(self._key) if state is not None else None
        return xxhash64(value.encode("utf-8", "surrogateescape")) if isinstance(value, HashableString) else None


class HashPolicy:
    """Several policies in their order; the first terminal one ends the list once there is a hash."""

    __slots__ = ("_methods", "makes_cookies")

    def __init__(self, methods: Sequence[tuple[HashMethod, bool]]) -> None:
        self._methods = tuple(methods)
        self.makes_cookies = any(isinstance(method, CookieHash) and method.is_made for method, _ in methods)
        """Whether responses may have to set cookies."""

    def generate(
        self, headers: HeaderMap | None, info: StreamInfo | None, set_cookies: list[bytes] | None
    ) -> int | None:
        """The combined hash, None where no policy has one.

        ``set_cookies`` receives the ``set-cookie`` values that the response must carry; None: no cookie is made.
        """
        combined: int | None = None
        for method, terminal in self._methods:
            value = method.evaluate(headers, info, set_cookies)
            if value is not None:
                combined = value if combined is None else ((combined << 1) & _MASK | combined >> 63) ^ value
            if terminal and combined is not None:
                break
        return combined


def compile_hash_policy(configs: Sequence[Any]) -> HashPolicy | None:
    """From ``HashPolicy`` messages, None when there is none; ConfigError in Envoy's words."""
    methods = [(method, config.terminal) for config in configs if (method := _method(config)) is not None]
    return HashPolicy(methods) if configs else None


def _method(config: Any) -> HashMethod | None:
    kind = config.WhichOneof("policy_specifier")
    if kind == "header":
        return HeaderHash(config.header)
    if kind == "cookie":
        return CookieHash(config.cookie)
    if kind == "connection_properties":
        return SourceIpHash() if config.connection_properties.source_ip else None
    if kind == "query_parameter":
        return QueryParameterHash(config.query_parameter.name)
    if kind == "filter_state":
        return FilterStateHash(config.filter_state.key)
    raise ConfigError("hash policy not set")
