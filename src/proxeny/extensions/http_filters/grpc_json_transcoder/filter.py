"""The filter of one request (Envoy: ``source/extensions/filters/http/grpc_json_transcoder``).

A request whose method and path belong to a rule goes on as a gRPC request, and its response comes back as JSON; all
others pass untouched. A unary response is held until its trailers tell the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.extensions.http_filters.grpc_json_transcoder import grpc_status, http_body
from proxeny.extensions.http_filters.grpc_json_transcoder.config import FieldPathError, TranscoderConfig
from proxeny.extensions.http_filters.grpc_json_transcoder.json_writer import JsonWriter
from proxeny.extensions.http_filters.grpc_json_transcoder.request_translator import (
    NO_LIST,
    MessageTranslator,
    RequestInfo,
    RequestTranslator,
    frame,
)
from proxeny.extensions.http_filters.grpc_json_transcoder.response_translator import ResponseTranslator
from proxeny.extensions.http_filters.grpc_json_transcoder.wire import TranslationError
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.http.grpc import GRPC_MESSAGE, GRPC_STATUS, is_grpc_request, is_grpc_response
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.grpc_frames import FrameDecoder
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.config import Method
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.stats import Block

STATS: Final = Schema(
    "grpc_json_transcoder", gauges=("transcoder_request_buffer_bytes", "transcoder_response_buffer_bytes")
)
REQUEST_BYTES: Final = STATS.slot("transcoder_request_buffer_bytes")
RESPONSE_BYTES: Final = STATS.slot("transcoder_response_buffer_bytes")

CONTINUE: Final = FilterHeadersStatus.CONTINUE
STOP: Final = FilterHeadersStatus.STOP_ITERATION
DATA_CONTINUE: Final = FilterDataStatus.CONTINUE
DATA_BUFFER: Final = FilterDataStatus.STOP_ITERATION_AND_BUFFER
DATA_NO_BUFFER: Final = FilterDataStatus.STOP_ITERATION_NO_BUFFER

METHOD: Final = b":method"
PATH: Final = b":path"
STATUS: Final = b":status"
CONTENT_TYPE: Final = b"content-type"
CONTENT_LENGTH: Final = b"content-length"
APPLICATION_GRPC: Final = b"application/grpc"
JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream"
ORIGINAL_METHOD: Final = b"x-envoy-original-method"
ORIGINAL_PATH: Final = b"x-envoy-original-path"

EARLY: Final = "early_grpc_json_transcode_failure"
FAILED: Final = "grpc_json_transcode_failure"
BUFFER_WORDS: Final = b"the transcoder's internal buffer size exceeds the configured limit."
MOST_PIECE: Final = 1 << 20
"""Of a streamed HttpBody (Envoy: ``JsonTranscoderConfig::MaxStreamedPieceSize``): gRPC refuses 4 MB by default."""


class JsonTranscoder(StreamFilter):
    """One request and its response."""

    __slots__ = (
        "_body", "_config", "_content_type", "_extensions", "_failed", "_first_sent", "_frames", "_has_body", "_held",
        "_initial", "_method", "_own_config", "_request", "_request_counted", "_response", "_response_counted",
        "_response_headers", "_stats", "_type_is_set",
    )  # fmt: skip

    _config: TranscoderConfig
    """That of the route, if it has one."""
    _request: RequestTranslator
    _response: ResponseTranslator

    def __init__(self, config: TranscoderConfig, stats: Block) -> None:
        self._own_config = config
        self._stats = stats
        self._method: Method | None = None
        """Set when the request is transcoded."""
        self._failed = False
        self._response_headers: HeaderMap | None = None
        self._has_body = False
        self._held = b""
        """JSON of a unary response."""
        self._request_counted = 0
        self._response_counted = 0
        # Of requests and responses that are an HttpBody.
        self._body = bytearray()
        self._initial = b""
        self._content_type = b""
        self._extensions = b""
        self._first_sent = False
        self._frames: FrameDecoder | None = None
        self._type_is_set = False

    # Requests.

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Find the method and make a gRPC request of this one."""
        config = self._config = self.decoder_callbacks.per_filter_config() or self._own_config
        if config.disabled or is_grpc_request(headers):
            return CONTINUE
        path, _, query = (headers.get(PATH) or b"").partition(b"?")
        found = config.lookup(headers.get(METHOD) or b"", path, query)
        if found is None:
            if not config.reject_unknown_method:
                return CONTINUE
            return self._refuse_early(404, b"Could not resolve " + path + b" to a method.", "NOT_FOUND")
        rule, bindings = found
        method: Method = rule.method
        unknown: dict[bytes, list[bytes]] = {}
        try:
            fields = config.resolve_bindings(method, bindings, unknown)
        except FieldPathError as error:
            if not config.reject_unknown_parameters:
                return CONTINUE
            return self._refuse_early(400, error.message, "INVALID_ARGUMENT")
        info = RequestInfo(
            config.registry, method.request, rule.body_path, fields, config.any_case, config.refuse_collisions
        )
        self._method = method
        self._expand_limits()
        self._response = ResponseTranslator(config.registry, method.response, method.server_streaming, config.options)
        if method.request_is_http_body and not self._begin_http_body(headers, info, unknown):
            return STOP
        self._rewrite(headers, method)
        if end_stream:
            return self._end_with_headers(method, info)
        if not method.request_is_http_body:
            self._request = RequestTranslator(info, method.client_streaming)
        return CONTINUE

    def _refuse_early(self, status: int, body: bytes, code: str) -> FilterHeadersStatus:
        self._failed = True
        self.decoder_callbacks.send_local_reply(status, body, None, None, f"{EARLY}{{{code}}}")
        return STOP

    def _expand_limits(self) -> None:
        callbacks, config = self.decoder_callbacks, self._config
        if config.max_request_body is not None and config.max_request_body > callbacks.decoder_buffer_limit():
            callbacks.set_decoder_buffer_limit(config.max_request_body)
        if (
            config.max_response_body is not None
            and config.max_response_body > self.encoder_callbacks.encoder_buffer_limit()
        ):
            self.encoder_callbacks.set_encoder_buffer_limit(config.max_response_body)

    def _rewrite(self, headers: HeaderMap, method: Method) -> None:
        headers.remove(CONTENT_LENGTH)
        headers.set(CONTENT_TYPE, APPLICATION_GRPC)
        headers.set(ORIGINAL_PATH, headers.get(PATH) or b"")
        headers.add(ORIGINAL_METHOD, headers.get(METHOD) or b"")
        headers.set(PATH, method.path)
        headers.set(METHOD, b"POST")
        headers.set(b"te", b"trailers")
        if not self._config.keeps_route:
            self.decoder_callbacks.clear_route_cache()

    def _end_with_headers(self, method: Method, info: RequestInfo) -> FilterHeadersStatus:
        """There is no body: the URL alone makes the message."""
        if method.request_is_http_body:
            self._add_request_data(self._http_body_message())
            return CONTINUE
        if method.client_streaming:
            error: bytes | None = NO_LIST
            message = None
        else:
            message, error = _empty_object(info)
        if error is not None:
            # The reply is of the route that the gRPC request has.
            _ = self.decoder_callbacks.route
        if self._request_is_refused(error, EARLY):
            return STOP
        if message is not None:
            self._add_request_data(frame(message))
        return CONTINUE

    def _add_request_data(self, data: bytes) -> None:
        if data:
            self.decoder_callbacks.add_decoded_data(Buffer(data), True)

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """The body, piece by piece."""
        method = self._method
        if method is None or self._failed:
            return DATA_CONTINUE
        piece = data.take()
        if method.request_is_http_body:
            return self._take_http_body(method, piece, data, end_stream)
        request = self._request
        request.feed(piece)
        self._count_request(request.stored)
        if self._is_too_large(request.stored):
            return DATA_NO_BUFFER
        if end_stream:
            request.end()
        data.append(request.read())
        self._count_request(request.stored)
        return DATA_NO_BUFFER if self._request_is_refused(request.error, FAILED) else DATA_CONTINUE

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """They end the body."""
        method = self._method
        if method is None or self._failed:
            return FilterTrailersStatus.CONTINUE
        if method.request_is_http_body:
            self._add_request_data(self._http_body_message())
        else:
            self._request.end()
            self._add_request_data(self._request.read())
            self._count_request(self._request.stored)
        return FilterTrailersStatus.CONTINUE

    def _count_request(self, stored: int) -> None:
        if stored != self._request_counted:
            self._stats.add(REQUEST_BYTES, stored - self._request_counted)
            self._request_counted = stored

    def _is_too_large(self, size: int) -> bool:
        limit = self._config.max_request_body
        if size <= (self.decoder_callbacks.decoder_buffer_limit() if limit is None else limit):
            return False
        self._failed = True
        self.decoder_callbacks.send_local_reply(
            413,
            b"Request rejected because " + BUFFER_WORDS,
            None,
            None,
            f"{FAILED}{{request_buffer_size_limit_reached}}",
        )
        return True

    def _request_is_refused(self, error: bytes | None, details: str) -> bool:
        if error is None:
            return False
        self._failed = True
        self.decoder_callbacks.send_local_reply(400, error, None, None, details + "{INVALID_ARGUMENT}")
        return True

    # Requests whose body is an HttpBody.

    def _begin_http_body(self, headers: HeaderMap, info: RequestInfo, unknown: dict[bytes, list[bytes]]) -> bool:
        """Encode what the URL binds; False when that cannot be."""
        self._content_type = headers.get(CONTENT_TYPE) or b""
        self._extensions = http_body.unknown_parameters(unknown)
        message, error = _empty_object(info)
        self._initial = message or b""
        return not self._request_is_refused(error, FAILED)

    def _take_http_body(self, method: Method, piece: bytes, data: Buffer, end_stream: bool) -> FilterDataStatus:
        self._body += piece
        self._count_request(len(self._body))
        if method.client_streaming:
            while True:
                data.append(self._http_body_message())
                if not self._body:
                    return DATA_CONTINUE
        if self._is_too_large(len(self._body)):
            return DATA_NO_BUFFER
        if not end_stream:
            return DATA_BUFFER
        data.append(self._http_body_message())
        return DATA_CONTINUE

    def _http_body_message(self) -> bytes:
        """A message of what was kept of the body (of a stream, MOST_PIECE at most); nothing when there is no more."""
        body, method = self._body, self._method
        if self._first_sent and not body:
            return b""
        assert method is not None
        piece = bytes(body[:MOST_PIECE] if method.client_streaming else body)
        envelope = http_body.envelope(method.body_path, self._content_type, self._extensions, len(piece))
        message = frame(b"".join((self._initial, envelope, piece)))
        del body[: len(piece)]
        self._initial = self._content_type = b""
        self._first_sent = True
        self._count_request(len(body))
        return message

    # Responses.

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Hold the head of a unary response; what is not gRPC passes."""
        method = self._method
        if method is None or self._failed:
            return CONTINUE
        if not is_grpc_response(headers, end_stream):
            self._failed = True
            return CONTINUE
        self._response_headers = headers
        if end_stream:
            if method.server_streaming:
                headers.set(CONTENT_TYPE, self._stream_type())
            self._finish(method, headers)
            return CONTINUE
        headers.set(CONTENT_TYPE, self._stream_type() if method.server_streaming else JSON)
        return CONTINUE if method.server_streaming and not method.response_is_http_body else STOP

    def _stream_type(self) -> bytes:
        return EVENT_STREAM if self._config.options.server_sent_events else JSON

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Messages become JSON as they arrive."""
        method = self._method
        if method is None or self._failed:
            return DATA_CONTINUE
        self._has_body = True
        if method.response_is_http_body:
            return self._give_http_body(method, data, end_stream)
        response = self._response
        response.feed(data.take())
        stored = response.stored + len(self._held)
        self._count_response(stored)
        if self._response_is_too_large(stored):
            return DATA_NO_BUFFER
        if end_stream:
            response.end()
        self._held += response.read()
        self._count_response(response.stored + len(self._held))
        if self._response_is_refused():
            return DATA_NO_BUFFER
        if not method.server_streaming and not end_stream:
            return DATA_NO_BUFFER
        data.append(self._take_held())
        return DATA_CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """They tell the status."""
        method = self._method
        if method is not None and not self._failed:
            self._finish(method, trailers)
        return FilterTrailersStatus.CONTINUE

    def _take_held(self) -> bytes:
        held, self._held = self._held, b""
        self._count_response(self._response.stored)
        return held

    def _count_response(self, stored: int) -> None:
        if stored != self._response_counted:
            self._stats.add(RESPONSE_BYTES, stored - self._response_counted)
            self._response_counted = stored

    def _response_is_too_large(self, size: int) -> bool:
        limit = self._config.max_response_body
        if size <= (self.encoder_callbacks.encoder_buffer_limit() if limit is None else limit):
            return False
        self._failed = True
        self.encoder_callbacks.send_local_reply(
            500, b"Response not transcoded because " + BUFFER_WORDS, None, None,
            f"{FAILED}{{response_buffer_size_limit_reached}}",
        )  # fmt: skip
        return True

    def _response_is_refused(self) -> bool:
        error = self._response.error
        if error is None:
            return False
        self._failed = True
        self.encoder_callbacks.send_local_reply(502, error.message, None, None, f"{FAILED}{{{error.code}}}")
        return True

    def _give_http_body(self, method: Method, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Take the data of each message out of it; the first one says of what type it is."""
        headers = self._response_headers
        assert headers is not None
        if self._frames is None:
            self._frames = FrameDecoder()
        messages = self._frames.decode(data)
        for _, message in messages:
            if not message:
                continue
            try:
                content_type, body = http_body.parse(message, method.response_body_path)
            except http_body.Malformed:
                self._failed = True
                self.encoder_callbacks.reset_stream()
                return DATA_NO_BUFFER
            data.append(body)
            if not method.server_streaming:
                headers.set(CONTENT_TYPE, content_type)
                headers.set(CONTENT_LENGTH, b"%d" % len(body))
                break
            if not self._type_is_set:
                headers.set(CONTENT_TYPE, content_type)
                self._type_is_set = True
        if end_stream or (method.server_streaming and (messages or self._type_is_set)):
            return DATA_CONTINUE
        return DATA_BUFFER

    def _finish(self, method: Method, trailers: HeaderMap) -> None:
        """The status is known; ``trailers`` may be the head itself."""
        headers, callbacks = self._response_headers, self.encoder_callbacks
        assert headers is not None
        self._response.end()
        status = grpc_status.status_of(trailers)
        trailers_only = headers is trailers
        if status is not None and self._converts_status(headers, trailers, status):
            return
        if not method.response_is_http_body:
            self._held += self._response.read()
            if self._response_is_refused():
                return
            if self._held:
                callbacks.add_encoded_data(Buffer(self._take_held()), True)
        if method.server_streaming and not trailers_only:
            return
        headers.set(STATUS, b"%d" % grpc_status.to_http(status))
        if not trailers_only:
            if status is not None and status != grpc_status.INVALID:
                headers.set(GRPC_STATUS, b"%d" % status)
            message = trailers.get(GRPC_MESSAGE)
            if message is not None:
                headers.set(GRPC_MESSAGE, message)
        self._drop_trailer_header(headers)
        if not method.server_streaming:
            buffered = callbacks.encoding_buffer()
            headers.set(CONTENT_LENGTH, b"0" if buffered is None else b"%d" % len(buffered))

    def _drop_trailer_header(self, headers: HeaderMap) -> None:
        """An HTTP/1 client gets no trailers."""
        if self.encoder_callbacks.stream_info.protocol in ("HTTP/1.0", "HTTP/1.1"):
            headers.remove(b"trailer")

    def _converts_status(self, headers: HeaderMap, trailers: HeaderMap, status: int) -> bool:
        """Make a ``google.rpc.Status`` the body of a response without one, if that is asked for and can be."""
        config = self._config
        if config.status_type is None or self._has_body or status in (grpc_status.OK, grpc_status.INVALID):
            return False
        try:
            body = JsonWriter(config.registry, config.options.json).write(
                config.status_type, grpc_status.encoded_status(trailers, status)
            )
        except TranslationError:
            return False
        headers.set(STATUS, b"%d" % grpc_status.to_http(status))
        if headers is trailers:
            headers.remove_many((GRPC_STATUS, GRPC_MESSAGE, grpc_status.DETAILS))
        self._drop_trailer_header(headers)
        headers.set(CONTENT_TYPE, JSON)
        headers.set(CONTENT_LENGTH, b"%d" % len(body))
        self.encoder_callbacks.add_encoded_data(Buffer(body), False)
        return True

    def on_destroy(self) -> None:
        """Nothing is kept any more."""
        self._count_request(0)
        self._count_response(0)


def _empty_object(info: RequestInfo) -> tuple[bytes | None, bytes | None]:
    """The message of a body without anything in it, and what is wrong with it."""
    translator = MessageTranslator(info)
    translator.writer.start_object(b"")
    translator.writer.end_object()
    return translator.take(), translator.error
