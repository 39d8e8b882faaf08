"""What the cases of outlier detection are: a cluster of its own each, what its hosts answer, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.differential.upstream import NEVER, RST, Answer

Exchange = tuple[Answer, dict[str, str]]
"""What the upstream answers, and the request's headers."""

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TYPE = "type.googleapis.com/"
WITHOUT_END = {
    "max_ejection_percent": 100,
    "interval": "600s",
    "base_ejection_time": "600s",
    "max_ejection_time": "600s",
}
"""Everybody may be ejected, and nobody comes back."""
SHORT = {"max_ejection_percent": 100, "interval": "0.03s", "base_ejection_time": "0.06s"}


@dataclass(frozen=True)
class OutlierCase:
    """``hosts`` are names of upstreams, or ``refused`` and ``silent``. The exchanges are repeated until the statistics
    are as ``until`` says (without the prefix ``ejections_``)."""

    name: str
    exchanges: tuple[Exchange, ...]
    until: dict[str, int]
    outlier: dict[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("up",)
    cluster: dict[str, Any] = field(default_factory=dict)
    route: dict[str, Any] = field(default_factory=dict)
    statuses: tuple[int, ...] = ()
    """Of the first round, where hosts are chosen in a known order."""
    tcp: bool = False
    repeats: bool = False
    flags: tuple[str, ...] = ()
    """The health flags at the end."""
    events: int | None = None
    """How many lines of the event log there must be; None: as many as Envoy has."""
    volatile: bool = False
    """Whether rates and what follows from the time of day may differ."""

    def proto(self) -> dict[str, Any]:
        """Its cluster."""
        endpoints = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self._port(host)}}}}
            for host in self.hosts
        ]
        made = {
            "name": self.name,
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": self.name, "endpoints": [{"lb_endpoints": endpoints}]},
            "outlier_detection": self.outlier,
            "circuit_breakers": {"thresholds": [{"max_retries": 100}]},
            "common_lb_config": {"update_merge_window": "0s"},
        }
        return {**made, **self.cluster}

    @staticmethod
    def _port(host: str) -> str:
        mark = host if host in ("refused", "silent") else f"upstream:{host}"
        return "{{" + mark + "}}"


def answer(code: int, headers: str = "") -> Answer:
    return (f"HTTP/1.1 {code} X\r\n{headers}content-length: 0\r\n\r\n".encode(),)


def on(code: int, headers: str = "", **request: str) -> Exchange:
    return answer(code, headers), {name.replace("_", "-"): value for name, value in request.items()}


def matching(**matcher: Any) -> dict[str, Any]:
    """Protocol options with an error matcher."""
    options = {
        "@type": TYPE + HTTP_OPTIONS,
        "explicit_http_config": {"http_protocol_options": {}},
        "outlier_detection": {"error_matcher": matcher},
    }
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: options}}


EJECTED = ("/failed_outlier_check",)
DEGRADED = ("/degraded_outlier_detection",)
HEALTHY = ("healthy",)
GRPC = {"content-type": "application/grpc", "te": "trailers"}
NOT_FOUND = {"http_response_headers_match": {"headers": [{"name": ":status", "string_match": {"exact": "404"}}]}}
RETRIED = {"retry_policy": {"retry_on": "5xx,reset,connect-failure", "num_retries": 4}}
FIVE = on(500)
BAD: Exchange = ((RST,), {})
SILENT: Exchange = ((NEVER,), {})


def grpc(status: str, code: int = 200) -> Exchange:
    return answer(code, f"content-type: application/grpc\r\ngrpc-status: {status}\r\n"), GRPC


CASES = [
    OutlierCase("consecutive", (FIVE,) * 6, {"enforced_total": 1}, WITHOUT_END, statuses=(500,) * 6, flags=EJECTED),
    OutlierCase("fewer", (*(FIVE,) * 4, on(200), *(FIVE,) * 4), {}, WITHOUT_END, flags=HEALTHY, events=0),
    OutlierCase("of_the_runtime", (FIVE, FIVE, on(200), FIVE, FIVE, FIVE, on(200)), {}, WITHOUT_END, events=0),
    OutlierCase("not_of_5xx", (on(499), on(404), on(302)) * 3, {}, WITHOUT_END, flags=HEALTHY, events=0),
    OutlierCase("overflow", (FIVE,) * 5, {"overflow": 1}, flags=HEALTHY, events=0),
    OutlierCase(
        "always_one", (FIVE,) * 5, {"enforced_total": 1}, {**WITHOUT_END, "max_ejection_percent": 0,
        "always_eject_one_host": True}, flags=EJECTED,
    ),
    OutlierCase("none_of_0", (FIVE,) * 12, {}, {**WITHOUT_END, "consecutive_5xx": 0}, flags=HEALTHY, events=0),
    OutlierCase(
        "not_enforced", (FIVE,) * 5, {"detected_consecutive_5xx": 1}, {**WITHOUT_END, "enforcing_consecutive_5xx": 0},
        flags=HEALTHY, events=1,
    ),
    OutlierCase(
        "gateway_detected", (on(502), on(503), on(504)), {"detected_consecutive_gateway_failure": 1},
        {**WITHOUT_END, "consecutive_gateway_failure": 3, "consecutive_5xx": 9}, flags=HEALTHY, events=1,
    ),
    OutlierCase(
        "gateway_enforced", (on(502), on(503), on(504)), {"enforced_consecutive_gateway_failure": 1},
        {**WITHOUT_END, "consecutive_gateway_failure": 3, "consecutive_5xx": 3,
         "enforcing_consecutive_gateway_failure": 100}, flags=EJECTED, events=1,
    ),
    OutlierCase(
        "gateway_interrupted", (on(502), on(503), on(500), on(504), on(502)), {"enforced_consecutive_5xx": 1},
        {**WITHOUT_END, "consecutive_gateway_failure": 3}, flags=EJECTED, events=1,
    ),
    OutlierCase("returns", (FIVE,) * 5, {"enforced_total": 1, "active": 0}, SHORT, flags=HEALTHY, events=2),
    OutlierCase(
        "returns_with_jitter", (FIVE,) * 5, {"enforced_total": 1, "active": 0},
        {**SHORT, "max_ejection_time_jitter": "0.05s"}, flags=HEALTHY, events=2,
    ),
    OutlierCase("reset", (BAD,) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, flags=EJECTED),
    OutlierCase("refused", (FIVE,) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, ("refused",), flags=EJECTED),
    OutlierCase(
        "refused_split", (FIVE,) * 5, {"enforced_consecutive_local_origin_failure": 1},
        {**WITHOUT_END, "split_external_local_origin_errors": True}, ("refused",), flags=EJECTED,
    ),
    OutlierCase(
        "split_500", (FIVE,) * 5, {"enforced_consecutive_5xx": 1},
        {**WITHOUT_END, "split_external_local_origin_errors": True, "consecutive_gateway_failure": 1}, flags=EJECTED,
        events=1,
    ),
    OutlierCase(
        "split_reset", (BAD,) * 6, {},
        {**WITHOUT_END, "split_external_local_origin_errors": True, "consecutive_5xx": 3}, flags=HEALTHY, events=0,
    ),
    OutlierCase(
        "connect_timeout", (FIVE,) * 2, {"enforced_consecutive_gateway_failure": 1},
        {**WITHOUT_END, "consecutive_gateway_failure": 2, "enforcing_consecutive_gateway_failure": 100},
        ("silent",), {"connect_timeout": "0.05s"}, statuses=(503, 503), flags=EJECTED,
    ),
    OutlierCase(
        "timeout", (SILENT,) * 2, {"enforced_consecutive_5xx": 1}, {**WITHOUT_END, "consecutive_5xx": 2},
        route={"timeout": "0.05s"}, statuses=(504, 504), flags=EJECTED,
    ),
    OutlierCase(
        "timeout_split", (SILENT,) * 2, {}, {**WITHOUT_END, "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 2}, route={"timeout": "0.05s"}, flags=HEALTHY, events=0,
    ),
    OutlierCase(
        "timeout_204", ((SILENT[0], {"x-envoy-upstream-rq-timeout-alt-response": "1"}),) * 2, {},
        {**WITHOUT_END, "consecutive_5xx": 2}, route={"timeout": "0.05s"}, statuses=(204, 204), flags=HEALTHY,
    ),
    OutlierCase(
        "per_try_timeout", (SILENT,), {"enforced_consecutive_5xx": 1}, {**WITHOUT_END, "consecutive_5xx": 3},
        route={"retry_policy": {"retry_on": "5xx,reset", "num_retries": 2, "per_try_timeout": "0.05s"}},
        statuses=(504,), flags=EJECTED,
    ),
    OutlierCase(
        "hedged", (SILENT,), {"enforced_consecutive_5xx": 1}, {**WITHOUT_END, "consecutive_5xx": 2},
        route={"timeout": "0.5s", "hedge_policy": {"hedge_on_per_try_timeout": True},
               "retry_policy": {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.05s"}},
        statuses=(504,), flags=EJECTED,
    ),
    OutlierCase("retries", (FIVE,), {"enforced_consecutive_5xx": 1}, WITHOUT_END, route=RETRIED, statuses=(500,),
                flags=EJECTED),
    OutlierCase("own_limits", (FIVE,) * 6, {}, WITHOUT_END, statuses=(503,) * 6, flags=HEALTHY, events=0,
                cluster={"circuit_breakers": {"thresholds": [{"max_pending_requests": 0}]}}),
    OutlierCase("grpc_14", (grpc("14"),) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, flags=EJECTED),
    OutlierCase("grpc_0_with_500", (grpc("0", 500),) * 5, {}, WITHOUT_END, flags=HEALTHY),
    OutlierCase("grpc_99", (grpc("99"),) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, flags=EJECTED),
    OutlierCase("grpc_letters", (grpc("x"),) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, flags=EJECTED),
    OutlierCase("grpc_empty", (grpc(""),) * 5, {}, WITHOUT_END, flags=HEALTHY),
    OutlierCase("grpc_5", (grpc("5"),) * 5, {}, WITHOUT_END, flags=HEALTHY),
    OutlierCase("grpc_status_of_no_grpc", (on(200, "grpc-status: 14\r\n"),) * 5, {}, WITHOUT_END, flags=HEALTHY),
    OutlierCase("matched", (on(404),) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, cluster=matching(**NOT_FOUND),
                flags=EJECTED),
    OutlierCase("not_matched", (FIVE,) * 5, {}, WITHOUT_END, cluster=matching(**NOT_FOUND), flags=HEALTHY),
    OutlierCase(
        "matched_503", (on(503),) * 5, {"detected_consecutive_gateway_failure": 1, "enforced_consecutive_5xx": 1},
        WITHOUT_END, cluster=matching(any_match=True), flags=EJECTED, events=2,
    ),
    OutlierCase("grpc_14_not_matched", (grpc("14"),) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END,
                cluster=matching(**NOT_FOUND), flags=EJECTED),
    OutlierCase("grpc_matched", (grpc("0"),) * 5, {}, WITHOUT_END, cluster=matching(any_match=True), flags=HEALTHY),
    OutlierCase("matched_reset", (BAD,) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, flags=EJECTED,
                cluster=matching(**NOT_FOUND)),
    OutlierCase("degraded", (on(200, "x-envoy-degraded: 1\r\n"),) * 2, {"detected_degradation": 1},
                {**WITHOUT_END, "detect_degraded_hosts": True, "max_ejection_percent": 0}, flags=DEGRADED, events=1),
    OutlierCase("degraded_unasked", (on(200, "x-envoy-degraded: 1\r\n"),) * 2, {}, WITHOUT_END, flags=HEALTHY),
    OutlierCase("degraded_404", (on(404, "x-envoy-degraded: false\r\n"),), {"detected_degradation": 1},
                {**WITHOUT_END, "detect_degraded_hosts": True}, flags=DEGRADED),
    OutlierCase("degraded_500", (on(500, "x-envoy-degraded: 1\r\n"),), {},
                {**WITHOUT_END, "detect_degraded_hosts": True}, flags=HEALTHY),
    OutlierCase("degraded_returns", (on(200, "x-envoy-degraded: 1\r\n"),), {"detected_degradation": 1},
                {**SHORT, "detect_degraded_hosts": True}, flags=HEALTHY, events=2),
    OutlierCase(
        "degraded_and_ejected", (on(200, "x-envoy-degraded: 1\r\n"), FIVE, FIVE),
        {"detected_degradation": 1, "enforced_total": 1},
        {**WITHOUT_END, "detect_degraded_hosts": True, "consecutive_5xx": 2},
        flags=("/failed_outlier_check/degraded_outlier_detection",), events=2,
    ),
    OutlierCase("half", (FIVE,) * 40, {"enforced_total": 2}, {**WITHOUT_END, "max_ejection_percent": 50},
                ("bad", "worse", "bad2", "worse2"), volatile=True),
    OutlierCase("all", (FIVE,) * 40, {"enforced_total": 3, "active": 3}, WITHOUT_END, ("bad", "worse", "bad2"),
                repeats=True, volatile=True, events=3),
    OutlierCase("tcp_refused", ((b"", {}),) * 5, {"enforced_consecutive_5xx": 1}, WITHOUT_END, ("refused",), tcp=True,
                flags=EJECTED),
    OutlierCase(
        "tcp_silent", ((b"", {}),) * 2, {"enforced_consecutive_5xx": 1}, {**WITHOUT_END, "consecutive_5xx": 2},
        ("silent",), {"connect_timeout": "0.05s"}, tcp=True, flags=EJECTED,
    ),
    OutlierCase(
        "tcp_split", ((b"", {}),) * 3, {"enforced_consecutive_local_origin_failure": 1},
        {**WITHOUT_END, "split_external_local_origin_errors": True, "consecutive_local_origin_failure": 3},
        ("refused",), tcp=True, flags=EJECTED,
    ),
    OutlierCase(
        "success_rate", (on(200),) * 8, {"enforced_success_rate": 1},
        {**WITHOUT_END, "interval": "0.1s", "success_rate_minimum_hosts": 2, "success_rate_request_volume": 1,
         "success_rate_stdev_factor": 100, "failure_percentage_minimum_hosts": 9, "consecutive_5xx": 100000},
        ("up", "bad"), repeats=True, volatile=True, events=1,
    ),
    OutlierCase(
        "failure_percentage", (on(200),) * 8, {"enforced_failure_percentage": 1},
        {**WITHOUT_END, "interval": "0.1s", "failure_percentage_minimum_hosts": 2,
         "failure_percentage_request_volume": 1, "success_rate_minimum_hosts": 9, "enforcing_failure_percentage": 100,
         "consecutive_5xx": 100000},
        ("up", "bad"), repeats=True, volatile=True, events=1,
    ),
    OutlierCase(
        "local_success_rate", (on(200),) * 8, {"enforced_local_origin_success_rate": 1},
        {**WITHOUT_END, "interval": "0.1s", "split_external_local_origin_errors": True,
         "success_rate_minimum_hosts": 2, "success_rate_request_volume": 1, "success_rate_stdev_factor": 100,
         "failure_percentage_minimum_hosts": 9, "consecutive_local_origin_failure": 100000},
        ("up", "refused"), repeats=True, volatile=True, events=1,
    ),
    OutlierCase(
        "local_failure_percentage", (on(200),) * 8, {"enforced_local_origin_failure_percentage": 1},
        {**WITHOUT_END, "interval": "0.1s", "split_external_local_origin_errors": True,
         "success_rate_minimum_hosts": 9, "failure_percentage_minimum_hosts": 2,
         "failure_percentage_request_volume": 1, "enforcing_failure_percentage_local_origin": 100,
         "consecutive_local_origin_failure": 100000},
        ("up", "refused"), repeats=True, volatile=True, events=1,
    ),
]  # fmt: skip
