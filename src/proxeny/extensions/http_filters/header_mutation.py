"""``envoy.filters.http.header_mutation``: changes headers, trailers and query parameters, of the client's side or of
every attempt at an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, unquote_to_bytes

from proxeny.config.errors import ConfigError
from proxeny.http.filter import FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.router.header_mutations import compile_mutations

if TYPE_CHECKING:
    from proxeny.formatter.substitution import Formatter
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

NAME: Final = "envoy.filters.http.header_mutation"
PATH: Final = b":path"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
TRAILERS_CONTINUE: Final = FilterTrailersStatus.CONTINUE

Parameters = dict[bytes, list[bytes]]


class ParameterMutation(Protocol):
    """One change of the query."""

    def apply(self, parameters: Parameters, headers: HeaderMap, info: StreamInfo) -> None:
        """Change ``parameters``."""


class AppendParameter:
    """Adds or replaces a parameter by its action (``KeyValueAppend.KeyValueAppendAction``)."""

    __slots__ = ("_action", "_constant", "_formatter", "_key")

    def __init__(self, config: Any) -> None:
        if not config.HasField("record"):
            raise ConfigError("No record specified for append mutation.")
        key, value = config.record.key, config.record.value.string_value
        if not config.record.value.HasField("string_value"):
            raise ConfigError("Only string value is allowed for record value.")
        self._key = key.encode("utf-8")
        self._action: int = config.action
        self._constant = value.encode("utf-8")
        self._formatter: Formatter | None = None
        if "%" in value:
            from proxeny.formatter.substitution import compile as compile_formatter

            self._formatter = compile_formatter(value, omit_empty_values=True)

    def apply(self, parameters: Parameters, headers: HeaderMap, info: StreamInfo) -> None:
        """See ParameterMutation."""
        value = self._constant
        if self._formatter is not None:
            value = quote(self._formatter.format(headers, None, None, info), safe="").encode("ascii")
        there = self._key in parameters
        if self._action == 0 or (self._action == 1 and not there):
            parameters.setdefault(self._key, []).append(value)
        elif self._action == 2 or (self._action == 3 and there):
            parameters[self._key] = [value]


class RemoveParameter:
    """Removes a parameter."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key.encode("utf-8")

    def apply(self, parameters: Parameters, headers: HeaderMap, info: StreamInfo) -> None:
        """See ParameterMutation."""
        parameters.pop(self._key, None)


def split_query(path: bytes) -> Parameters:
    """The parameters of a path by name, decoded."""
    parameters: Parameters = {}
    parts = path.partition(b"?")[2].partition(b"#")[0].split(b"&")
    if not parts[-1]:
        parts.pop()
    for part in parts:
        key, _, value = part.partition(b"=")
        parameters.setdefault(unquote_to_bytes(key), []).append(unquote_to_bytes(value))
    return parameters


def join_query(path: bytes, parameters: Parameters) -> bytes:
    """The path with these parameters, sorted by name."""
    pairs = [name + b"=" + value for name, values in sorted(parameters.items()) for value in values]
    base = path.partition(b"?")[0]
    return base + b"?" + b"&".join(pairs) if pairs else base


class Mutations:
    """``Mutations``, compiled: what happens to each part of a request and of its response."""

    __slots__ = ("_query", "request", "request_trailers", "response", "response_trailers")

    def __init__(self, config: Any) -> None:
        self.request = compile_mutations(config.request_mutations)
        self.response = compile_mutations(config.response_mutations)
        self.request_trailers = compile_mutations(config.request_trailers_mutations)
        self.response_trailers = compile_mutations(config.response_trailers_mutations)
        query: list[ParameterMutation] = []
        for mutation in config.query_parameter_mutations:
            if mutation.HasField("append"):
                query.append(AppendParameter(mutation.append))
            elif mutation.remove:
                query.append(RemoveParameter(mutation.remove))
            else:
                raise ConfigError("One of 'append'/'remove' must be specified.")
        self._query = tuple(query)

    def mutate_request(self, headers: HeaderMap, info: StreamInfo) -> None:
        """The request's headers, then its query."""
        for mutation in self.request:
            mutation.apply(headers, headers, None, info)
        path = headers.get(PATH)
        if self._query and path is not None:
            parameters = split_query(path)
            for change in self._query:
                change.apply(parameters, headers, info)
            headers.set(PATH, join_query(path, parameters))


class HeaderMutationFilter(StreamFilter):
    """Changes one request and its response."""

    __slots__ = ("_config", "_levels")

    def __init__(self, config: HeaderMutationFactory) -> None:
        self._config = config
        self._levels: list[Mutations] | None = None

    def _mutations(self) -> list[Mutations]:
        """The filter's own, then those of the route: the most specific first, unless it is to have the last word."""
        levels = self._levels
        if levels is None:
            config = self._config
            route = self.decoder_callbacks.route
            found: list[Mutations] = [] if route is None else route.per_filter_configs(config.name)
            if not config.most_specific_wins:
                found.reverse()
            levels = self._levels = [config.mutations, *found]
        return levels

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Request headers and query."""
        info = self.decoder_callbacks.stream_info
        for mutations in self._mutations():
            mutations.mutate_request(headers, info)
        return CONTINUE

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Request trailers."""
        callbacks = self.decoder_callbacks
        for mutations in self._mutations():
            for mutation in mutations.request_trailers:
                mutation.apply(trailers, callbacks.request_headers, None, callbacks.stream_info)
        return TRAILERS_CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Response headers."""
        callbacks = self.decoder_callbacks
        for mutations in self._mutations():
            for mutation in mutations.response:
                mutation.apply(headers, callbacks.request_headers, headers, callbacks.stream_info)
        return CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Response trailers."""
        callbacks = self.decoder_callbacks
        for mutations in self._mutations():
            for mutation in mutations.response_trailers:
                mutation.apply(trailers, callbacks.request_headers, callbacks.response_headers, callbacks.stream_info)
        return TRAILERS_CONTINUE


class HeaderMutationFactory:
    """The compiled filter."""

    __slots__ = ("most_specific_wins", "mutations", "name")

    filter_class = HeaderMutationFilter
    is_terminal = False
    rehearses = True

    def __init__(self, config: Any) -> None:
        self.name = NAME
        self.mutations = Mutations(config.mutations)
        self.most_specific_wins: bool = config.most_specific_header_mutations_wins

    def create(self) -> HeaderMutationFilter:
        """The filter of one request (upstream: of one attempt)."""
        return HeaderMutationFilter(self)


class HeaderMutationExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> HeaderMutationFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return HeaderMutationFactory(config)

    def create_route_config(self, config: Any, context: FactoryContext) -> Mutations:
        """A ``HeaderMutationPerRoute``."""
        return Mutations(config.mutations)


FACTORY: Final = HeaderMutationExtension()
