"""Data inputs of the unified matcher that read requests and responses (``envoy.type.matcher.v3``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from proxeny.extensions.matching.input_matchers.metadata import MetadataValue
from proxeny.formatter.values import metadata_value
from proxeny.matcher.inputs import NOT_AVAILABLE
from proxeny.matcher.query import parse_query

if TYPE_CHECKING:
    from proxeny.http.matching import HttpMatchingData
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

Headers = Callable[["HttpMatchingData"], "HeaderMap | None"]


class HeaderInput:
    """The values of a header, joined by commas."""

    __slots__ = ("_header", "_headers", "name")

    def __init__(self, kind: str, header: str, headers: Headers) -> None:
        self._header = header.lower().encode()
        self._headers = headers
        self.name = f"{kind} '{header}'"

    def get(self, data: HttpMatchingData) -> Any:
        """None where the header is missing."""
        headers = self._headers(data)
        return NOT_AVAILABLE if headers is None else headers.get_joined(self._header)


class HeaderInputFactory:
    """The registered factory for one kind of headers."""

    def __init__(self, kind: str, headers: Headers) -> None:
        self._kind = kind
        self._headers = headers

    def create_input(self, message: Any, context: FactoryContext) -> HeaderInput:
        """By the header's name."""
        return HeaderInput(self._kind, message.header_name, self._headers)


class QueryParameterInput:
    """The first value of a query parameter, percent-decoded."""

    __slots__ = ("_parameter", "name")

    def __init__(self, parameter: str) -> None:
        self._parameter = parameter.encode()
        self.name = f"query parameter '{parameter}'"

    def get(self, data: HttpMatchingData) -> Any:
        """None where there is no such parameter."""
        path = None if data.request_headers is None else data.request_headers.get(b":path")
        if path is None:
            return NOT_AVAILABLE
        for name, value in parse_query(path).items():
            if unquote_to_bytes(name) == self._parameter:
                return unquote_to_bytes(value)
        return None


class QueryParameterFactory:
    """The registered factory."""

    def create_input(self, message: Any, context: FactoryContext) -> QueryParameterInput:
        """By name."""
        return QueryParameterInput(message.query_param)


class StatusCodeInput:
    """The response's status code, or its class (``2xx``); its own factory."""

    __slots__ = ("_as_class", "name")

    def __init__(self, name: str, as_class: bool) -> None:
        self.name = name
        self._as_class = as_class

    def get(self, data: HttpMatchingData) -> Any:
        """NOT_AVAILABLE before the response came."""
        code = None if data.response_headers is None else data.response_headers.get(b":status")
        if code is None:
            return NOT_AVAILABLE
        if not self._as_class:
            return code
        return code[:1] + b"xx" if b"100" <= code <= b"599" else None

    def create_input(self, message: Any, context: FactoryContext) -> StatusCodeInput:
        """Itself."""
        return self


class DynamicMetadataInput:
    """A value of the dynamic metadata, for the matcher of metadata."""

    __slots__ = ("_namespace", "_path", "name")

    def __init__(self, namespace: str, path: tuple[str, ...]) -> None:
        self._namespace = namespace
        self._path = path
        self.name = f"dynamic metadata '{namespace}'"

    def get(self, data: HttpMatchingData) -> MetadataValue:
        """What is there now."""
        info = data.stream_info
        metadata = None if info is None else info.dynamic_metadata_map
        return MetadataValue(metadata_value(metadata, self._namespace, self._path))


class DynamicMetadataFactory:
    """The registered factory."""

    def create_input(self, message: Any, context: FactoryContext) -> DynamicMetadataInput:
        """By namespace and path."""
        return DynamicMetadataInput(message.filter, tuple([segment.key for segment in message.path]))


REQUEST_HEADER = HeaderInputFactory("request header", lambda data: data.request_headers)
REQUEST_TRAILER = HeaderInputFactory("request trailer", lambda data: data.request_trailers)
RESPONSE_HEADER = HeaderInputFactory("response header", lambda data: data.response_headers)
RESPONSE_TRAILER = HeaderInputFactory("response trailer", lambda data: data.response_trailers)
QUERY_PARAMETER = QueryParameterFactory()
STATUS_CODE = StatusCodeInput("status code", as_class=False)
STATUS_CODE_CLASS = StatusCodeInput("class of the status code", as_class=True)
DYNAMIC_METADATA = DynamicMetadataFactory()
