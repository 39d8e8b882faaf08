"""What a route may ask of one request: read where it is asked for, and once however many routes ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.matcher.cookie import parse_cookies
from proxeny.matcher.query import QueryParameters, parse_query

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo


class RequestFacts:
    """One request during one look-up; ``path`` is without query, fragment and, where asked, path parameters."""

    __slots__ = ("_cookies", "_query", "headers", "info", "path", "random_value")

    def __init__(self, headers: HeaderMap, path: bytes, info: StreamInfo | None, random_value: int) -> None:
        self.headers = headers
        self.path = path
        self.info = info
        self.random_value = random_value
        self._query: QueryParameters | None = None
        self._cookies: dict[bytes, bytes] | None = None

    def query(self) -> QueryParameters:
        """The first value of each query parameter."""
        found = self._query
        if found is None:
            found = self._query = parse_query(self.headers.get(b":path") or b"")
        return found

    def cookies(self) -> dict[bytes, bytes]:
        """The first value of each cookie."""
        found = self._cookies
        if found is None:
            found = self._cookies = parse_cookies(self.headers)
        return found
