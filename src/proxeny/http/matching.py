"""What the unified matcher knows of a request (Envoy: ``Http::Matching::HttpMatchingData``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import ConnectionInfo, StreamInfo

HTTP_INPUT: Final = "http_input"
"""The kind of data inputs that read it."""


class HttpMatchingData:
    """One request; None stands for what has not come yet."""

    __slots__ = ("request_headers", "request_trailers", "response_headers", "response_trailers", "stream_info")

    def __init__(
        self,
        request_headers: HeaderMap | None,
        stream_info: StreamInfo | None,
        request_trailers: HeaderMap | None = None,
        response_headers: HeaderMap | None = None,
        response_trailers: HeaderMap | None = None,
    ) -> None:
        self.request_headers = request_headers
        self.stream_info = stream_info
        self.request_trailers = request_trailers
        self.response_headers = response_headers
        self.response_trailers = response_trailers

    @property
    def connection_info(self) -> ConnectionInfo:
        """What is known of the client's connection."""
        assert self.stream_info is not None
        return self.stream_info.connection
