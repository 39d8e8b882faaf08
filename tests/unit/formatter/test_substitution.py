"""Format strings: what each command prints, Envoy's words for bad ones, JSON, and hostile header bytes."""

import re

import pytest

from proxeny.config.errors import ConfigError
from proxeny.formatter import DEFAULT_FORMAT, compile, compile_json
from proxeny.kernel.headers import HeaderMap
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo

START = 1795423463.123623
MS = 1_000_000


class FakeAddress:
    def __init__(self, ip, port):
        self.ip = ip
        self.port = port

    def as_string(self):
        return f"{self.ip}:{self.port}" if self.ip else "/tmp/sock"

    def as_bytes(self):
        return self.as_string().encode()


class FakeHost:
    hostname = ""
    address = FakeAddress("10.0.0.1", 80)
    metadata = {"envoy.lb": {"stage": "prod"}}


class FakeCluster:
    name = "c"
    observability_name = "c-alt"
    metadata = None


@pytest.fixture
def info():
    made = StreamInfo(ConnectionInfo(FakeAddress("127.0.0.1", 443), FakeAddress("::1", 5), 7), START, 100 * MS)
    made.protocol = "HTTP/1.1"
    made.response_code = 200
    made.bytes_sent = 2
    made.end_ns = 150 * MS
    return made


REQUEST = HeaderMap(
    [
        (b":method", b"GET"),
        (b":path", b"/a?x=1&y=%20&e=&x=2&%78z=q"),
        (b":authority", b"h"),
        (b"x-a", b"one"),
        (b"x-a", b"two"),
        (b"empty", b""),
    ]
)


def line(text, info, request=REQUEST, response=None, trailers=None, omit=False, **more):
    return compile(text, omit).format(request, response, trailers, info, **more)


def test_the_default_format(info):
    info.upstream_host = FakeHost()
    response = HeaderMap([(b"x-envoy-upstream-service-time", b"3")])
    assert line(DEFAULT_FORMAT, info, response=response) == (
        b'[2026-11-23T08:44:23.123Z] "GET /a?x=1&y=%20&e=&x=2&%78z=q HTTP/1.1" 200 - 0 2 50 3 '
        b'"-" "-" "-" "h" "10.0.0.1:80"\n'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%REQ(X-A)%|%REQ(empty)%|%REQ(nope)%|%REQ(nope?x-a):2%", b"one||-|on"),
        ("100%% %PROTOCOL%%REQ(x-a)%", b"100% HTTP/1.1one"),
        ("%RESP(a)%%TRAILER(a)%", b"--"),
        ("%START_TIME(%s.%3f %H:%M:%S.%6f %9f %1f %f %E3S %E*S %Ez %z %Z)%", None),
        ("%DYNAMIC_METADATA(a:b)%|%FILTER_STATE(x)%|%CLUSTER_METADATA(a)%", b"-|-|-"),
        ("%DURATION%|%REQUEST_DURATION%|%RESPONSE_DURATION%|%RESPONSE_TX_DURATION%", b"50|-|-|-"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%|%COMMON_DURATION(foo:bar)%", b"-|-"),
        ("%UPSTREAM_HOST%|%UPSTREAM_CLUSTER%|%UPSTREAM_REMOTE_PORT%|%UPSTREAM_CONNECTION_ID%", b"-|-|-|0"),
        ("%CONNECTION_ID%|%STREAM_ID%|%ROUTE_NAME%|%VIRTUAL_CLUSTER_NAME%", b"7|-|-|-"),
        ("%QUERY_PARAM(x)%|%QUERY_PARAM(y)%|%QUERY_PARAM(e)%|%QUERY_PARAM(xz)%|%QUERY_PARAM(z)%", b"1| ||q|-"),
        ("%QUERY_PARAMS(DECODED)%", b"x=1&y=%20&e=&x=2&xz=q"),
        ("%PATH(NQ:PATH)%|%PATH(WQ:ORIG)%|%PATH:2%", b"/a|-|/a"),
        ("%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_PORT%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", None),
        (
            "%ACCESS_LOG_TYPE%|%LOCAL_REPLY_BODY%|%GRPC_STATUS%|%TRACE_ID%|%DOWNSTREAM_TLS_VERSION%",
            b"NotSet||-|-|-",
        ),
        ('%COALESCE({"operators":["ROUTE_NAME",{"command":"REQ","param":"x-a","max_length":2}]})%', b"on"),
        ("%REQUESTED_SERVER_NAME%|%REQUESTED_SERVER_NAME(SNI_FIRST)%", b"-|h"),
        ("%ENVIRONMENT(PROXENY_TEST_NOPE)%|%CUSTOM_FLAGS%|%METADATA(ROUTE:a)%", b"-||-"),
        ("%REQUEST_HEADERS_BYTES%", b"69"),
        ("plain", b"plain"),
        ("", b""),
    ],
)
def test_commands(info, text, expected):
    if expected is None:
        expected = {
            "%START": b"1795423463.123 08:44:23.123623 123623000 1 123623000 23.123 23.123623 +00:00 +0000 UTC",
            "%DOWNS": b"127.0.0.1:443|443|::1",
        }[text[:6]]
    assert line(text, info) == expected


def test_times_after_the_start(info):
    info.last_downstream_rx_ns = 101 * MS
    info.first_upstream_rx_ns = 103 * MS
    info.last_downstream_tx_ns = 109 * MS + 5_000
    assert line("%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", info) == b"1 3 6"
    assert line("%COMMON_DURATION(US_RX_BEG:DS_TX_END:us)%", info) == b"6005"


def test_upstream_facts(info):
    info.upstream_host = FakeHost()
    info.upstream_cluster = FakeCluster()
    info.upstream_transport_failure_reason = "immediate connect error: 111"
    info.response_code_details = "a b"
    info.set_flag(ResponseFlag.UPSTREAM_CONNECTION_FAILURE)
    info.set_flag(ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED)
    assert line(
        "%UPSTREAM_HOST% %UPSTREAM_HOST_NAME_WITHOUT_PORT% %UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%", info
    ) == (b"10.0.0.1:80 10.0.0.1 c-alt c")
    assert (
        line("%UPSTREAM_TRANSPORT_FAILURE_REASON% %RESPONSE_CODE_DETAILS%", info) == b"immediate_connect_error:_111 a_b"
    )
    assert line("%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", info) == b"a b"
    assert line("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", info) == (
        b"URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure"
    )
    assert line("%UPSTREAM_METADATA(envoy.lb:stage)% %UPSTREAM_METADATA(envoy.lb)%", info) == b'prod {"stage":"prod"}'


def test_dynamic_metadata_and_filter_state(info):
    info.dynamic_metadata["ns"] = {"a": {"b": 3, "s": "text"}}
    info.filter_state["k"] = "value"
    info.filter_state["d"] = {"f": "x"}
    assert line("%DYNAMIC_METADATA(ns:a:b)%|%DYNAMIC_METADATA(ns:a:s):2%|%DYNAMIC_METADATA(ns)%", info) == (
        b'3|te|{"a":{"b":3,"s":"text"}}'
    )
    assert line("%FILTER_STATE(k)%|%FILTER_STATE(k:PLAIN)%|%FILTER_STATE(d:FIELD:f)%", info) == b'"value"|value|x'


def test_a_requests_stream_id_is_its_request_id(info):
    request = HeaderMap([(b"x-request-id", b"r-1")])
    assert line("%STREAM_ID%", info, request=request) == b"r-1"
    info.stream_id = b"s-1"
    assert line("%STREAM_ID%", info, request=request) == b"s-1"


def test_termination_details_belong_to_connections(info):
    info.connection.termination_details = "idle timeout"
    assert line("%CONNECTION_TERMINATION_DETAILS%", info) == b"-"
    info.protocol = None
    assert line("%CONNECTION_TERMINATION_DETAILS%", info) == b"idle timeout"


def test_what_the_tls_inspector_found(info):
    assert line("%REQUESTED_SERVER_NAME%|%TLS_JA3_FINGERPRINT%|%TLS_JA4_FINGERPRINT%", info) == b"-|-|-"
    info.connection.requested_server_name = "a-b.test_1"
    info.connection.ja3_hash = "f0"
    info.connection.ja4_hash = "t13"
    assert line("%REQUESTED_SERVER_NAME%|%TLS_JA3_FINGERPRINT%|%TLS_JA4_FINGERPRINT%", info) == b"a-b.test_1|f0|t13"
    info.connection.requested_server_name = "a\nb\xff:"
    assert line("%REQUESTED_SERVER_NAME%", info) == b"invalid:a_b__"


def test_the_transport_failure_belongs_to_the_connection(info):
    info.connection.transport_failure_reason = "TLS_error|no hello"
    assert line("%DOWNSTREAM_TRANSPORT_FAILURE_REASON%", info) == b"-"
    info.protocol = None
    assert line("%DOWNSTREAM_TRANSPORT_FAILURE_REASON%", info) == b"TLS_error|no_hello"


def test_what_is_absent_can_be_left_out(info):
    assert line("%REQ(nope)%|%PROTOCOL%", info, omit=True) == b"|HTTP/1.1"


def test_connections_without_a_request(info):
    info.protocol = None
    info.set_flag(ResponseFlag.UPSTREAM_CONNECTION_FAILURE)
    info.set_flag(ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED)
    assert line("%RESPONSE_FLAGS%", info) == b"UF,URX"
    assert line("%REQ(a)% %PROTOCOL% %ACCESS_LOG_TYPE% %GRPC_STATUS%", info, request=None) == b"- - NotSet -"
    assert line("%ACCESS_LOG_TYPE%", info, log_type=b"DownstreamStart") == b"DownstreamStart"


def test_grpc_status(info):
    grpc = HeaderMap([(b"content-type", b"application/grpc")])
    trailers = HeaderMap([(b"grpc-status", b"7")])
    text = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%"
    assert line(text, info, request=grpc, trailers=trailers) == b"PermissionDenied PERMISSION_DENIED 7 7"
    assert line("%GRPC_STATUS%", info, request=grpc) == b"Unknown"
    assert line("%GRPC_STATUS%", info, request=grpc, trailers=HeaderMap([(b"grpc-status", b"99")])) == b"99"


def test_time_formats_follow_the_clock(info):
    formatter = compile("%START_TIME% %START_TIME(%S.%3f)%")
    assert formatter.format(None, None, None, info) == b"2026-11-23T08:44:23.123Z 23.123"
    info.start_time = START + 1.5
    assert formatter.format(None, None, None, info) == b"2026-11-23T08:44:24.623Z 24.623"


def test_the_current_time_and_unique_ids(info):
    text = line("%EMIT_TIME% %EMIT_TIME_LOCAL% %UNIQUE_ID% %HOSTNAME%", info).decode()
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z \S+[+-]\d{4} [0-9a-f]{8}-[0-9a-f-]{27} \S+$", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%FOO%", "Not supported field in StreamInfo: FOO"),
        ("%REQ%", "REQ requires parameters"),
        ("%REQ(A?B?C)%", "More than 1 alternative header specified in token: A?B?C"),
        ("é%REQ(A)%%", "Couldn't find valid command at position 10"),
        ("%REQ(a)", "Incorrect configuration: %REQ(a). Couldn't find valid command at position 0"),
        ("%PROTOCOL(x)%", "PROTOCOL does not take any parameters or length"),
        ("%START_TIME(%n)%", "Invalid header configuration. Format string contains newline."),
        ("%START_TIME:10%", "START_TIME does not allow length to be specified."),
        ("%COMMON_DURATION(a)%", "Invalid common duration configuration: a."),
        ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:xs)%", "Invalid common duration precision: xs."),
        ("%FILTER_STATE%", "Invalid filter state configuration, key cannot be empty."),
        ("%FILTER_STATE(x:FOO)%", "Invalid filter state serialize type, only support PLAIN/TYPED/FIELD."),
        ("%GRPC_STATUS(x)%", "GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: x"),
        ("%REQ(a b)%", "Invalid header configuration. Format string contains invalid characters."),
        ("%PATH(x:y)%", "Invalid PATH option: 'x', only 'WQ'/'NQ' are allowed"),
        ("%COALESCE({})%", "COALESCE: JSON configuration must contain 'operators' array"),
        ('%COALESCE({"operators":["REQ"]})%', "COALESCE: failed to parse operator at index 0: REQ requires parameters"),
        ("%METADATA(X:a)%", "X is not supported type of metadata"),
    ],
)
def test_bad_formats_are_refused_in_envoys_words(text, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        compile(text)


def test_nothing_that_a_user_wrote_becomes_code(info):
    for hostile in ("'+__import__('os').name+'", "\\", '"""', "{0}", "\x00", "c1", "%REQ(x'y)%"):
        assert line(hostile, info) in (hostile.encode(), b"-")


def test_json_keeps_types_and_sorts_keys(info):
    fields = {
        "z": "%REQ(x-a)%",
        "a": "%RESPONSE_CODE%",
        "b": "x %RESPONSE_CODE% %REQ(nope)%",
        "n": 5.0,
        "f": 1.5,
        "t": True,
        "nul": None,
        "list": ["%PROTOCOL%", 1.0, {"q": "%REQ(nope)%"}],
        "o": {},
        "pct": "100%%",
        'k"%': "v",
    }
    assert compile_json(fields).format(REQUEST, None, None, info) == (
        b'{"a":200,"b":"x 200 -","f":1.5,"k\\"%":"v","list":["HTTP/1.1",1,{"q":null}],"n":5,"nul":null,"o":{},'
        b'"pct":"100%","t":true,"z":"one"}\n'
    )


def test_json_without_what_is_absent(info):
    fields = {
        "a": "%REQ(nope)%",
        "b": {"c": "%REQ(nope)%"},
        "d": ["%REQ(nope)%", 1.0],
        "e": "x%REQ(nope)%y",
        "f": "",
        "g": None,
    }
    assert (
        compile_json(fields, omit_empty_values=True).format(REQUEST, None, None, info) == b'{"d":[1],"e":"xy","f":""}\n'
    )
    assert compile_json({"a": "%REQ(nope)%"}, omit_empty_values=True).format(REQUEST, None, None, info) == b"{}\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'"},{"x":"', b'\\"},{\\"x\\":\\"'),
        (b"tab\there\\", b"tab\\there\\\\"),
        (b"\xc3\xa9\x7f", b"\xc3\xa9\x7f"),
        (b'\xff"\\\xc3\xa9~\t', b"\\u00ff\\u0022\\u005c\\u00c3\\u00a9~\\u0009"),
        (b"\x01\x1b[31m", b"\\u0001\\u001b[31m"),
    ],
)
def test_header_bytes_cannot_leave_their_json_string(info, value, expected):
    request = HeaderMap()
    request.add(b"x", value)
    assert compile_json({"v": "%REQ(x)%"}).format(request, None, None, info) == b'{"v":"' + expected + b'"}\n'
