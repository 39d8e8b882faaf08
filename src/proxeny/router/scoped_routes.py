"""``scoped_routes``: a request's headers choose the route table (Envoy: ``ScopedConfig``, ``ScopeKeyBuilder``).

The key is made anew whenever a route is looked for, since a filter may have changed the headers. Without a scope of its
key a request has no route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.config.errors import ConfigError
from proxeny.router.rds.provider import RouteConfigProvider
from proxeny.router.route_table import RouteTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.rds.provider import ScopeKey
    from proxeny.router.route import Route


class Fragment(Protocol):
    """One part of the key."""

    def of(self, headers: HeaderMap) -> bytes | None:
        """Its value; None where the request has none."""


class IndexFragment:
    """An element of a header's first value, by its place."""

    __slots__ = ("_index", "_name", "_separator")

    def __init__(self, config: Any) -> None:
        self._name = config.name.lower().encode()
        self._separator = config.element_separator.encode()
        self._index: int = config.index
        if self._index and not self._separator:
            raise ConfigError("Proto constraint validation failed (Index > 0 for empty string element separator.)")

    def of(self, headers: HeaderMap) -> bytes | None:
        """The element, blanks and all."""
        value = headers.get(self._name)
        if value is None or not self._separator:
            return value
        elements = value.split(self._separator, self._index + 1)
        return elements[self._index] if self._index < len(elements) else None


class ElementFragment:
    """The value of the first ``key=value`` element of a header's first value that has the key."""

    __slots__ = ("_key", "_name", "_separator", "_value_separator")

    def __init__(self, config: Any) -> None:
        self._name = config.name.lower().encode()
        self._separator = config.element_separator.encode()
        self._value_separator = config.element.separator.encode()
        self._key = config.element.key.encode()

    def of(self, headers: HeaderMap) -> bytes | None:
        """What stands behind the separator; a bare key has an empty value."""
        header = headers.get(self._name)
        if header is None:
            return None
        for element in header.split(self._separator) if self._separator else (header,):
            key, _, value = element.partition(self._value_separator)
            if key == self._key:
                return value
        return None


def compile_fragment(config: Any) -> Fragment:
    """From a ``FragmentBuilder`` message; ConfigError in Envoy's words."""
    extractor = config.header_value_extractor
    kind = extractor.WhichOneof("extract_type")
    if kind is None:
        raise ConfigError("Proto constraint validation failed (HeaderValueExtractor extract_type not set.)")
    return IndexFragment(extractor) if kind == "index" else ElementFragment(extractor)


def compile_fragments(config: Any) -> tuple[Fragment, ...]:
    """The parts of the key that a ``ScopedRoutes`` message asks for; ConfigError in Envoy's words."""
    return tuple([compile_fragment(fragment) for fragment in config.scope_key_builder.fragments])


class ScopedRouteTable:
    """Stands where a RouteTable does, and asks the one of the request's scope."""

    __slots__ = ("_fragments", "_scopes", "internal_only_headers", "name")

    def __init__(
        self, name: str, fragments: tuple[Fragment, ...], scopes: Mapping[ScopeKey, RouteConfigProvider]
    ) -> None:
        """``scopes``: perhaps another's, who changes them."""
        self.name = name
        self._fragments = fragments
        self._scopes = scopes
        self.internal_only_headers: tuple[bytes, ...] = ()
        """None for all requests; ``internal_only_headers_of`` says which for one."""

    @classmethod
    def compile(cls, config: Any, context: FactoryContext) -> ScopedRouteTable:
        """From a ``ScopedRoutes`` message with a list; ConfigError in Envoy's words."""
        by_name: dict[str, tuple[ScopeKey, RouteConfigProvider]] = {}
        for scope in config.scoped_route_configurations_list.scoped_route_configurations:
            if scope.route_configuration_name:
                raise ConfigError(
                    "Fetching routes via RDS (route_configuration_name) is not supported with inline scoped routes."
                )
            if not scope.HasField("route_configuration"):
                raise ConfigError("You must specify a route_configuration with inline scoped routes.")
            key = tuple([fragment.string_key.encode() for fragment in scope.key.fragments])
            # Of scopes of one name, and of one key, the last counts.
            by_name.pop(scope.name, None)
            by_name[scope.name] = key, RouteConfigProvider("", scope.name)
            by_name[scope.name][1].exchange(RouteTable.compile(scope.route_configuration, context))
        return cls(config.name, compile_fragments(config), dict(by_name.values()))

    def key_of(self, headers: HeaderMap) -> ScopeKey | None:
        """The key of a request's scope; None: it has none."""
        key = []
        for fragment in self._fragments:
            value = fragment.of(headers)
            if value is None:
                return None
            key.append(value)
        return tuple(key)

    def scope_of(self, headers: HeaderMap) -> RouteConfigProvider | None:
        """A request's scope."""
        key = self.key_of(headers)
        return None if key is None else self._scopes.get(key)

    def table_of(self, headers: HeaderMap) -> RouteTable | None:
        """The route table of a request's scope; None also where it has not come yet."""
        scope = self.scope_of(headers)
        return None if scope is None else scope.current

    def route(self, headers: HeaderMap, stream_info: StreamInfo | None, random_value: int) -> Route | None:
        """The route of a request, None when nothing matches."""
        table = self.table_of(headers)
        return None if table is None else table.route(headers, stream_info, random_value)

    def internal_only_headers_of(self, headers: HeaderMap) -> tuple[bytes, ...]:
        """Names that are removed from an external request."""
        table = self.table_of(headers)
        return () if table is None else table.internal_only_headers

    @property
    def has_internal_only_headers(self) -> bool:
        """Whether any scope has some."""
        tables = [scope.current for scope in self._scopes.values()]
        return any(table is not None and table.internal_only_headers for table in tables)
