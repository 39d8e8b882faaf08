"""The checks of a request that need no route yet, in Envoy's order (``ConnectionManagerImpl::ActiveStream``)."""

from __future__ import annotations

from proxeny.http import stats as s
from proxeny.http.header_sanitizing import CONNECTION, has_token
from proxeny.http.host_normalization import strip_port, strip_trailing_dot
from proxeny.http.path_normalization import NormalizePathAction
from proxeny.http.stream_timeouts import StreamTimeouts
from proxeny.kernel.headers import HeaderMap
from proxeny.network.grpc_status import is_grpc_content_type
from proxeny.network.overload_state import falls_within

METHOD = b":method"
PATH = b":path"
AUTHORITY = b":authority"
STATUS = b":status"
EXPECT = b"expect"
PROXY_CONNECTION = b"proxy-connection"
CONTENT_TYPE = b"content-type"
CLOSE = b"close"
KEEP_ALIVE = b"keep-alive"
SLASH = 0x2F


def mark_local_overload(headers: HeaderMap) -> None:
    """``append_local_overload``: it is this proxy that is overloaded."""
    headers.set(b"x-envoy-local-overloaded", b"true")


class RequestChecks(StreamTimeouts):
    """Base of ActiveStream: what is refused, answered or normalized before routing."""

    __slots__ = ()

    def _wants_close(self, headers: HeaderMap, protocol: str) -> bool:
        connection = headers.get(CONNECTION)
        if protocol == "HTTP/1.0":
            return not has_token(connection, KEEP_ALIVE)
        if connection is not None and has_token(connection, CLOSE):
            return True
        proxy_connection = headers.get(PROXY_CONNECTION)
        return proxy_connection is not None and has_token(proxy_connection, CLOSE)

    def _answer_expect(self, headers: HeaderMap) -> None:
        if self.config.proxy_100_continue or headers.get_joined(EXPECT).lower() != b"100-continue":  # type: ignore[union-attr]
            return
        continue_headers = HeaderMap(((STATUS, b"100"),))
        self._charge(100)
        self.encoder.encode_1xx_headers(continue_headers)
        headers.remove(EXPECT)

    def _is_overload(self) -> bool:
        """Answer instead of serving, with the probability that the overload action has."""
        config = self.config
        if not falls_within(config.random.random(), config.overload.stop_accepting_requests):
            return False
        config.stats.inc(s.RQ_OVERLOAD_CLOSE)
        mark = mark_local_overload if config.append_local_overload else None
        self.send_local_reply(503, b"envoy overloaded", mark, None, "overload")
        return True

    def _reject_unidentified(self, status: int) -> None:
        """Answer a request of which a detector says that nobody knows where it is from."""
        self.config.stats.inc(s.RQ_REJECTED_VIA_IP_DETECTION)
        self.send_local_reply(status, b"", None, None, "rejecting_because_detection_failed")

    def _check_request(self, headers: HeaderMap, protocol: str) -> bool:
        config = self.config
        if protocol == "HTTP/1.0":
            if not config.accept_http_10:
                self.send_local_reply(426, b"", None, None, "low_version")
                return False
            if config.default_host_for_http_10 and not headers.get(AUTHORITY):
                headers.set(AUTHORITY, config.default_host_for_http_10)
        if headers.get(AUTHORITY) is None:
            self.send_local_reply(400, b"", None, None, "missing_host_header")
            return False
        path = headers.get(PATH)
        if not path:
            if path is None and headers.get(METHOD) == b"CONNECT":
                return True
            self.send_local_reply(404, b"", None, None, "missing_path_rejected")
            return False
        if path[0] != SLASH:
            return self._check_odd_path(headers, path)
        # 0x23: a fragment. Asked for a number, bytes need no search for bytes.
        if (config.normalizes_path or 0x23 in path) and not self._normalize_path(headers, path):
            return False
        if config.strip_matching_port or config.strip_any_port or config.strip_trailing_dot:
            self._normalize_host(headers)
        return True

    def _check_odd_path(self, headers: HeaderMap, path: bytes) -> bool:
        self.config.stats.inc(s.RQ_NON_RELATIVE_PATH)
        self.send_local_reply(404, b"", None, None, "absolute_path_rejected")
        return False

    def _normalize_path(self, headers: HeaderMap, path: bytes) -> bool:
        config = self.config
        normalized, action = config.path_normalizer.apply(path)
        if normalized != path:
            headers.set(PATH, normalized)
        if action is not NormalizePathAction.CONTINUE:
            grpc = is_grpc_content_type(headers.get(CONTENT_TYPE))
            if action is NormalizePathAction.REJECT or grpc:
                config.stats.inc(s.RQ_FAILED_PATH_NORMALIZATION)
                self.send_local_reply(400, b"", None, None, "path_normalization_failed")
            else:
                config.stats.inc(s.RQ_REDIRECTED_WITH_NORMALIZED_PATH)
                target = normalized
                self.send_local_reply(
                    307, b"", lambda answer: answer.set(b"location", target), None, "path_normalization_failed"
                )
            return False
        return True

    def _normalize_host(self, headers: HeaderMap) -> None:
        config = self.config
        host = headers.get(AUTHORITY)
        assert host is not None
        wanted = strip_trailing_dot(host) if config.strip_trailing_dot else host
        if config.strip_any_port:
            wanted = strip_port(wanted, None)
        elif config.strip_matching_port:
            wanted = strip_port(wanted, self.manager.connection_info.local_address.port)
        if wanted != host:
            headers.set(AUTHORITY, wanted)
