"""The stream filter that runs one request through a user filter.

``build`` makes a subclass per configured filter that overrides only what the user's class needs, so that an untouched
direction costs nothing and a synchronous header hook costs little more than its call.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.python.body_flow import BodyFlow, BodyTooLarge, RequestFlow, ResponseFlow
from proxeny.extensions.http_filters.python.http_filter import HttpFilter
from proxeny.extensions.http_filters.python.messages import (
    Headers,
    Message,
    Request,
    Response,
    new_request,
    new_response,
)
from proxeny.extensions.http_filters.python.stats import LOCAL_REPLIES, ON_REQUEST_US, ON_RESPONSE_US
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.python.factory import PythonFilterFactory
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap

CONTINUE: Final = FilterHeadersStatus.CONTINUE
STOP_ITERATION: Final = FilterHeadersStatus.STOP_ITERATION
DATA_CONTINUE: Final = FilterDataStatus.CONTINUE
TRAILERS_CONTINUE: Final = FilterTrailersStatus.CONTINUE


class PythonStreamFilter(StreamFilter):
    """What all user filters' streams share. ``over``: nothing more is to be done for this stream."""

    # Class attributes in place of slots and a constructor: an instance is made for every request.
    factory: PythonFilterFactory
    over: bool = False
    user: Any = None
    request: Request | None = None
    response: Response | None = None

    # Hooks of the filter contract; a built subclass takes those that its user class needs.

    def request_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """decode_headers for a class with a synchronous ``on_request`` and no request body hook."""
        factory = self.factory
        if factory.extension.has_route_configs and self._disabled():
            return CONTINUE
        started = monotonic_ns()
        self.user = user = factory.user_class()
        self.request = request = new_request(self, headers)
        try:
            user.on_request(request)
        except Exception as error:
            return self.fail(error)
        elapsed = (monotonic_ns() - started) // 1000
        factory.stats.record(ON_REQUEST_US, elapsed)
        if elapsed > factory.budget_us:
            factory.over_budget("on_request", elapsed)
        if request.flow is not None:
            return request.flow.after_headers(None)
        return STOP_ITERATION if self.over else CONTINUE

    def request_headers_with_flow(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """decode_headers for all other classes."""
        factory = self.factory
        if factory.extension.has_route_configs and self._disabled():
            return CONTINUE
        self.user = user = factory.user_class()
        self.request = request = new_request(self, headers)
        flow = self.need_flow(request)
        flow.ended = end_stream
        return self._run_header_hook(user.on_request if factory.has_on_request else None, request, flow, ON_REQUEST_US)

    def _run_header_hook(self, hook: Any, message: Message, flow: BodyFlow, slot: int) -> FilterHeadersStatus:
        factory = self.factory
        outcome = None
        if hook is not None:
            started = monotonic_ns()
            try:
                outcome = hook(message)
            except Exception as error:
                return self.fail(error)
            if outcome is None:
                elapsed = (monotonic_ns() - started) // 1000
                factory.stats.record(slot, elapsed)
                if elapsed > factory.budget_us:
                    factory.over_budget("on_request" if slot == ON_REQUEST_US else "on_response", elapsed)
        if self.over:
            return STOP_ITERATION
        return flow.after_headers(outcome)

    def request_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """decode_data, where a hook is async or wants the body."""
        request = self.request
        if request is None or request.flow is None:
            return DATA_CONTINUE
        return request.flow.on_data(data, end_stream)

    def request_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """decode_trailers, likewise."""
        request = self.request
        if request is None or request.flow is None:
            return TRAILERS_CONTINUE
        return request.flow.on_trailers()

    def response_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """encode_headers for a class with a synchronous ``on_response`` and no response body hook."""
        factory = self.factory
        user, request = self.user, self.request
        if user is None or request is None or self.over:
            made = self._new_response(headers)
            if made is None:
                return CONTINUE
            user, response = self.user, made
        else:
            self.response = response = new_response(self, headers, request)
        started = monotonic_ns()
        try:
            user.on_response(response)
        except Exception as error:
            return self.fail(error)
        elapsed = (monotonic_ns() - started) // 1000
        factory.stats.record(ON_RESPONSE_US, elapsed)
        if elapsed > factory.budget_us:
            factory.over_budget("on_response", elapsed)
        if response.flow is not None:
            return response.flow.after_headers(None)
        return STOP_ITERATION if self.over else CONTINUE

    def response_headers_with_flow(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """encode_headers for all other classes."""
        response = self._new_response(headers)
        if response is None:
            return CONTINUE
        flow = self.need_flow(response)
        flow.ended = end_stream
        hook = self.user.on_response if self.factory.has_on_response else None
        return self._run_header_hook(hook, response, flow, ON_RESPONSE_US)

    def _new_response(self, headers: HeaderMap) -> Response | None:
        """None where the filter is switched off, or has failed: then the response is our own."""
        if self.over:
            return None
        user = self.user
        if user is None:
            # The request did not come by: the class has no hook for it, or somebody before us answered.
            if self.factory.extension.has_route_configs and self._disabled():
                return None
            request_headers = self.decoder_callbacks.request_headers
            if request_headers is None:
                return None
            self.user = self.factory.user_class()
            self.request = new_request(self, request_headers)
        assert self.request is not None
        self.response = response = new_response(self, headers, self.request)
        return response

    def response_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """encode_data, where a hook is async or wants the body."""
        response = self.response
        if response is None or response.flow is None:
            return DATA_CONTINUE
        return response.flow.on_data(data, end_stream)

    def response_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """encode_trailers, likewise."""
        response = self.response
        if response is None or response.flow is None:
            return TRAILERS_CONTINUE
        return response.flow.on_trailers()

    def stream_complete(self) -> None:
        """on_stream_complete for a class with ``on_complete``."""
        if self.user is None or self.request is None:
            return
        try:
            self.user.on_complete(self.request)
        except Exception as error:
            self.factory.report(error)

    def on_destroy(self) -> None:
        """The stream is gone: its tasks are cancelled."""
        self.over = True
        request, response = self.request, self.response
        if request is not None and request.flow is not None:
            request.flow.cancel()
        if response is not None and response.flow is not None:
            response.flow.cancel()
        self.request = self.response = self.user = None

    # What messages and flows ask for.

    def need_flow(self, message: Message) -> BodyFlow:
        """The flow of a message; made at the first use."""
        flow = message.flow
        if flow is None:
            factory = self.factory
            user = self.user
            if isinstance(message, Response):
                hook = user.on_response_body if factory.has_on_response_body else None
                flow = ResponseFlow(self, message, hook, factory.user_class.buffer_response_body, True)
            else:
                hook = user.on_request_body if factory.has_on_request_body else None
                flow = RequestFlow(self, message, hook, factory.user_class.buffer_request_body, True)
            message.flow = flow
        return flow

    def _disabled(self) -> bool:
        route_config = self.decoder_callbacks.per_filter_config()
        return route_config is not None and route_config.disabled

    def route_config(self) -> dict[str, Any]:
        """The ``config`` of the most specific PythonPerRoute."""
        route_config = self.decoder_callbacks.per_filter_config()
        return {} if route_config is None else route_config.config

    def respond(self, status: int, headers: dict[str, str] | None, body: bytes, details: str) -> None:
        """Answer from here."""
        if self.over:
            return
        if not 200 <= status <= 599:
            raise ValueError(f"not a final status code: {status}")
        extra = list((headers or {}).items())
        self.over = True

        def modify(response: HeaderMap) -> None:
            wrapped = Headers(response)
            for name, value in extra:
                wrapped[name] = value

        self.factory.stats.inc(LOCAL_REPLIES)
        self.decoder_callbacks.send_local_reply(status, body, modify if extra else None, None, details)

    def fail(self, error: BaseException) -> FilterHeadersStatus:
        """A hook raised: 500 for this request (413 for a body that is too large), nothing for any other."""
        if self.over:
            return STOP_ITERATION
        self.over = True
        code, details = 500, "python_filter_exception"
        if isinstance(error, BodyTooLarge):
            code, details = 413, "request_payload_too_large"
        else:
            self.factory.report(error)
        self.decoder_callbacks.send_local_reply(code, b"", None, None, details)
        return STOP_ITERATION

    def pause_response(self, paused: bool) -> None:
        """Slow the upstream down, or let it go on."""
        manager: Any = self.encoder_callbacks
        manager = manager.manager
        if paused:
            manager.response_data_too_large()
        else:
            manager.response_data_drained()


def overrides(user_class: type[HttpFilter], hook: str) -> bool:
    """Whether the user's class has this hook."""
    return getattr(user_class, hook) is not getattr(HttpFilter, hook)


def build(user_class: type[HttpFilter], factory: PythonFilterFactory) -> type[PythonStreamFilter]:
    """The stream filter class for a user class."""
    base = PythonStreamFilter
    members: dict[str, Any] = {"factory": factory}
    if overrides(user_class, "on_request_body") or iscoroutinefunction(user_class.on_request):
        members["decode_headers"] = base.request_headers_with_flow
        members["decode_data"] = base.request_data
        members["decode_trailers"] = base.request_trailers
    elif overrides(user_class, "on_request"):
        members["decode_headers"] = base.request_headers
    if overrides(user_class, "on_response_body") or iscoroutinefunction(user_class.on_response):
        members["encode_headers"] = base.response_headers_with_flow
        members["encode_data"] = base.response_data
        members["encode_trailers"] = base.response_trailers
    elif overrides(user_class, "on_response"):
        members["encode_headers"] = base.response_headers
    if overrides(user_class, "on_complete"):
        members["on_stream_complete"] = base.stream_complete
    return type(f"{user_class.__name__}StreamFilter", (base,), members)
