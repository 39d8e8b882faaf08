"""Listeners: IPv4, IPv6 and unix sockets, additional addresses, filter-chain match, buffer limits."""

import pytest
from tests.differential.harness import Case, Do, Pairs, case_id, request
from tests.differential.wire import End

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000


def chosen(listener: str, greeting: str | None) -> Case:
    """The chain that answers this text; None: no chain, the connection is closed."""
    contains = (f"client 0 < '{greeting}'",) if greeting else ("client 0 connection: closed",)
    return Case(listener, (b"", Do("end")), config="listeners", listener=listener, end=End.CLOSED, contains=contains)


CASES = [
    Case("ipv6", request(GET), config="listeners", listener="ipv6", status=200, end=End.OPEN, forwarded=1),
    Case("pipe", request(GET), config="listeners", listener="pipe", status=200, end=End.OPEN, forwarded=1),
    Case("additional_first", request(GET), config="listeners", listener="more", status=200, end=End.OPEN, forwarded=1),
    Case("additional_second", request(GET), config="listeners", listener="more", address="+1", status=200, forwarded=1),
    Case(
        "small_buffer_request",
        request(POST),
        config="listeners",
        listener="buffered",
        status=200,
        forwarded=1,
        ignore=("flow_control",),
    ),
    Case(
        "small_buffer_response",
        request(GET),
        config="listeners",
        listener="buffered",
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"y" * 100000,)],
        body=b"y" * 100000,
        ignore=("flow_control",),
    ),
    Case("socket_options", request(GET), config="listeners", listener="options", status=200, forwarded=1),
    chosen("chain_source", "loop"),
    chosen("chain_specific", "narrow"),
    chosen("chain_default", "default"),
    chosen("chain_none", None),
    chosen("chain_type", "local"),
    chosen("chain_tls_only", "raw"),
    chosen("chain_destination", "here"),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_listeners(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
