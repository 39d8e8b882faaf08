"""What is compared of active health checks: a cluster each, its hosts' answers, and what must come of it."""

from dataclasses import dataclass, field
from typing import Any

from tests.differential.checked_host import BAD, CLOSE, OK, RST, SILENT, H2Answer, pieces, then_close

ONCE = "no_traffic_interval: 600s"
"""The first check is the only one."""
OFTEN = "no_traffic_interval: 0.02s"
HTTP = 'http_health_check: {path: "/hc"}'
FAILED, TIMEOUT, DEGRADED = "/failed_active_hc", "/active_hc_timeout", "/degraded_active_hc"
EXCLUDED, HEALTHY = "/excluded_via_immediate_hc_fail", "healthy"


def http(fields: str) -> str:
    return f'http_health_check: {{path: "/hc", {fields}}}'


def tcp(fields: str = "") -> str:
    return f"tcp_health_check: {{{fields}}}"


def grpc(fields: str = "") -> str:
    return f"grpc_health_check: {{{fields}}}"


def response(head: str, body: bytes = b"ok", status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *([head] if head else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


DEGRADED_OK = response("x-envoy-degraded: true")
IMMEDIATE = response("x-envoy-immediate-health-check-fail: true", b"no", "503 Service Unavailable")
NAMED = response("x-envoy-upstream-healthchecked-cluster: good-1")
_GRPC = (("content-type", "application/grpc"),)
SERVING = H2Answer((*((":status", "200"),), *_GRPC), b"\0\0\0\0\x02\x08\x01", (("grpc-status", "0"),))
NOT_SERVING = H2Answer((*((":status", "200"),), *_GRPC), b"\0\0\0\0\x02\x08\x02", (("grpc-status", "0"),))
UNIMPLEMENTED = H2Answer((*((":status", "200"),), *_GRPC, ("grpc-status", "12")))


@dataclass(frozen=True, slots=True)
class HealthCase:
    """One cluster. ``flags``: of its host at the end; ``counts``: some counters, ``events``: kinds in order."""

    name: str
    check: str
    answers: tuple[Any, ...] = ()
    flags: str = HEALTHY
    counts: dict[str, int] = field(default_factory=dict)
    events: str | None = None
    interval: str = OFTEN
    common: str = "timeout: 60s"
    endpoint: str = ""
    """More fields of the endpoint; ``{port}`` is the host's."""
    address: str = "{port}"
    """The endpoint's port; ``refused``: one that refuses."""
    cluster: str = ""
    reads: int | None = None
    http2: bool = False
    more_checks: tuple[str, ...] = ()
    thresholds: str = "unhealthy_threshold: 2, healthy_threshold: 2"
    ignore: str = ""
    """A line that may differ: why is said at the case."""
    traffic: bytes = b""
    """What requests through the proxy are answered; they are sent once the checks are done."""
    requests: int = 1
    rests: bool = True
    """Whether a last check stays unanswered; else the case is over when all answers are given."""


HTTP2 = {"http2": True}
_SPEAKS_HTTP2 = (
    "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: "
    "{'@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, "
    "use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}}}"
)


def _grpc_case(name: str, answers: tuple[Any, ...], flags: str = HEALTHY, fields: str = "", **more: Any) -> HealthCase:
    return HealthCase(f"grpc_{name}", grpc(fields), answers, flags, cluster=_SPEAKS_HTTP2, http2=True, **more)


CASES = [
    HealthCase("ok", HTTP, (OK, OK), counts={"attempt": 3, "success": 2, "healthy": 1}, events="add"),
    HealthCase("bad", HTTP, (BAD,), FAILED, {"failure": 1, "network_failure": 0, "healthy": 0}, "fail"),
    HealthCase("bad_later", HTTP, (OK, BAD), FAILED, {"success": 1, "failure": 1}, "add eject"),
    HealthCase(
        "retriable_below", http("retriable_statuses: [{start: 500, end: 600}]"), (OK, BAD), counts={"failure": 1}
    ),
    HealthCase(
        "retriable_reached",
        http("retriable_statuses: [{start: 500, end: 600}]"),
        (OK, BAD, OK, BAD, BAD),
        FAILED,
        {"failure": 3},
        "add eject",
    ),
    HealthCase("recovers", HTTP, (BAD, OK, OK), counts={"success": 2, "healthy": 1}, events="fail add"),
    HealthCase("recovers_not_yet", HTTP, (BAD, OK), FAILED, {"success": 1, "healthy": 0}),
    HealthCase("flaps", HTTP, (BAD, OK, BAD, OK), FAILED, {"success": 2, "failure": 2}),
    HealthCase("closes", HTTP, (CLOSE,), FAILED, {"network_failure": 1}, "fail"),
    HealthCase("closes_later", HTTP, (OK, CLOSE), counts={"network_failure": 1}, events="add"),
    HealthCase("closes_twice", HTTP, (OK, CLOSE, CLOSE), FAILED, {"network_failure": 2}, "add eject"),
    HealthCase("resets", HTTP, (OK, RST, RST), FAILED, {"network_failure": 2}, "add eject"),
    HealthCase("a_check_between", HTTP, (OK, CLOSE, OK, CLOSE), counts={"network_failure": 2, "success": 2}),
    HealthCase("keeps_no_connection", HTTP, (OK, OK), common="timeout: 60s, reuse_connection: false"),
    HealthCase("connection_close", HTTP, (response("connection: close"), OK)),
    HealthCase("http_1_0", HTTP, (then_close(b"HTTP/1.0 200 OK\r\n\r\nok"), OK)),
    HealthCase("ends_with_fin", HTTP, (then_close(b"HTTP/1.1 200 OK\r\n\r\nok"), OK)),
    HealthCase("chunked", HTTP, (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK)),
    HealthCase(
        "no_content", http("expected_statuses: [{start: 204, end: 205}]"), (b"HTTP/1.1 204 N\r\n\r\n", OK), FAILED
    ),
    HealthCase(
        "expected_ranges", http("expected_statuses: [{start: 100, end: 200}, {start: 503, end: 504}]"), (BAD, BAD)
    ),
    HealthCase("continue_first", HTTP, (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK)),
    HealthCase("garbage", HTTP, (b"nonsense\r\n\r\n",), FAILED, {"network_failure": 1}, "fail"),
    HealthCase("too_much", HTTP, (OK + b"and more", OK), counts={"success": 2}),
    HealthCase("head", http("method: HEAD"), (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", OK[:-2])),
    HealthCase("post", http("method: POST, send: {text: '68656c6c6f'}"), (OK, OK)),
    HealthCase("put_binary", http("method: PUT, send: {binary: aGVsbG8=}"), (OK,)),
    HealthCase("host", http("host: a.test"), (OK,)),
    HealthCase("host_of_endpoint", http("host: a.test"), (OK,), endpoint="health_check_config: {hostname: b.test}"),
    HealthCase(
        "headers",
        http(
            "request_headers_to_add: [{header: {key: X-Check, value: '%PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS%'}}, "
            "{header: {key: x-b, value: b}, append_action: OVERWRITE_IF_EXISTS}], "
            "request_headers_to_remove: [user-agent]"
        ),
        (OK, OK),
    ),
    HealthCase("body", http("receive: [{text: '6f'}, {binary: aw==}]"), (pieces(OK[:-1], OK[-1:]), OK)),
    HealthCase("body_order", http("receive: [{text: '6b'}, {text: '6f'}]"), (OK,), FAILED, {"failure": 1}),
    HealthCase(
        "body_buffer",
        http("response_buffer_size: 4, receive: [{text: '656e64'}]"),
        (response("", b"the end"),),
        FAILED,
    ),
    HealthCase(
        "body_unlimited",
        http("response_buffer_size: 0, receive: [{text: '656e64'}]"),
        (response("", b"x" * 3000 + b"end"),),
    ),
    HealthCase("degraded", HTTP, (DEGRADED_OK,), DEGRADED, {"degraded": 1, "healthy": 1}, "add degraded"),
    # Envoy forgets to take such a host out of the gauge.
    HealthCase(
        "degraded_no_longer", HTTP, (DEGRADED_OK, OK), events="add degraded no_longer", ignore="health_check.degraded"
    ),
    HealthCase("degraded_later", HTTP, (OK, DEGRADED_OK), DEGRADED, {"degraded": 1}, "add degraded"),
    HealthCase("degraded_fails", HTTP, (DEGRADED_OK, BAD), f"{FAILED}{DEGRADED}", {"degraded": 1, "healthy": 0}),
    HealthCase("excluded", HTTP, (IMMEDIATE,), f"{FAILED}{EXCLUDED}", {"failure": 1}, "fail"),
    HealthCase("excluded_later", HTTP, (OK, IMMEDIATE), f"{FAILED}{EXCLUDED}", {"failure": 1}, "add eject"),
    HealthCase("excluded_recovers", HTTP, (IMMEDIATE, OK, OK), events="fail add"),
    HealthCase("not_excluded_when_ok", HTTP, (response("x-envoy-immediate-health-check-fail: true"),), events="add"),
    HealthCase("service", http("service_name_matcher: {prefix: good}"), (NAMED, NAMED), counts={"verify_cluster": 2}),
    HealthCase("service_other", http("service_name_matcher: {exact: bad}"), (NAMED,), FAILED, {"verify_cluster": 1}),
    HealthCase("service_none", http("service_name_matcher: {prefix: good}"), (OK,), FAILED, {"verify_cluster": 1}),
    HealthCase(
        "logs_all",
        HTTP,
        (OK, OK, BAD, BAD, OK),
        FAILED,
        events="add success eject fail fail success",
        common="timeout: 60s, always_log_health_check_failures: true, always_log_health_check_success: true",
    ),
    HealthCase(
        "locality_and_metadata",
        HTTP,
        (OK,),
        events="add",
        endpoint="hostname: named.test",
        cluster="# metadata",
    ),
    HealthCase(
        "silent",
        HTTP,
        (SILENT,),
        f"{FAILED}{TIMEOUT}",
        {"network_failure": 1},
        "fail",
        ONCE,
        "timeout: 0.2s",
        rests=False,
    ),
    HealthCase("refused", HTTP, (), FAILED, {"network_failure": 1}, "fail", ONCE, address="refused", rests=False),
    HealthCase("other_port", HTTP, (OK,), endpoint="health_check_config: {port_value: {port}}", address="refused"),
    HealthCase(
        "other_address",
        HTTP,
        (OK,),
        endpoint="health_check_config: {address: {socket_address: {address: 127.0.0.1, port_value: {port}}}}",
        address="refused",
    ),
    HealthCase(
        "unchecked",
        HTTP,
        (),
        counts={"attempt": 0},
        endpoint="health_check_config: {disable_active_health_check: true}",
        rests=False,
    ),
    HealthCase(
        "two_checks",
        HTTP,
        (OK, OK),
        FAILED,
        interval=ONCE,
        rests=False,
        thresholds="name: a, unhealthy_threshold: 2, healthy_threshold: 2",
        more_checks=(
            f"name: b, timeout: 60s, interval: 60s, {ONCE}, unhealthy_threshold: 1, healthy_threshold: 1, "
            "http_health_check: {path: '/other', expected_statuses: [{start: 418, end: 419}]}",
        ),
    ),
    HealthCase(
        "two_checks_ok",
        HTTP,
        (DEGRADED_OK, DEGRADED_OK),
        DEGRADED,
        interval=ONCE,
        rests=False,
        thresholds="name: a, unhealthy_threshold: 2, healthy_threshold: 2",
        more_checks=(
            f"name: b, timeout: 60s, interval: 60s, {ONCE}, unhealthy_threshold: 1, healthy_threshold: 1, "
            "http_health_check: {path: '/other'}",
        ),
    ),
    HealthCase(
        "one_named_check",
        HTTP,
        (OK,),
        thresholds="name: alone, unhealthy_threshold: 2, healthy_threshold: 2",
    ),
    HealthCase(
        "traffic_excludes",
        HTTP,
        (OK,),
        f"{FAILED}{EXCLUDED}",
        {"passive_failure": 1, "failure": 1, "network_failure": 0},
        "add eject",
        ONCE,
        rests=False,
        traffic=IMMEDIATE,
    ),
    HealthCase(
        "traffic_excludes_though_ok",
        HTTP,
        (OK,),
        f"{FAILED}{EXCLUDED}",
        {"passive_failure": 1},
        "add eject",
        ONCE,
        rests=False,
        traffic=response("x-envoy-immediate-health-check-fail: no"),
    ),
    HealthCase(
        "traffic_is_well",
        HTTP,
        (OK,),
        counts={"passive_failure": 0},
        events="add",
        interval=ONCE,
        rests=False,
        traffic=DEGRADED_OK,
        requests=3,
    ),
    HealthCase(
        "traffic_ends_no_traffic",
        HTTP,
        (OK, OK),
        counts={"attempt": 3},
        interval="no_traffic_interval: 0.3s",
        traffic=OK,
    ),
    HealthCase("tcp_connects", tcp(), (b"",), counts={"success": 1}, events="add", interval=ONCE, reads=0, rests=False),
    HealthCase("tcp_refused", tcp(), (), FAILED, {"network_failure": 1}, "fail", ONCE, address="refused", rests=False),
    HealthCase(
        "tcp_answers", tcp("send: {text: '0102'}, receive: [{text: '03'}, {text: '05'}]"), (b"\3\4\5", b"\3\5"), reads=2
    ),
    HealthCase(
        "tcp_pieces", tcp("send: {text: '01'}, receive: [{text: '0304'}]"), (pieces(b"\3", b"\4"), b"\3\4"), reads=1
    ),
    HealthCase(
        "tcp_closes",
        tcp("send: {text: '01'}, receive: [{text: '03'}]"),
        (then_close(b"\4"),),
        FAILED,
        {"network_failure": 1},
        reads=1,
    ),
    HealthCase(
        "tcp_anew",
        tcp("send: {text: '01'}, receive: [{text: '03'}]"),
        (b"\3", b"\3"),
        reads=1,
        common="timeout: 60s, reuse_connection: false",
    ),
    HealthCase(
        "tcp_silent",
        tcp("send: {text: '01'}, receive: [{text: '03'}]"),
        (SILENT,),
        f"{FAILED}{TIMEOUT}",
        {"network_failure": 1},
        "fail",
        ONCE,
        "timeout: 0.2s",
        reads=1,
        rests=False,
    ),
    HealthCase(
        "tcp_proxy_v2",
        tcp("proxy_protocol_config: {version: V2}, send: {text: '01'}, receive: [{text: '03'}]"),
        (b"\3",),
        reads=17,
    ),
    HealthCase("http2", http("codec_client_type: HTTP2, host: two.test"), (H2Answer(), H2Answer()), **HTTP2),
    HealthCase(
        "http2_bad",
        http("codec_client_type: HTTP2"),
        (H2Answer(((":status", "500"),)),),
        FAILED,
        {"failure": 1},
        "fail",
        **HTTP2,
    ),
    HealthCase(
        "http2_body",
        http("codec_client_type: HTTP2, receive: [{text: '6f6b'}]"),
        (H2Answer(body=b"it is ok"),),
        **HTTP2,
    ),
    HealthCase(
        "http2_post", http("codec_client_type: HTTP2, method: POST, send: {text: '6869'}"), (H2Answer(),), **HTTP2
    ),
    HealthCase(
        "http2_reset",
        http("codec_client_type: HTTP2"),
        (H2Answer(), H2Answer(reset=True)),
        counts={"network_failure": 1},
        **HTTP2,
    ),
    HealthCase(
        "http2_goaway",
        http("codec_client_type: HTTP2"),
        (H2Answer(goaway=0), H2Answer()),
        counts={"success": 2},
        **HTTP2,
    ),
    HealthCase(
        "http2_goaway_error",
        http("codec_client_type: HTTP2"),
        (H2Answer(), H2Answer(goaway=2)),
        counts={"network_failure": 1},
        **HTTP2,
    ),
    _grpc_case("serving", (SERVING, SERVING), counts={"success": 2}, events="add"),
    _grpc_case("not_serving", (NOT_SERVING,), FAILED, counts={"failure": 1, "network_failure": 0}, events="fail"),
    _grpc_case("stops_serving", (SERVING, NOT_SERVING), FAILED, events="add eject"),
    _grpc_case("unimplemented", (UNIMPLEMENTED,), FAILED),
    _grpc_case("no_grpc", (H2Answer(body=b"ok"),), FAILED),
    _grpc_case("http_error", (H2Answer(((":status", "503"),)),), FAILED),
    _grpc_case("reset", (SERVING, H2Answer(reset=True)), counts={"network_failure": 1}),
    _grpc_case(
        "fields",
        (SERVING,),
        fields="service_name: svc, authority: auth.test, initial_metadata: [{header: {key: a, value: b}}]",
    ),
]
