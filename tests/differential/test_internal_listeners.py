"""Internal listeners: bytes, ends and requests through them, what connections bring along, and where they cannot go."""

import pytest
from tests.differential.harness import Case, Do, Expect, Pairs, Send, Step, case_id, request
from tests.differential.upstream import FIN, READ_END, Read
from tests.differential.wire import End

BULK = bytes(range(256)) * 2048
WHO_CLOSES = "upstream_cx_destroy_(local|remote)"
"""Both ends of a connection are told to close at once."""
GET = b"GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n"


def case(name: str, *steps: Step, **rest: object) -> Case:
    return Case(name, steps, config="internal", **rest)  # type: ignore[arg-type]


THROUGH = [
    case("ping_pong", b"ping", Expect(b"pong"), raw=(Read(4), b"pong"), forwarded=1, contains=(r"client 0 < 'pong'",)),
    case("upstream_speaks_first", b"", Expect(b"220 hi\r\n"), raw=(b"220 hi\r\n",), forwarded=1),
    case(
        "client_half_closes",
        b"question",
        Do("fin"),
        Do("end"),
        raw=(READ_END, b"answer", FIN),
        contains=(r"client 0 < 'answer'",),
        end=End.FIN,
    ),
    case(
        "upstream_half_closes",
        b"x",
        Do("end"),
        b"more",
        Do("fin"),
        raw=(Read(1), b"bye", FIN),
        contains=(r"> 'xmore' then fin",),
        end=End.FIN,
        ignore=("upstream_flush",),
    ),
    case("bulk_down", b"go", Expect(BULK), raw=(Read(2), BULK), ignore=("flow_control",), contains=(r"524288 bytes",)),
    case("bulk_up", BULK, Expect(b"ok"), raw=(Read(len(BULK)), b"ok"), ignore=("flow_control",)),
    case("two_clients", b"a", Expect(b"1"), Send(b"b", on=1), Expect(b"1", on=1), raw=(Read(1), b"1"), forwarded=2),
    case("one_behind_the_other", b"ping", Expect(b"pong"), listener="nested", raw=(Read(4), b"pong"), forwarded=1),
]

REQUESTS = [
    case("request", *request(GET % b"/"), listener="http", status=200, forwarded=1),
    case("request_answered_inside", *request(GET % b"/inside"), listener="http", status=201, body=b"inside"),
    case("two_requests", *request(GET % b"/"), *request(GET % b"/"), listener="http", status=(200, 200), forwarded=2),
]

BROUGHT = [
    case(
        "metadata",
        b"ping",
        Expect(b"pong"),
        Do("fin"),
        Do("end"),
        listener="logged",
        raw=(Read(4), b"pong", FIN),
        ignore=(WHO_CLOSES,),
        log='"deep":{"x":null}',
        contains=(r'"yes":true', r"cluster.to_logged.internal_upstream.no_metadata"),
    ),
    case("destination", b"ping", Expect(b"pong"), listener="destination", raw=(Read(4), b"pong"), forwarded=1),
    case("chain_of_the_destination", b"ping", Expect(b"pong"), listener="by_port", raw=(Read(4), b"pong"), forwarded=1),
    case("bad_destination", b"", Do("end"), listener="bad_destination", log="UH", end=End.CLOSED),
]

STATE = [
    case(
        "filter_state_and_destination",
        b"ping",
        Expect(b"pong"),
        Do("fin"),
        Do("end"),
        listener="state",
        raw=(Read(4), b"pong", FIN),
        ignore=(WHO_CLOSES,),
        log="- 10.1.2.3:44 127.0.0.1:<up> 127.0.0.1:<up> 127.0.0.1 goes on -",
    ),
    case(
        "filter_state_that_goes_on",
        b"ping",
        Expect(b"pong"),
        Do("fin"),
        Do("end"),
        listener="further",
        raw=(Read(4), b"pong", FIN),
        ignore=(WHO_CLOSES,),
        log=" - goes on - -",
    ),
]

WHO = b"GET / HTTP/1.1\r\nHost: a.test\r\nx-who: %s\r\n\r\n"
STATE += [
    case(
        "filter_state_of_requests",
        *request(WHO % b"one"),
        *request(WHO % b"two"),
        *request(WHO % b"one"),
        listener="http_state",
        status=(201, 201, 201),
        logged=3,
        contains=(r"log 201 one p-one", r"log 201 two p-two"),
    ),
]

FAILURES = [
    case("no_such_listener", b"x", Do("end"), listener="lost", log="UF", end=End.CLOSED),
    case("no_such_listener_for_a_request", *request(GET % b"/"), listener="http_lost", status=503, log="UF"),
    case("no_chain_matches", b"", Do("end"), listener="unmatched", end=End.CLOSED),
]

ADMIN = [
    case(name, *request(GET % path), listener="admin", status=200, stats="^none$")
    for name, path in (
        ("listeners", b"/listeners"),
        ("listeners_json", b"/listeners?format=json"),
        ("endpoints", b"/config_dump?include_eds&resource=static_endpoint_configs&name_regex=to_tcp"),
        ("clusters", b"/clusters?filter=to_nowhere"),
        ("clusters_json", b"/clusters?filter=to_nowhere&format=json"),
    )
]


@pytest.mark.parametrize("one", [*THROUGH, *REQUESTS, *BROUGHT, *STATE, *FAILURES, *ADMIN], ids=case_id)
def test_internal_listeners(one: Case, pairs: Pairs) -> None:
    pairs.check(one)
