"""``track_cluster_stats``: sizes of requests and responses, and how much of their time they took (Envoy:
``ClusterRequestResponseSizeStats``, ``ClusterTimeoutBudgetStats``).

For clusters that are tracked, an attempt's ``log`` is one of these, with the log proper (if any) behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.upstream.stats import REQUEST_RESPONSE_SIZES, TIMEOUT_BUDGETS

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.stats import Block
    from proxeny.router.filter_replies import RouterReplies
    from proxeny.router.upstream_log import AttemptLog
    from proxeny.router.upstream_request import UpstreamRequest

BUDGET: Final = TIMEOUT_BUDGETS.slot("upstream_rq_timeout_budget_percent_used")
PER_TRY_BUDGET: Final = TIMEOUT_BUDGETS.slot("upstream_rq_timeout_budget_per_try_percent_used")
RQ_HEADERS_SIZE: Final = REQUEST_RESPONSE_SIZES.slot("upstream_rq_headers_size")
RQ_HEADERS_COUNT: Final = REQUEST_RESPONSE_SIZES.slot("upstream_rq_headers_count")
RQ_BODY_SIZE: Final = REQUEST_RESPONSE_SIZES.slot("upstream_rq_body_size")
RS_HEADERS_SIZE: Final = REQUEST_RESPONSE_SIZES.slot("upstream_rs_headers_size")
RS_HEADERS_COUNT: Final = REQUEST_RESPONSE_SIZES.slot("upstream_rs_headers_count")
RS_BODY_SIZE: Final = REQUEST_RESPONSE_SIZES.slot("upstream_rs_body_size")


class AttemptMeasures:
    """What is measured of one attempt; the interface is that of ``AttemptLog``."""

    __slots__ = (
        "_attempt",
        "_budgets",
        "_headers_count",
        "_headers_size",
        "_inner",
        "_sizes",
        "_start_ns",
        "per_try",
        "received",
        "sent",
    )

    def __init__(self, attempt: UpstreamRequest, inner: AttemptLog | None) -> None:
        router = attempt.router
        self._attempt: UpstreamRequest | None = attempt
        self._inner = inner
        self._budgets = router.cluster.timeout_budgets
        self._sizes = router.cluster.request_response_sizes
        self._start_ns = router.config.clock.monotonic_ns()
        self._headers_count = 0
        self._headers_size = 0
        self.per_try = True
        """Whether the time of the try was what limited it."""
        self.sent = 0
        """Bytes of request body."""
        self.received = 0
        """Bytes of response body."""

    @property
    def flags(self) -> int:
        """The log's."""
        return 0 if self._inner is None else self._inner.flags

    @flags.setter
    def flags(self, flags: int) -> None:
        if self._inner is not None:
            self._inner.flags = flags

    def on_pool_ready(self) -> None:
        """The attempt has its stream."""
        if self._inner is not None:
            self._inner.on_pool_ready()

    def on_headers(self, headers: HeaderMap) -> None:
        """The response head, before anybody changes it."""
        self._headers_count = len(headers)
        self._headers_size = headers.byte_size()
        if self._inner is not None:
            self._inner.on_headers(headers)

    def on_trailers(self, trailers: HeaderMap) -> None:
        """The response's trailers."""
        self._show_bytes()
        if self._inner is not None:
            self._inner.on_trailers(trailers)

    def end(self, with_last_bytes: bool = False) -> None:
        """The attempt is over; ``with_last_bytes``: with a whole response."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            router = attempt.router
            if self._budgets is not None:
                if with_last_bytes:
                    record_budget(self._budgets, router)
                if self.per_try:
                    elapsed = (router.config.clock.monotonic_ns() - self._start_ns) // 1_000_000
                    self._budgets.record(PER_TRY_BUDGET, percentage(elapsed, router.per_try_timeout_ms))
            if self._sizes is not None:
                self._record_sizes(self._sizes, router.request_headers)
        self._show_bytes()
        if self._inner is not None:
            self._inner.end(with_last_bytes)

    def _show_bytes(self) -> None:
        if self._inner is not None:
            self._inner.sent, self._inner.received = self.sent, self.received

    def _record_sizes(self, sizes: Block, request: HeaderMap) -> None:
        sizes.record(RQ_HEADERS_SIZE, request.byte_size())
        sizes.record(RQ_HEADERS_COUNT, len(request))
        sizes.record(RQ_BODY_SIZE, self.sent)
        if self._headers_count:
            sizes.record(RS_HEADERS_SIZE, self._headers_size)
            sizes.record(RS_HEADERS_COUNT, self._headers_count)
            sizes.record(RS_BODY_SIZE, self.received)


def end_by_timeout(upstream: UpstreamRequest) -> None:
    """The time of the whole is up while this attempt waits for an answer: that of the try played no part."""
    if isinstance(upstream.log, AttemptMeasures):
        upstream.log.per_try = False


def record_budget(budgets: Block, router: RouterReplies) -> None:
    """The request is answered, or its time was up: how much of that was used."""
    if router.complete_ns:
        elapsed = (router.config.clock.monotonic_ns() - router.complete_ns) // 1_000_000
        budgets.record(BUDGET, percentage(elapsed, router.timeout_ms))


def percentage(elapsed_ms: int, timeout_ms: int) -> int:
    """How many hundredths of a time were used; of an endless one none."""
    return elapsed_ms * 100 // timeout_ms if timeout_ms else 0
