"""The router filter against a fake pool and a fake downstream: replies, flags, timeouts, retries, back-pressure."""

from typing import Any

import pytest
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from google.protobuf import text_format

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.http.codec import StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.pool.failure import PoolFailureReason
from proxeny.router.config import RouterConfig
from proxeny.router.filter_factory import RouterFilterFactory
from proxeny.router.route_table import RouteTable
from proxeny.router.stats import ROUTER
from proxeny.router.virtual_cluster import VIRTUAL_CLUSTER
from proxeny.stats.store import MainStore
from proxeny.upstream.cluster_info import ClusterInfo
from proxeny.upstream.http_protocol_options import DEFAULT
from proxeny.upstream.resource_manager import Thresholds
from proxeny.upstream.stats import CLUSTER, HOST_RQ_ERROR, HOST_RQ_SUCCESS

extensions.install()
ADDRESS = ip_address("127.0.0.1", 1)


class FakeStream:
    """The stream of a fake encoder."""

    def __init__(self) -> None:
        self.callbacks: Any = None
        self.resets: list[StreamResetReason] = []
        self.reading: list[bool] = []

    def reset_stream(self, reason: StreamResetReason) -> None:
        self.resets.append(reason)

    def read_disable(self, disable: bool) -> None:
        self.reading.append(disable)


class FakeEncoder:
    """Records what the upstream would see."""

    def __init__(self) -> None:
        self.stream = FakeStream()
        self.sent: list[Any] = []

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.sent.append((dict(headers.items()), end_stream))

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        self.sent.append((data.take(), end_stream))

    def encode_trailers(self, trailers: HeaderMap) -> None:
        self.sent.append(dict(trailers.items()))


class FakeConnection:
    """What an upstream connection says of itself."""

    id = 7
    connection_info = ConnectionInfo(ADDRESS, ADDRESS, 7)


class FakeCodecClient:
    """What the pool hands over besides the encoder."""

    connection = FakeConnection()
    protocol = "HTTP/1.1"


class Pending:
    """A request in the fake pool's queue."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Upstream:
    """A cluster, its only host and its pool in one."""

    def __init__(self, context: FactoryContext, thresholds: Thresholds) -> None:
        self.info = ClusterInfo("c", "", context, DEFAULT, (thresholds, thresholds))
        self.host: Any = self
        self.stats = self.info.host_stats(0)
        self.canary = False
        self.hostname = "up.host"
        self.locality = ("", "", "")
        self.mode = "ready"
        self.attempts: list[Any] = []
        self.encoders: list[FakeEncoder] = []
        self.pendings: list[Pending] = []

    def choose_host(self, context: Any) -> Any:
        return self.host

    def http_pool(self, host: Any, priority: int, protocol: str | None, options: Any, context: Any) -> Any:
        assert options == ()
        assert (context.request_stream_info, context.downstream_headers) == (
            context.stream_info,
            context.request_headers,
        )
        return self

    def new_stream(self, decoder: Any, callbacks: Any) -> Pending | None:
        self.attempts.append(callbacks)
        if self.mode == "wait":
            self.pendings.append(Pending())
            return self.pendings[-1]
        if self.mode == "ready":
            self.ready(callbacks)
        else:
            callbacks.on_pool_failure(PoolFailureReason[self.mode], "delayed connect error: Connection refused", self)
        return None

    def ready(self, callbacks: Any) -> None:
        self.encoders.append(FakeEncoder())
        callbacks.on_pool_ready(self.encoders[-1], self, FakeCodecClient)


class Downstream:
    """The filter's callbacks; records the answer."""

    upstream_options = ()
    stream_id = 0
    connection = None
    dispatcher = None

    def __init__(self, route: Any, info: StreamInfo) -> None:
        self.route = route
        self.stream_info = info
        self.limit = 0
        self.reply: tuple[int, bytes, dict[bytes, bytes], str] | None = None
        self.answer: list[Any] = []
        self.reading_paused = 0
        self.watchers: list[Any] = []
        self.filter: Any = None

    def send_local_reply(self, code: int, body: bytes, modify: Any, grpc_status: int | None, details: str) -> None:
        headers = HeaderMap()
        if modify is not None:
            modify(headers)
        self.reply = (code, body, dict(headers.items()), details)
        self.filter.on_destroy()

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        self.answer.append(("1xx", dict(headers.items())))

    def encode_headers(self, headers: HeaderMap, end_stream: bool, details: str) -> None:
        self.answer.append((dict(headers.items()), end_stream, details))

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        self.answer.append((data.take(), end_stream))

    def encode_trailers(self, trailers: HeaderMap) -> None:
        self.answer.append(dict(trailers.items()))

    def decoder_buffer_limit(self) -> int:
        return self.limit

    def on_decoder_filter_above_write_buffer_high_watermark(self) -> None:
        self.reading_paused += 1

    def on_decoder_filter_below_write_buffer_low_watermark(self) -> None:
        self.reading_paused -= 1

    def add_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        self.watchers.append(callbacks)

    def remove_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        self.watchers.remove(callbacks)


class Clusters:
    """A cluster manager of at most one cluster."""

    def __init__(self) -> None:
        self.clusters: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        return self.clusters.get(name)


class Bench:
    """One request through one router filter."""

    def __init__(
        self,
        route: str = 'route { cluster: "c" }',
        host: str = "",
        router: str = "",
        thresholds: Thresholds | None = None,
    ) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.store = MainStore()
        clusters = Clusters()
        self.context = FactoryContext(
            role="worker", stats=self.store, dispatcher=self.dispatcher, cluster_manager=clusters
        )
        self.upstream = Upstream(self.context, thresholds or Thresholds())
        clusters.clusters["c"] = self.upstream
        routes = f'routes {{ match {{ prefix: "/" }} {route} }}'
        text = f'name: "r" virtual_hosts {{ name: "v" domains: "*" {host} {routes} }}'
        self.table = RouteTable.compile(text_format.Parse(text, route_pb2.RouteConfiguration()), self.context)
        config = text_format.Parse(router, router_pb2.Router())
        self.factory = RouterFilterFactory(RouterConfig(config, "http.h.", self.context))

    def request(self, end_stream: bool = True, path: str = "/", **headers: str) -> "Bench":
        pairs = [(b":method", b"GET"), (b":path", path.encode()), (b":authority", b"h"), (b":scheme", b"http")]
        pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.headers = HeaderMap(pairs)
        self.info = StreamInfo(ConnectionInfo(ADDRESS, ADDRESS, 1), 0.0, 0)
        self.filter = self.factory.create()
        self.down = Downstream(self.table.route(self.headers, None, 0), self.info)
        self.down.filter = self.filter
        self.filter.decoder_callbacks = self.down  # type: ignore[assignment]
        self.filter.decode_headers(self.headers, end_stream)
        return self

    def body(self, data: bytes, end_stream: bool) -> None:
        self.filter.decode_data(Buffer(data), end_stream)

    def advance(self, milliseconds: int) -> None:
        self.time.advance_ms(milliseconds)
        self.dispatcher.run_once()

    @property
    def attempt(self) -> Any:
        return self.upstream.attempts[-1]

    @property
    def encoder(self) -> FakeEncoder:
        return self.upstream.encoders[-1]

    def respond(self, status: int = 200, end_stream: bool = True, **headers: str) -> None:
        pairs = [(b":status", str(status).encode())]
        pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.attempt.decode_headers(HeaderMap(pairs), end_stream)

    def reset(self, reason: StreamResetReason) -> None:
        self.attempt.on_reset_stream(reason, "")

    def stat(self, name: str) -> int:
        if name.startswith("http.h."):
            return self.store.block(ROUTER, "http.h.").get(ROUTER.slot(name[7:]))
        short = name.removeprefix("cluster.c.")
        if short in CLUSTER.names:
            return self.upstream.info.stats.get(CLUSTER.slot(short))
        return self.store.dynamic("cluster.c.").get(short)

    def close(self) -> None:
        self.dispatcher.close()


@pytest.fixture
def bench() -> Any:
    made: list[Bench] = []

    def make(*args: Any, **kwargs: Any) -> Bench:
        made.append(Bench(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_forwards_and_answers(bench: Any) -> None:
    b = bench(host="include_request_attempt_count: true include_attempt_count_in_response: true").request()
    sent, end_stream = b.encoder.sent[0]
    assert end_stream
    assert sent[b"x-envoy-expected-rq-timeout-ms"] == b"15000"
    assert sent[b"x-envoy-attempt-count"] == b"1"
    b.time.advance_ms(3)
    b.respond(200, False)
    b.attempt.decode_data(Buffer(b"hello"), True)
    answer, end_stream, details = b.down.answer[0]
    assert answer[b"x-envoy-upstream-service-time"] == b"3"
    assert answer[b"x-envoy-attempt-count"] == b"1"
    assert (end_stream, details) == (False, "via_upstream")
    assert b.down.answer[1] == (b"hello", True)
    assert b.stat("cluster.c.upstream_rq_200") == b.stat("cluster.c.external.upstream_rq_2xx") == 1
    assert b.stat("http.h.rq_total") == 1
    assert b.info.upstream_connection_id == 7 and b.info.upstream_protocol == "HTTP/1.1"
    assert b.filter.upstream is None and b.filter.timer is None
    b.filter.on_destroy()
    assert b.encoder.stream.resets == []


@pytest.mark.parametrize(
    ("route", "reply", "flags"),
    [
        ('route { cluster: "zz" }', (503, b"", {}, "cluster_not_found"), "NC"),
        (
            'route { cluster: "zz" cluster_not_found_response_code: NOT_FOUND }',
            (404, b"", {}, "cluster_not_found"),
            "NC",
        ),
        ("non_forwarding_action {}", (503, b"", {}, "cluster_not_found"), "NC"),
        (
            'direct_response { status: 201 body { inline_string: "hi" } }',
            (201, b"hi", {b"location": b"http://h/"}, "direct_response"),
            "-",
        ),
        (
            "redirect { https_redirect: true }",
            (301, b"", {b"location": b"https://h/"}, "direct_response"),
            "-",
        ),
    ],
)
def test_local_replies(bench: Any, route: str, reply: Any, flags: str) -> None:
    b = bench(route).request()
    assert b.down.reply == reply
    assert b.info.flags_short() == flags


def test_no_route(bench: Any) -> None:
    b = bench()
    b.table = type("Empty", (), {"route": staticmethod(lambda *unused: None)})
    b.request()
    assert b.down.reply == (404, b"", {}, "route_not_found")
    assert b.info.flags_short() == "NR"
    assert b.stat("http.h.no_route") == 1


def test_no_healthy_upstream(bench: Any) -> None:
    b = bench(host="include_attempt_count_in_response: true")
    b.upstream.host = None
    b.request()
    assert b.down.reply == (503, b"no healthy upstream", {b"x-envoy-attempt-count": b"1"}, "no_healthy_upstream")
    assert b.info.flags_short() == "UH"
    assert b.stat("cluster.c.upstream_rq_503") == 1


@pytest.mark.parametrize(
    ("mode", "words", "flags", "headers"),
    [
        ("REMOTE_CONNECTION_FAILURE", "remote connection failure", "UF", {}),
        ("TIMEOUT", "connection timeout", "UF", {}),
        ("OVERFLOW", "overflow", "UO", {b"x-envoy-overloaded": b"true"}),
    ],
)
def test_pool_failures(bench: Any, mode: str, words: str, flags: str, headers: dict[bytes, bytes]) -> None:
    b = bench()
    b.upstream.mode = mode
    b.request()
    body = f"upstream connect error or disconnect/reset before headers. reset reason: {words}".encode()
    underscored = words.replace(" ", "_")
    details = f"upstream_reset_before_response_started{{{underscored}|delayed_connect_error:_Connection_refused}}"
    assert b.down.reply == (503, body, headers, details)
    assert b.info.flags_short() == flags


@pytest.mark.parametrize(
    ("reason", "code", "flags", "words"),
    [
        (StreamResetReason.CONNECTION_TERMINATION, 503, "UC", "connection_termination"),
        (StreamResetReason.REMOTE_RESET, 503, "UR", "remote_reset"),
        (StreamResetReason.PROTOCOL_ERROR, 502, "UPE", "protocol_error"),
        (StreamResetReason.LOCAL_RESET, 503, "LR", "local_reset"),
    ],
)
def test_resets_before_headers(bench: Any, reason: StreamResetReason, code: int, flags: str, words: str) -> None:
    b = bench().request()
    b.reset(reason)
    assert b.down.reply is not None
    assert (b.down.reply[0], b.down.reply[3]) == (code, f"upstream_reset_before_response_started{{{words}}}")
    assert b.info.flags_short() == flags
    assert b.stat(f"cluster.c.upstream_rq_{code}") == 1


def test_reset_after_headers(bench: Any) -> None:
    b = bench().request()
    b.respond(200, False)
    b.reset(StreamResetReason.CONNECTION_TERMINATION)
    assert b.down.reply[3] == "upstream_reset_after_response_started{connection_termination}"
    assert b.stat("cluster.c.upstream_rq_503") == 0


def test_response_timeout(bench: Any) -> None:
    b = bench('route { cluster: "c" timeout { nanos: 200000000 } }').request()
    assert b.encoder.sent[0][0][b"x-envoy-expected-rq-timeout-ms"] == b"200"
    b.advance(199)
    assert b.down.reply is None
    b.advance(2)
    assert b.down.reply == (504, b"upstream request timeout", {}, "response_timeout")
    assert b.info.flags_short() == "UT"
    assert b.encoder.stream.resets == [StreamResetReason.LOCAL_RESET]
    assert b.stat("cluster.c.upstream_rq_timeout") == 1


def test_timeout_runs_from_the_end_of_the_request(bench: Any) -> None:
    b = bench('route { cluster: "c" timeout { nanos: 200000000 } }').request(end_stream=False)
    b.advance(1000)
    assert b.down.reply is None
    b.body(b"x", True)
    b.advance(201)
    assert b.down.reply is not None


def test_request_header_overrides(bench: Any) -> None:
    b = bench().request(
        x_envoy_upstream_rq_timeout_ms="100",
        x_envoy_upstream_rq_per_try_timeout_ms="40",
        x_envoy_upstream_rq_timeout_alt_response="1",
    )
    sent = b.encoder.sent[0][0]
    assert sent[b"x-envoy-expected-rq-timeout-ms"] == b"40"
    assert not [name for name in sent if name.startswith(b"x-envoy-upstream")]
    b.advance(41)
    assert b.down.reply == (204, b"", {}, "upstream_per_try_timeout")


def test_auto_host_rewrite(bench: Any) -> None:
    b = bench('route { cluster: "c" auto_host_rewrite { value: true } append_x_forwarded_host: true }').request()
    sent = b.encoder.sent[0][0]
    assert (sent[b":authority"], sent[b"x-forwarded-host"]) == (b"up.host", b"h")


def test_suppressed_envoy_headers(bench: Any) -> None:
    b = bench(router="suppress_envoy_headers: true").request()
    assert b"x-envoy-expected-rq-timeout-ms" not in b.encoder.sent[0][0]
    b.respond()
    assert b"x-envoy-upstream-service-time" not in b.down.answer[0][0]


def test_strict_check_headers(bench: Any) -> None:
    b = bench(router='strict_check_headers: "x-envoy-retry-on"').request(x_envoy_retry_on="5xx,bogus")
    assert b.down.reply == (
        400,
        b"invalid header 'x-envoy-retry-on' with value '5xx,bogus'",
        {},
        "request_headers_failed_strict_check{x-envoy-retry-on}",
    )


RETRY = 'route { cluster: "c" retry_policy { retry_on: "5xx" num_retries { value: 2 } } }'


def test_retries_on_responses(bench: Any) -> None:
    b = bench(RETRY, host="include_request_attempt_count: true").request()
    b.respond(503, False)
    assert b.encoder.stream.resets == [StreamResetReason.LOCAL_RESET]
    b.advance(30)
    assert len(b.upstream.attempts) == 2
    assert b.encoder.sent[0][0][b"x-envoy-attempt-count"] == b"2"
    b.respond(200)
    assert b.down.answer[0][0][b":status"] == b"200"
    assert b.stat("cluster.c.upstream_rq_retry") == b.stat("cluster.c.upstream_rq_retry_success") == 1
    assert b.stat("cluster.c.retry.upstream_rq_503") == 1
    assert b.upstream.info.resource_manager(0).retries.count == 0


def test_retry_limit(bench: Any) -> None:
    b = bench(RETRY).request()
    for _ in range(2):
        b.reset(StreamResetReason.CONNECTION_TERMINATION)
        b.advance(100)
    b.reset(StreamResetReason.CONNECTION_TERMINATION)
    assert b.down.reply[1].endswith(b"retried and the latest reset reason: connection termination")
    assert b.info.flags_short() == "UC,URX"
    assert b.stat("cluster.c.upstream_rq_retry_limit_exceeded") == 1
    assert b.info.attempt_count == 3


def test_retry_overflow(bench: Any) -> None:
    b = bench(RETRY, thresholds=Thresholds(max_retries=0)).request()
    b.respond(500)
    assert b.down.answer[0][0][b":status"] == b"500"
    assert b.info.flags_short() == "UO"
    assert b.stat("cluster.c.upstream_rq_retry_overflow") == 1


def test_retries_send_the_body_again(bench: Any) -> None:
    b = bench(RETRY).request(end_stream=False)
    b.body(b"ab", False)
    b.body(b"cd", True)
    b.reset(StreamResetReason.REMOTE_RESET)
    b.advance(30)
    assert b.encoder.sent[1:] == [(b"abcd", True)]


def test_large_body_gives_retries_up(bench: Any) -> None:
    b = bench(RETRY)
    b.request(end_stream=False)
    b.down.limit = 3
    b.body(b"abcd", True)
    b.reset(StreamResetReason.REMOTE_RESET)
    assert b.down.reply[0] == 503
    assert b.stat("cluster.c.retry_or_shadow_abandoned") == 1


def test_retries_avoid_previous_hosts(bench: Any) -> None:
    predicate = """retry_host_predicate { name: "p" typed_config { type_url:
        "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" } }"""
    b = bench(RETRY.replace("num_retries", f"{predicate} host_selection_retry_max_attempts: 3 num_retries")).request()
    first, asked = b.upstream.host, []
    others = iter([first, first, "second"])

    def choose_host(context: Any) -> Any:
        asked.append(next(others))
        return None if asked[-1] == "second" else asked[-1]

    b.upstream.choose_host = choose_host
    b.reset(StreamResetReason.CONNECTION_TERMINATION)
    b.advance(30)
    assert asked == [first, first, "second"]


def test_unknown_host_predicates_are_refused(bench: Any) -> None:
    with pytest.raises(ConfigError, match="Didn't find a registered implementation for 'x'"):
        bench(RETRY.replace("num_retries", 'retry_host_predicate { name: "x" } num_retries'))


def test_no_retry_unless_configured(bench: Any) -> None:
    b = bench().request()
    b.reset(StreamResetReason.CONNECTION_TERMINATION)
    assert len(b.upstream.attempts) == 1


def test_retry_by_request_headers(bench: Any) -> None:
    b = bench().request(x_envoy_retry_on="gateway-error", x_envoy_max_retries="1")
    assert b"x-envoy-retry-on" not in b.encoder.sent[0][0]
    b.respond(502)
    b.advance(30)
    assert len(b.upstream.attempts) == 2


def test_destroyed_while_waiting(bench: Any) -> None:
    b = bench()
    b.upstream.mode = "wait"
    b.request()
    b.filter.on_destroy()
    assert b.upstream.pendings[0].cancelled


def test_destroyed_while_retrying(bench: Any) -> None:
    b = bench(RETRY).request()
    b.respond(503)
    b.filter.on_destroy()
    b.advance(1000)
    assert len(b.upstream.attempts) == 1
    assert b.upstream.info.resource_manager(0).retries.count == 0


def test_body_is_held_until_there_is_a_stream(bench: Any) -> None:
    b = bench()
    b.upstream.mode = "wait"
    b.request(end_stream=False)
    b.down.limit = 4
    b.body(b"abc", False)
    assert b.down.reading_paused == 0
    b.body(b"def", True)
    assert b.down.reading_paused == 1
    b.upstream.ready(b.attempt)
    assert b.encoder.sent[1:] == [(b"abcdef", True)]
    assert b.down.reading_paused == 0


def test_trailers(bench: Any) -> None:
    b = bench().request(end_stream=False)
    b.body(b"a", False)
    b.filter.decode_trailers(HeaderMap([(b"t", b"1")]))
    assert b.encoder.sent[1:] == [(b"a", False), {b"t": b"1"}]
    b.respond(200, False)
    b.attempt.decode_trailers(HeaderMap([(b"r", b"2")]))
    assert b.down.answer[1] == {b"r": b"2"}


def test_back_pressure_both_ways(bench: Any) -> None:
    b = bench().request(end_stream=False)
    b.attempt.on_above_write_buffer_high_watermark()
    assert b.down.reading_paused == 1
    b.attempt.on_below_write_buffer_low_watermark()
    assert b.down.reading_paused == 0
    b.body(b"", True)
    b.respond(200, False)
    assert b.down.watchers == []
    b.attempt.decode_data(Buffer(b"part"), False)
    assert b.down.watchers == [b.filter]
    b.filter.on_above_write_buffer_high_watermark()
    b.filter.on_below_write_buffer_low_watermark()
    assert b.encoder.stream.reading == [True, False]
    b.attempt.decode_data(Buffer(b""), True)
    assert b.down.watchers == []
    assert b.stat("cluster.c.upstream_flow_control_paused_reading_total") == 1
    assert b.stat("cluster.c.upstream_flow_control_backed_up_total") == 1


def test_early_response_resets_the_request(bench: Any) -> None:
    b = bench().request(end_stream=False)
    b.respond(413)
    assert b.encoder.stream.resets == [StreamResetReason.LOCAL_RESET]
    assert b.down.answer[0][0][b":status"] == b"413"
    assert b"x-envoy-upstream-service-time" not in b.down.answer[0][0]


@pytest.mark.parametrize(
    ("status", "details"),
    [
        (101, "via_upstream"),
        (404, "via_upstream"),
        (500, "via_upstream"),
        (200, "websocket_handshake_unsuccessful"),
        (302, "websocket_handshake_unsuccessful"),
    ],
)
def test_answers_to_a_websocket_handshake(bench: Any, status: int, details: str) -> None:
    b = bench().request(end_stream=False, connection="Upgrade", upgrade="WebSocket")
    b.respond(status, False, location="/x", content_length="5")
    if details == "via_upstream":
        assert b.down.answer[0][2] == details and b.down.reply is None
        return
    assert b.down.reply == (status, b"", {b"location": b"/x"}, details)
    assert b.encoder.stream.resets == [StreamResetReason.LOCAL_RESET]
    assert b.stat("cluster.c.upstream_rq_completed") == 0


def test_informational_responses_end_retries(bench: Any) -> None:
    b = bench(RETRY).request(end_stream=False)
    b.attempt.decode_1xx_headers(HeaderMap([(b":status", b"100")]))
    assert b.down.answer == [("1xx", {b":status": b"100"})]
    b.reset(StreamResetReason.REMOTE_RESET)
    assert len(b.upstream.attempts) == 1


def test_odd_status_codes_pass(bench: Any) -> None:
    b = bench().request()
    b.respond(2000)
    assert b.down.answer[0][0][b":status"] == b"2000"


def test_grpc_success_is_counted_from_trailers(bench: Any) -> None:
    b = bench().request(content_type="application/grpc")
    b.respond(200, False)
    b.attempt.decode_trailers(HeaderMap([(b"grpc-status", b"13")]))
    assert (b.upstream.stats.get(HOST_RQ_ERROR), b.upstream.stats.get(HOST_RQ_SUCCESS)) == (1, 0)


def test_virtual_clusters(bench: Any) -> None:
    host = 'virtual_clusters { name: "put" headers { name: ":method" string_match { exact: "PUT" } } }'
    b = bench(RETRY, host=host).request()
    b.respond(503)
    b.advance(30)
    b.respond(200)
    other = b.store.block(VIRTUAL_CLUSTER, "vhost.v.vcluster.other.")
    assert [other.get(VIRTUAL_CLUSTER.slot(f"upstream_rq_{name}")) for name in ("total", "retry")] == [2, 1]
    assert b.store.dynamic("vhost.v.vcluster.other.").get("upstream_rq_200") == 1
    with pytest.raises(ConfigError, match="virtual clusters must define 'headers'"):
        bench(host='virtual_clusters { name: "put" }')
