"""Which requests are traced, and what headers say of it (Envoy: ``mutateTracingRequestHeader``, ``traceRequest``).

There is no tracer yet: what is left of ``tracing`` without one is the digit of the request id, the statistics, the
``traceable`` filter of access logs, and the operations of routes' decorators in ``x-envoy-decorator-operation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.formatter.substitution import compile as compile_format
from proxeny.http import stats as s
from proxeny.http.request_id import TraceReason, UuidRequestId

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

CLIENT_TRACE_ID: Final = b"x-client-trace-id"
FORCE_TRACE: Final = b"x-envoy-force-trace"
DECORATOR_OPERATION: Final = b"x-envoy-decorator-operation"
OUTBOUND: Final = 2
"""``envoy.config.core.v3.TrafficDirection``."""
TEN_THOUSAND: Final = 10_000
DENOMINATORS: Final = (100, TEN_THOUSAND, 1_000_000)
"""By ``FractionalPercent.DenominatorType``."""
ALWAYS: Final = (100, 100)
COUNTERS: Final = {
    TraceReason.NOT_TRACEABLE: s.TRACING_NOT_TRACEABLE,
    TraceReason.HEALTH_CHECK: s.TRACING_HEALTH_CHECK,
    TraceReason.SAMPLING: s.TRACING_RANDOM_SAMPLING,
    TraceReason.SERVICE_FORCED: s.TRACING_SERVICE_FORCED,
    TraceReason.CLIENT_FORCED: s.TRACING_CLIENT_ENABLED,
}


class Sampling:
    """Three fractions, as numerator and denominator: of clients' wishes, of all requests, and of what is left then."""

    __slots__ = ("client", "overall", "random")

    def __init__(self, client: tuple[int, int], random: tuple[int, int], overall: tuple[int, int]) -> None:
        self.client = client
        self.random = random
        self.overall = overall

    @classmethod
    def of_manager(cls, message: Any) -> Sampling:
        """From the connection manager's ``tracing``: percents, to two digits."""
        client = (int(_percent(message, "client_sampling")), 100)
        random, overall = (
            (round(_percent(message, name) * 100), TEN_THOUSAND) for name in ("random_sampling", "overall_sampling")
        )
        return cls(client, random, overall)

    @classmethod
    def of_route(cls, message: Any) -> Sampling:
        """From a route's ``tracing``: what is not set is always."""
        client, random, overall = (
            (getattr(message, name).numerator, DENOMINATORS[getattr(message, name).denominator])
            if message.HasField(name)
            else ALWAYS
            for name in ("client_sampling", "random_sampling", "overall_sampling")
        )
        return cls(client, random, overall)


def _percent(message: Any, field: str) -> float:
    if not message.HasField(field):
        return 100.0
    value: float = getattr(message, field).value
    if not 0.0 <= value <= 100.0:
        raise ConfigError("Value not in the range of 0..100 range.")
    return value


class RequestTracing:
    """What was decided for one request."""

    __slots__ = ("operation", "reason")

    def __init__(self, reason: TraceReason) -> None:
        self.reason = reason
        self.operation = b""
        """The decorator's, where the response is to name it."""

    def is_forced(self, info: StreamInfo) -> bool:
        """Whether the request is traced because a service asked for it; health checks never are."""
        return self.reason is TraceReason.SERVICE_FORCED and not info.health_check


class Tracing:
    """The connection manager's ``tracing``, compiled."""

    __slots__ = ("_egress", "_random", "_request_id", "_runtime", "_sampling", "_stats")

    def __init__(self, message: Any, request_id: UuidRequestId, stats: Any, context: FactoryContext) -> None:
        self._sampling = Sampling.of_manager(message)
        self._request_id = request_id
        self._egress = context.listener_direction == OUTBOUND
        self._stats = stats
        self._runtime = context.runtime
        self._random = context.random

    def decide(self, headers: HeaderMap, info: StreamInfo, route: Any) -> None:
        """Whether the request is traced; its id says so from now on."""
        info.tracing = RequestTracing(self._reason(headers, route))

    def begin(self, headers: HeaderMap, info: StreamInfo, route: Any) -> None:
        """Count it, and tell the operation to those behind (outbound), or take it from those before (inbound)."""
        tracing = info.tracing
        reason = TraceReason.HEALTH_CHECK if info.health_check else tracing.reason
        self._stats.inc(COUNTERS[reason])
        if route is not None and route.decorator and route.extra.decorator_propagate:
            tracing.operation = route.decorator.encode()
        if self._egress:
            if tracing.operation:
                headers.set(DECORATOR_OPERATION, tracing.operation)
            return
        operation = headers.get(DECORATOR_OPERATION)
        if operation is not None:
            headers.remove(DECORATOR_OPERATION)
            if operation:
                tracing.operation = b""

    def end(self, headers: HeaderMap, info: StreamInfo) -> None:
        """The response: name the operation to the client (inbound), or drop what the upstream says (outbound)."""
        if self._egress:
            headers.remove(DECORATOR_OPERATION)
        elif info.tracing is not None and info.tracing.operation:
            headers.set(DECORATOR_OPERATION, info.tracing.operation)

    def _reason(self, headers: HeaderMap, route: Any) -> TraceReason:
        request_id = self._request_id
        if not request_id.samples:
            return TraceReason.SAMPLING
        number = request_id.integer(headers)
        if number is None:
            return TraceReason.NOT_TRACEABLE
        number %= TEN_THOUSAND
        sampling = self._sampling if route is None or route.extra.sampling is None else route.extra.sampling
        reason = found = request_id.trace_reason(headers)
        if reason is TraceReason.NOT_TRACEABLE:
            reason = self._new_reason(headers, sampling, number)
        if reason is not TraceReason.NOT_TRACEABLE and not self._enabled(
            "tracing.global_enabled", sampling.overall, number
        ):
            reason = TraceReason.NOT_TRACEABLE
        if reason is not found:
            request_id.set_trace_reason(headers, reason)
        return reason

    def _new_reason(self, headers: HeaderMap, sampling: Sampling, number: int) -> TraceReason:
        if CLIENT_TRACE_ID in headers and self._enabled(
            "tracing.client_enabled", sampling.client, self._random.random()
        ):
            return TraceReason.CLIENT_FORCED
        if FORCE_TRACE in headers:
            return TraceReason.SERVICE_FORCED
        if self._enabled("tracing.random_sampling", sampling.random, number):
            return TraceReason.SAMPLING
        return TraceReason.NOT_TRACEABLE

    def _enabled(self, key: str, fraction: tuple[int, int], number: int) -> bool:
        numerator, denominator = fraction
        if self._runtime is None:
            return number % denominator < numerator
        return bool(self._runtime.feature_enabled(key, numerator, denominator, number))


def compile_tracing(config: Any, request_id: UuidRequestId, stats: Any, context: FactoryContext) -> Tracing | None:
    """``tracing``; None where it is not set."""
    if not config.HasField("tracing"):
        return None
    message = config.tracing
    if message.HasField("provider"):
        raise UnsupportedFieldError(f"tracing.provider '{message.provider.name}' is not supported yet")
    for operation in (message.operation, message.upstream_operation):
        if operation:
            compile_format(operation)
    return Tracing(message, request_id, stats, context)
