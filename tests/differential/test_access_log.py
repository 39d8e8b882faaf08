"""Access-log lines: the default format, the operators, JSON, filters. Times are checked for their form and replaced."""

import pytest
from tests.differential.harness import Case, Do, Pairs, case_id, request
from tests.differential.upstream import FIN, Read

GET = (
    b"GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test/1\r\n"
    b"X-Forwarded-For: 10.0.0.1\r\nX-Long: 0123456789\r\n\r\n"
)
POST = b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
TRAILERS = b"HTTP/1.1 200 OK\r\nx-r: mine\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

CASES = [
    Case("default_get", request(GET), config="logs", log='"GET /a?b=c HTTP/1.1" 200 - 0 2'),
    Case("default_post", request(POST), config="logs", log='"POST /p HTTP/1.1" 200 - 5 2'),
    Case("default_bad_request", request(b"GARBAGE\r\n\r\n"), config="logs", log="400 DPE"),
    Case("default_upstream_fin", request(GET), config="logs", answers=[(FIN,)], log="503 UC"),
    Case("default_quotes_in_agent", request(GET.replace(b"test/1", b'a"b\\c')), config="logs", log='a"b'),
    Case("operators_get", request(GET), config="logs", listener="operators", answers=[(TRAILERS,)]),
    Case("operators_post", request(POST), config="logs", listener="operators"),
    Case("operators_local_reply", request(b"GET / HTTP/1.0\r\n\r\n"), config="logs", listener="operators"),
    Case("operators_upstream_fin", request(GET), config="logs", listener="operators", answers=[(FIN,)]),
    Case("times", request(GET), config="logs", listener="times"),
    Case("stdout", request(GET), config="logs", listener="stdout", logged=2, log="200 /a?b=c"),
    Case("json", request(GET), config="logs", listener="json"),
    Case(
        "status_filter_passes", request(GET), config="logs", listener="status_filter", answers=[(NOT_FOUND,)], logged=1
    ),
    Case("status_filter_drops", request(GET), config="logs", listener="status_filter", logged=0),
    Case(
        "header_filter",
        request(GET.replace(b"\r\n\r\n", b"\r\nX-Log: yes\r\n\r\n")),
        config="logs",
        listener="header_filter",
        logged=1,
    ),
    Case("header_filter_drops", request(GET), config="logs", listener="header_filter", logged=0),
    Case("flag_filter", request(GET), config="logs", listener="flag_filter", answers=[(FIN,)], logged=1),
    Case("flag_filter_drops", request(GET), config="logs", listener="flag_filter", logged=0),
    Case("either_filter", request(GET), config="logs", listener="either_filter", answers=[(FIN,)], logged=1),
    Case("either_filter_drops", request(GET), config="logs", listener="either_filter", logged=0),
    Case(
        "tcp_default",
        (b"ping", Do("end"), Do("fin")),
        config="logs",
        listener="tcp_default",
        raw=(Read(4), b"pong", FIN),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_access_log(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
