"""The terminal HTTP filter of the admin listener (Envoy: AdminFilter)."""

from __future__ import annotations

import logging

from proxeny.admin.handler import AdminHandler
from proxeny.admin.piecewise_body import PiecewiseBody
from proxeny.admin.response import respond
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap

log = logging.getLogger("proxeny.admin")

MAX_BODY = 1024 * 1024
"""Forms for /runtime_modify are small; nothing else has a use for a body."""


class AdminFilter(StreamFilter):
    """Collects the request and answers it when it is complete."""

    __slots__ = ("_answer_body", "_body", "_handler", "_method", "_path", "_refused")

    def __init__(self, handler: AdminHandler) -> None:
        self._handler = handler
        self._method = b""
        self._path = b""
        self._body = Buffer()
        self._refused = False
        self._answer_body: PiecewiseBody | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        self._method = headers.get(b":method") or b""
        self._path = headers.get(b":path") or b""
        if end_stream:
            self._answer()
        return FilterHeadersStatus.STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        if not self._refused:
            self._body.move_all(data)
            if len(self._body) > MAX_BODY:
                self._refused = True
                self._body = Buffer()
                self.decoder_callbacks.send_local_reply(
                    413, b"Payload Too Large", None, None, "request_payload_too_large"
                )
            elif end_stream:
                self._answer()
        return FilterDataStatus.STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        if not self._refused:
            self._answer()
        return FilterTrailersStatus.STOP_ITERATION

    def _answer(self) -> None:
        try:
            response = self._handler.run(self._method, self._path, self._body.take())
        except Exception:
            # A page that fails is a bug of ours; whoever asks hears of it, and the connection lives on.
            log.exception("admin: %r failed", self._path)
            response = respond("Internal Server Error\n", 500)
        headers = HeaderMap([(b":status", b"%d" % response.status), *response.headers])
        callbacks = self.decoder_callbacks
        # Always with a body, if an empty one, as Envoy answers: such a response is chunked.
        callbacks.encode_headers(headers, False, "admin_filter_response")
        if isinstance(response.body, bytes) or self._method == b"HEAD":
            body = Buffer()
            body.append(response.body if isinstance(response.body, bytes) else b"")
            callbacks.encode_data(body, True)
        else:
            self._answer_body = PiecewiseBody(callbacks, response.body)

    def on_destroy(self) -> None:
        if self._answer_body is not None:
            self._answer_body.close()


class AdminFilterFactory:
    """Makes the filter of each admin request."""

    __slots__ = ("_handler",)
    name = "envoy.filters.http.admin"

    def __init__(self, handler: AdminHandler) -> None:
        self._handler = handler

    def create(self) -> AdminFilter:
        """A fresh filter."""
        return AdminFilter(self._handler)
