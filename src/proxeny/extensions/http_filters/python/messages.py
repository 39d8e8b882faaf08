"""What hooks see of a request and of its response: text in, text out, over the data plane's header maps and buffers.

Header text is UTF-8; bytes that are none survive a round trip (``surrogateescape``).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.python.body_flow import BodyFlow
    from proxeny.extensions.http_filters.python.stream_filter import PythonStreamFilter
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

_MAX_NAMES: Final = 4096


class _Names(dict[str, bytes]):
    """Header names as bytes. Names are few and stand in filters' code; the cap is for those that compute them."""

    def __missing__(self, name: str) -> bytes:
        known = name.lower().encode("utf-8")
        if len(self) < _MAX_NAMES:
            self[name] = known
        return known


_NAMES: Final = _Names()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


class Headers(MutableMapping[str, str]):
    """Header fields by name, whatever its case. A repeated field reads as one value joined by commas."""

    __slots__ = ("_map",)

    def __init__(self, header_map: HeaderMap) -> None:
        # new_request and new_response do this themselves.
        self._map = header_map

    def __getitem__(self, name: str) -> str:
        value = self._map.get_joined(_NAMES[name])
        if value is None:
            raise KeyError(name)
        return value.decode("utf-8", "surrogateescape")

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or ``default``."""
        value = self._map.get_joined(_NAMES[name])
        return default if value is None else value.decode("utf-8", "surrogateescape")

    def __setitem__(self, name: str, value: str | bytes) -> None:
        self._map.set(_NAMES[name], value.encode("utf-8", "surrogateescape") if type(value) is str else _bytes(value))

    def __delitem__(self, name: str) -> None:
        if not self._map.remove(_NAMES[name]):
            raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _NAMES[name] in self._map

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([_text(name) for name, _ in self._map.items()]))

    def __len__(self) -> int:
        return len({name for name, _ in self._map.items()})

    def add(self, name: str, value: str | bytes) -> None:
        """One more field of this name."""
        self._map.add(_NAMES[name], _bytes(value))

    def get_all(self, name: str) -> list[str]:
        """Every value of a repeated field."""
        return [_text(value) for value in self._map.get_all(_NAMES[name])]

    def fields(self) -> list[tuple[str, str]]:
        """All fields in their order, repeated ones as they are."""
        return [(_text(name), _text(value)) for name, value in self._map.items()]

    def __repr__(self) -> str:
        return f"Headers({self.fields()!r})"


class Message:
    """What requests and responses have in common; made by ``new_request`` and ``new_response``."""

    __slots__ = ("_filter", "_headers", "flow", "headers")

    _filter: PythonStreamFilter
    _headers: HeaderMap
    flow: BodyFlow | None
    headers: Headers
    """The header fields; changes take effect."""

    async def body(self) -> bytes:
        """The whole body: waits for it, within the buffer limit (else the answer is a 413, or a 500 for a response)."""
        return await self._filter.need_flow(self).whole_body()

    def set_body(self, body: str | bytes) -> None:
        """Replace the body (or add one), and set ``content-length``. In an async ``on_request`` or ``on_response``,
        after ``await body()`` if the message has a body."""
        self._filter.need_flow(self).replace_body(_bytes(body))

    def skip_body(self) -> None:
        """Do not call the body hook for this message (from its header hook): the body passes untouched, unbuffered."""
        self._filter.need_flow(self).skip_body()

    def respond(
        self,
        status: int,
        headers: dict[str, str] | None = None,
        body: str | bytes = b"",
        details: str = "python_filter_response",
    ) -> None:
        """Answer from here: nothing of the request goes further, nothing of a response that has not left yet."""
        self._filter.respond(status, headers, _bytes(body), details)

    @property
    def stream_info(self) -> StreamInfo:
        """Facts of the stream, as access logs see them."""
        return self._filter.decoder_callbacks.stream_info

    @property
    def metadata(self) -> dict[str, Any]:
        """Dynamic metadata by namespace (``%DYNAMIC_METADATA(...)%``)."""
        return self.stream_info.dynamic_metadata

    @property
    def filter_state(self) -> dict[str, Any]:
        """Objects for other filters of this stream."""
        return self.stream_info.filter_state

    @property
    def route_config(self) -> dict[str, Any]:
        """The ``config`` of the route's PythonPerRoute, the most specific; empty when there is none."""
        return self._filter.route_config()

    @property
    def route_name(self) -> str:
        """The name of the matched route."""
        route = self._filter.decoder_callbacks.route
        return "" if route is None else str(route.name)


def _pseudo(name: bytes, doc: str) -> Any:
    def get(self: Message) -> str:
        return _text(self._headers.get(name) or b"")

    def put(self: Message, value: str) -> None:
        self._headers.set(name, _bytes(value))

    return property(get, put, doc=doc)


class Request(Message):
    """A request on its way to the upstream."""

    __slots__ = ()

    method = _pseudo(b":method", "``GET``, ``POST``...")
    path = _pseudo(b":path", "Path and query; after a change ``clear_route()`` matches again.")
    authority = _pseudo(b":authority", "Host and port that the client named.")
    scheme = _pseudo(b":scheme", "``http`` or ``https``.")

    def clear_route(self) -> None:
        """Match the route again when it is next needed."""
        self._filter.decoder_callbacks.clear_route_cache()

    @property
    def remote_address(self) -> str:
        """The client's address, ``ip:port``."""
        return self.stream_info.downstream_remote_address.as_string()

    @property
    def id(self) -> str:
        """``x-request-id``."""
        return _text(self._headers.get(b"x-request-id") or b"")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.authority}{self.path}>"


class Response(Message):
    """A response on its way to the client; from the upstream, or from this proxy."""

    __slots__ = ("request",)

    request: Request
    """The request that it answers."""

    @property
    def status(self) -> int:
        """The status code."""
        return int(self._headers.get(b":status") or b"0")

    @status.setter
    def status(self, code: int) -> None:
        if not 200 <= code <= 599:
            raise ValueError(f"not a final status code: {code}")
        self._headers.set(b":status", b"%d" % code)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


# Constructors without a call per class: one of each runs for every request (measured: 0.3 us less together).


def new_request(filter_: PythonStreamFilter, headers: HeaderMap) -> Request:
    """The request of a stream."""
    wrapped = _new_object(Headers)
    wrapped._map = headers
    request = _new_object(Request)
    request._filter = filter_
    request._headers = headers
    request.headers = wrapped
    request.flow = None
    return request


def new_response(filter_: PythonStreamFilter, headers: HeaderMap, request: Request) -> Response:
    """The response of a stream."""
    wrapped = _new_object(Headers)
    wrapped._map = headers
    response = _new_object(Response)
    response._filter = filter_
    response._headers = headers
    response.headers = wrapped
    response.flow = None
    response.request = request
    return response


_new_object: Final = object.__new__
