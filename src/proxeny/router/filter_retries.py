"""Attempts after the first: retries, and hedged ones beside others that are still under way (Envoy: the part of
``Router::Filter`` around ``doRetry``).

``upstream`` is the latest attempt. With ``hedge_on_per_try_timeout`` an attempt that takes too long goes on while the
next one is sent; those before the latest are in ``others`` then. The first good response wins: the rest are reset. A
bad one is only passed on when nothing better can come any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.codec import StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag
from proxeny.router.filter_replies import ATTEMPT_COUNT, FLAG_UO, TRUE, RouterReplies
from proxeny.router.retry_state import RETRY_GRPC_ON, RETRY_HEADERS, RETRY_ON, Decision, RetryState, RetryStatus
from proxeny.upstream.stats import HOST_RQ_ERROR

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.router.retry_policy import RetryPolicy
    from proxeny.router.upstream_request import UpstreamRequest

FLAG_URX: Final = FLAG_BITS[ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED]
TIMEOUT_RETRY: Final = b"x-envoy-is-timeout-retry"


class RouterRetries(RouterReplies):
    """How a router filter tries again."""

    __slots__ = ()

    # What the filter supplies.

    def start_attempt(self, cluster: Any, host: Any, end_stream: bool) -> UpstreamRequest:
        """Send the request's headers to ``host``; what is returned may have failed already."""
        raise AssertionError("abstract")

    def set_timeout_headers(self, headers: HeaderMap, elapsed_ms: int) -> None:
        """Tell the upstream what is left of the time."""
        raise AssertionError("abstract")

    # Who may ask for retries.

    def ask_for_retries(self, policy: RetryPolicy, headers: HeaderMap) -> None:
        """The request's own headers have something to say about retries; they are taken out of it."""
        self.retry_policy = None
        if policy.retry_on or RETRY_ON in headers or RETRY_GRPC_ON in headers:
            state = RetryState(self, policy, self._do_retry)
            state.merge_headers(headers)
            if state.enabled:
                self.retry_policy = policy
                self.retry_state = state
        headers.remove_many(RETRY_HEADERS)

    def need_retry_state(self) -> RetryState:
        """The state of this request's retries; only while ``retry_policy`` is set."""
        state = self.retry_state
        if state is None:
            assert self.retry_policy is not None
            state = self.retry_state = RetryState(self, self.retry_policy, self._do_retry)
        return state

    def end_retries(self) -> None:
        """No retry will happen any more."""
        self.retry_policy = None
        self.retry_pending = False
        if self.retry_state is not None:
            self.retry_state.close()
            self.retry_state = None

    # Outcomes.

    def retry_after_headers(self, upstream: UpstreamRequest, code: int, headers: HeaderMap, end_stream: bool) -> bool:
        """Whether this response is not the one to pass on: the request is tried again, or may yet succeed elsewhere."""
        state = self.need_retry_state()
        if upstream.retried:
            decision = state.would_retry_headers(code, headers, self.request_headers)
            gave_up = decision is not Decision.NO
        else:
            state.on_host_attempted(upstream.host)
            status = state.should_retry_headers(code, headers, self.request_headers)
            if self._accepted(status, False):
                upstream.host.stats.inc(HOST_RQ_ERROR)
                self.charge_retry(code)
                self.forget(upstream)
                if end_stream and upstream.encode_complete:
                    upstream.encoder = None
                    upstream.close()
                else:
                    upstream.reset_stream()
                return True
            gave_up = status is not RetryStatus.NO
        if gave_up and (self.retry_pending or self.others_await_headers(upstream)):
            upstream.host.stats.inc(HOST_RQ_ERROR)
            self.forget(upstream)
            upstream.reset_stream()
            return True
        self.end_retries()
        return False

    def retry_after_reset(self, upstream: UpstreamRequest, reason: StreamResetReason, timed_out: bool) -> bool:
        """Whether the request is tried again after an attempt without a response."""
        if self.retry_policy is None or self.response_started or upstream.retried:
            return False
        state = self.need_retry_state()
        state.on_host_attempted(upstream.host)
        if not self._accepted(state.should_retry_reset(reason, upstream.wrote_headers), timed_out):
            return False
        if upstream.host is not None:
            upstream.host.stats.inc(HOST_RQ_ERROR)
        self.forget(upstream)
        upstream.close()
        return True

    def hedge(self, upstream: UpstreamRequest) -> None:
        """An attempt takes too long: another one beside it, if there may be one."""
        if self.response_started or self.retry_policy is None:
            return
        state = self.need_retry_state()
        state.on_host_attempted(upstream.host)
        if self._accepted(state.should_hedge(), True):
            upstream.retried = True

    def _accepted(self, status: RetryStatus, timed_out: bool) -> bool:
        if status is RetryStatus.YES:
            self.retry_pending = True
            if self.entry.virtual_host.include_is_timeout_retry_header:
                self.request_headers.set(TIMEOUT_RETRY, TRUE if timed_out else b"false")
            return True
        if status is RetryStatus.NO_OVERFLOW:
            self.stream_info.flags |= FLAG_UO
        elif status is RetryStatus.NO_RETRY_LIMIT_EXCEEDED:
            self.stream_info.flags |= FLAG_URX
        return False

    # Several attempts at a time.

    def others_await_headers(self, upstream: UpstreamRequest) -> bool:
        """Whether an attempt besides ``upstream`` may still bring a response."""
        if self.others is None:
            return False
        attempts = self.others if self.upstream is None else [*self.others, self.upstream]
        return any([one is not upstream and one.awaiting_headers for one in attempts])

    def forget(self, upstream: UpstreamRequest) -> None:
        """This attempt is over."""
        others = self.others
        if others is None:
            self.upstream = None
            return
        if self.upstream is upstream:
            self.upstream = others.pop()
        else:
            others.remove(upstream)
        if not others:
            self.others = None

    def settle(self, winner: UpstreamRequest) -> None:
        """The response of ``winner`` is passed on; the others are reset."""
        losers = self.others or []
        if self.upstream is not None and self.upstream is not winner:
            losers = [*losers, self.upstream]
        self.others = None
        self.upstream = winner
        for upstream in losers:
            if upstream is not winner:
                upstream.reset_stream()
        winner.restore_stream_info()

    # Trying again.

    def _do_retry(self) -> None:
        """The back-off is over: choose a host again and send the request again."""
        self.is_retry = True
        self.retry_pending = False
        self.attempt_count += 1
        self.stream_info.attempt_count = self.attempt_count
        self.stream_info.keep_attempt(self.request_headers)
        # The cluster may have gone or have been replaced meanwhile.
        cluster = self.config.get_cluster(self.cluster_name)
        host = None
        if cluster is not None:
            self.cluster = self.stream_info.upstream_cluster = cluster.info
            host = self.need_retry_state().choose_host(cluster, self)
        if host is None:
            self._no_healthy_upstream()
            self._cleanup()
            return
        self.stream_info.upstream_host = host
        headers = self.request_headers
        if self.entry.virtual_host.include_request_attempt_count:
            headers.set(ATTEMPT_COUNT, b"%d" % self.attempt_count)
        elapsed = (self.config.clock.monotonic_ns() - self.complete_ns) // 1_000_000 if self.complete_ns else 0
        self.set_timeout_headers(headers, elapsed)
        if self.upstream is not None:
            self.others = [*(self.others or ()), self.upstream]
        self._send_again(cluster, host)

    def _send_again(self, cluster: Any, host: Any) -> None:
        body, trailers = self.request_body, self.request_trailers
        upstream = self.start_attempt(cluster, host, self.request_complete and body is None and trailers is None)
        # The attempt may have failed at once.
        if body is not None and self.upstream is upstream:
            again = Buffer()
            again.copy_from(body)
            upstream.accept_data(again, self.request_complete and trailers is None)
        if trailers is not None and self.upstream is upstream:
            upstream.accept_trailers(trailers)
