"""Stands where a discovered HTTP filter has no configuration: every request is answered with 500."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.http.filter import FilterHeadersStatus, StreamFilter
from proxeny.network.stream_info import ResponseFlag

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap


class MissingConfigFilter(StreamFilter):
    """Envoy: ``Http::MissingConfigFilter``."""

    __slots__ = ()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """The answer."""
        callbacks = self.decoder_callbacks
        callbacks.stream_info.set_flag(ResponseFlag.NO_FILTER_CONFIG_FOUND)
        callbacks.send_local_reply(500, b"", None, None, "")
        return FilterHeadersStatus.STOP_ITERATION


class MissingConfigFactory:
    """Has the name of the filter for which it stands."""

    __slots__ = ("name",)

    filter_class: Final = MissingConfigFilter
    is_terminal: Final = False
    rehearses: Final = True

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> MissingConfigFilter:
        """The filter of one request."""
        return MissingConfigFilter()
