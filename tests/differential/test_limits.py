"""Limits on connections, and what an overloaded server does."""

import pytest
from tests.differential.harness import Case, Do, Expect, Pairs, Send, StatIs, Step, case_id, request
from tests.differential.wire import End

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
LISTENER_STATS = r"^(listener\.LISTENER\.downstream|overload\.)"


def served(on: int = 0) -> tuple[Step, ...]:
    """Connection ``on`` echoes."""
    return (Send(b"hello", on), Expect(b"hello", on))


def refused(on: int) -> tuple[Step, ...]:
    """Connection ``on`` is closed before it sends anything."""
    return (Send(b"", on), Do("end", on))


def case(
    name: str,
    listener: str,
    *steps: Step,
    config: str = "limits",
    end: End | None = None,
    ignore: tuple[str, ...] = (),
) -> Case:
    return Case(
        name, steps, config=config, listener=listener, stats=LISTENER_STATS, end=end, ignore=("pressure", *ignore)
    )


def of_all(name: str, listener: str, *steps: Step, ignore: tuple[str, ...] = ()) -> Case:
    return case(name, listener, *steps, config="limits_of_all", ignore=ignore)


def overloaded(name: str) -> StatIs:
    """Wait until the overload manager has looked for the first time."""
    return StatIs(f"overload.{name}.scale_percent", 100)


def closed(name: str, listener: str, config: str, what: str) -> Case:
    """Under this action or load shed point a connection is closed at once."""
    steps = (overloaded(what), b"", Do("end"))
    return case(name, listener, *steps, config=config, end=End.CLOSED, ignore=(r"\.active$", "scale_percent"))


CASES = [
    case("one", "one", *served(), *refused(1), *refused(2)),
    case("two", "two", *served(), *served(1), *refused(2)),
    case(
        "room_again",
        "one",
        *served(),
        *refused(1),
        Do("close"),
        StatIs("listener.one.downstream_cx_active", 0),
        *served(2),
    ),
    case("none", "none", b"", Do("end"), end=End.CLOSED),
    case("no_limit", "free", *served(), *served(1), *served(2)),
    case("an_empty_limit", "empty", *served(), *served(1)),
    case("a_limit_that_is_no_number", "word", *served(), *served(1)),
    of_all("of_all", "counted", *served(), *served(1), *refused(2), *refused(3)),
    # At the end of a connection that it did not count, Envoy gives back what was never taken: a failed update.
    of_all("of_all_ignored", "ignoring", *served(), *served(1), *served(2), ignore=("failed_updates",)),
    of_all("of_all_bypassed", "bypassing", *served(), *served(1), *served(2)),
    of_all("of_all_and_its_own", "both", *served(), *refused(1)),
    closed("rejected", "rejecting", "overload_reject", "envoy.overload_actions.reject_incoming_connections"),
    case("rejection_bypassed", "bypassing", *served(), config="overload_reject"),
    closed("shed", "shedding", "overload_shed", "envoy.load_shed_points.tcp_listener_accept"),
    case("shedding_bypassed", "bypassing", *served(), config="overload_shed"),
    Case(
        "no_requests",
        (overloaded("envoy.overload_actions.stop_accepting_requests"), *request(GET)),
        config="overload_requests",
        status=(503, 503),  # the second is for the request that shows that the connection is still open
        log="overload",
        contains=("body 'envoy overloaded'",),
    ),
    Case("requests_bypass", request(GET), config="overload_requests", listener="bypassing", status=200, end=End.OPEN),
    Case(
        "no_keepalive",
        (overloaded("envoy.overload_actions.disable_http_keepalive"), *request(GET)),
        config="overload_keepalive",
        status=200,
        end=End.CLOSED,
    ),
    Case("keepalive_bypass", request(GET), config="overload_keepalive", listener="bypassing", status=200, end=End.OPEN),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_limits(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
