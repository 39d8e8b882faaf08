"""Names whose addresses change while requests run, name servers that fail meanwhile, hosts of several addresses."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.differential.dns_pair import DnsPair, Side
from tests.name_server import Fault

RECORDS = {
    "strict-moves.test": ["127.0.0.2"],
    "strict-grows.test": ["127.0.0.2"],
    "strict-flaps.test": ["127.0.0.2"],
    "strict-fails.test": ["127.0.0.2"],
    "strict-vanishes.test": ["127.0.0.2"],
    "strict-times-out.test": ["127.0.0.2"],
    "logical-moves.test": ["127.0.0.2"],
    "logical-reorders.test": ["127.0.0.2", "127.0.0.3"],
    "logical-fails.test": ["127.0.0.2"],
    "logical-vanishes.test": ["127.0.0.2"],
    "logical-all.test": ["127.0.0.9", "::1"],
    "ttl.test": ["127.0.0.2"],
    "failure-rate.test": Fault.SERVFAIL,
    "aging.test": ["127.0.0.2"],
    "checked.test": ["127.0.0.2"],
    "checked-ignored.test": ["127.0.0.2"],
}
MEMBERS = ("membership_total", "membership_healthy", "membership_change", "max_host_weight", "update_empty")
CONNECTIONS = (
    "upstream_cx_total",
    "upstream_cx_http1_total",
    "upstream_cx_active",
    "upstream_cx_destroy",
    "upstream_cx_destroy_local",
    "upstream_cx_destroy_remote",
    "upstream_cx_connect_fail",
    "upstream_cx_connect_timeout",
    "upstream_rq_pending_failure_eject",
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsPair]:
    pair = DnsPair("dns_changes", Path(tmp_path_factory.mktemp("dns_changes")), RECORDS, {})
    yield pair
    pair.close()


def records(side: Side, cluster: str, what: Sequence[str] | Fault | None) -> None:
    name = f"{cluster.replace('_', '-')}.test"
    if what is None:
        side.server.records.pop(name, None)
    else:
        side.server.records[name] = what


def show(side: Side, cluster: str) -> None:
    side.hosts(cluster)
    side.counters(cluster, *MEMBERS, *CONNECTIONS)


@pytest.mark.parametrize("cluster", ["strict_moves", "logical_moves"])
def test_a_host_moves(pair: DnsPair, cluster: str) -> None:
    """The connection to the old one is closed."""

    def case(side: Side) -> None:
        side.get(cluster)
        show(side, cluster)
        for number, address in enumerate(("127.0.0.3", "127.0.0.4", "127.0.0.2"), start=1):
            records(side, cluster, [address])
            side.wait_hosts(cluster, address)
            side.wait(cluster, upstream_cx_destroy=number)
            side.get(cluster)
            show(side, cluster)

    pair.check(case, (f"{cluster}: 200 127.0.0.4", "membership_change 4", "upstream_cx_destroy_local 3"))


def test_hosts_come_and_go_beside_one_that_stays(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        cluster = "strict_grows"
        side.get(cluster)
        for hosts in (["127.0.0.2", "127.0.0.9"], ["127.0.0.9", "127.0.0.2", "127.0.0.8"], ["127.0.0.2"]):
            records(side, cluster, hosts)
            side.wait_hosts(cluster, *hosts)
            show(side, cluster)
        side.get(cluster)
        show(side, cluster)

    pair.check(case, ("upstream_cx_total 1", "upstream_cx_active 1", "membership_change 4"))


def test_another_order_is_no_change_for_a_strict_cluster_but_for_a_logical_one(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        cluster = "logical_reorders"
        side.get(cluster)
        for number, hosts in enumerate(
            (["127.0.0.3", "127.0.0.2"], ["127.0.0.3"], ["127.0.0.3", "127.0.0.4"]), start=1
        ):
            records(side, cluster, hosts)
            side.wait(cluster, membership_change=number + 1, upstream_cx_destroy=number)
            side.get(cluster)
            show(side, cluster)

    pair.check(case, ("membership_change 4", "upstream_cx_destroy 3"))


def test_a_name_that_flaps(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        cluster = "strict_flaps"
        side.get(cluster)
        for number in range(3):
            records(side, cluster, [])
            side.wait_hosts(cluster)
            side.wait(cluster, upstream_cx_destroy=number + 1)
            side.get(cluster, 503)
            records(side, cluster, ["127.0.0.3"])
            side.wait_hosts(cluster, "127.0.0.3")
            side.get(cluster, 200)
        show(side, cluster)

    pair.check(case, ("503 no healthy upstream", "200 127.0.0.3", "membership_change 7"))


@pytest.mark.parametrize("cluster", ["strict_vanishes", "logical_vanishes"])
def test_a_name_vanishes(pair: DnsPair, cluster: str) -> None:
    """A strict cluster has no host then, a logical one keeps its own."""

    def case(side: Side) -> None:
        side.get(cluster)
        records(side, cluster, None)
        if cluster.startswith("strict"):
            side.wait_hosts(cluster)
            side.get(cluster, 503)
        else:
            side.wait(cluster, update_failure=2)
            side.get(cluster, 200)
        show(side, cluster)

    pair.check(case)


@pytest.mark.parametrize("cluster", ["strict_fails", "logical_fails"])
def test_a_name_server_fails_and_comes_back(pair: DnsPair, cluster: str) -> None:
    """Hosts stay, and so do their connections."""

    def case(side: Side) -> None:
        side.get(cluster)
        for number, fault in enumerate((Fault.SERVFAIL, Fault.REFUSED, Fault.NOTIMP, Fault.GARBAGE), start=1):
            records(side, cluster, fault)
            side.wait(cluster, update_failure=2 * number)
            side.get(cluster)
        records(side, cluster, ["127.0.0.3"])
        side.wait_hosts(cluster, "127.0.0.3")
        side.wait(cluster, upstream_cx_destroy=1)
        side.get(cluster)
        show(side, cluster)

    pair.check(case, (f"{cluster}: 200 127.0.0.2", f"{cluster}: 200 127.0.0.3", "membership_change 2"))


def test_a_name_server_falls_silent(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        cluster = "strict_times_out"
        records(side, cluster, Fault.SILENCE)
        side.get(cluster)
        side.wait(cluster, update_failure=1)
        side.get(cluster)
        records(side, cluster, ["127.0.0.4"])
        side.wait_hosts(cluster, "127.0.0.4")
        side.wait(cluster, upstream_cx_destroy=1)
        side.get(cluster)
        show(side, cluster)

    pair.check(case, ("200 127.0.0.2", "200 127.0.0.4"))


def test_a_logical_host_has_all_addresses(pair: DnsPair) -> None:
    """The first refuses, so that the second is connected to."""

    def case(side: Side) -> None:
        side.get("logical_all")
        show(side, "logical_all")

    pair.check(case, ("200 ::1", "upstream_cx_total 2"))


def test_failures_have_a_rate_of_their_own(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        side.wait("failure_rate", update_failure=3)
        side.get("failure_rate")
        records(side, "failure_rate", ["127.0.0.2"])
        side.wait_hosts("failure_rate", "127.0.0.2")
        side.get("failure_rate", 200)
        show(side, "failure_rate")
        side.counters("failure_rate", "update_success")

    pair.check(case, ("503 no healthy upstream", "200 127.0.0.2", "update_success 1"))


def test_channels_age(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        side.wait_stat("dns.cares.reinits", side.stats("^dns.cares.reinits$")["dns.cares.reinits"] + 3)
        side.get("aging")

    pair.check(case, ("aging: 200",))


def test_a_host_whose_checks_succeed_stays(pair: DnsPair) -> None:
    """Gone from DNS, and back again: the same host. One that was never checked well goes at once."""

    def case(side: Side) -> None:
        side.wait("checked", membership_healthy=1)
        side.get("checked", 200)
        records(side, "checked", ["127.0.0.3"])
        side.wait("checked", membership_healthy=2)
        show(side, "checked")
        records(side, "checked", ["127.0.0.2", "127.0.0.3"])
        side.wait_line("checked", r"127.0.0.2:\d+::health_flags::healthy")
        show(side, "checked")
        records(side, "checked", ["127.0.0.2", "127.0.0.3", "127.0.0.9"])
        side.wait_line("checked", r"127.0.0.9:\d+::health_flags::/failed_active_hc")
        show(side, "checked")
        records(side, "checked", ["127.0.0.2", "127.0.0.3"])
        side.wait_hosts("checked", "127.0.0.2", "127.0.0.3")
        show(side, "checked")

    pair.check(case, ("health_flags::/pending_dynamic_removal", "health_flags::/failed_active_hc"))


def test_a_host_goes_whatever_its_checks_say(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        side.wait("checked_ignored", membership_healthy=1)
        records(side, "checked_ignored", ["127.0.0.3"])
        side.wait_hosts("checked_ignored", "127.0.0.3")
        side.wait("checked_ignored", membership_change=2, membership_healthy=1)
        side.get("checked_ignored", 200)
        side.hosts("checked_ignored")
        side.counters("checked_ignored", *MEMBERS)

    pair.check(case, ("200 127.0.0.3",))


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ("eyes_first", "200 127.0.0.2"),
        ("eyes_second", "200 ::1"),
        ("eyes_same_family", "200 127.0.0.3"),
        ("eyes_six", "200 ::1"),
        ("eyes_four", "200 127.0.0.3|200 ::1"),
        ("eyes_count", "200 127.0.0.3"),
        ("eyes_count_six", "200 ::1"),
        ("eyes_pipe", "200 127.0.0.3"),
        ("eyes_none", "503 upstream connect error"),
        ("eyes_none_pipe", "503 upstream connect error"),
        ("eyes_silent", "200 127.0.0.3"),
    ],
)
def test_happy_eyeballs(pair: DnsPair, cluster: str, expected: str) -> None:
    """Two requests, the second on the first one's connection where there is one."""

    def case(side: Side) -> None:
        side.get(cluster)
        side.get(cluster)
        show(side, cluster)

    pair.check(case, (f"{cluster}: ({expected})",))


def test_happy_eyeballs_of_the_tcp_proxy(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        side.stream("tcp", b"GET / HTTP/1.1\r\n\r\n")
        side.wait("eyes_tcp", upstream_cx_destroy=1)
        side.counters("eyes_tcp", *CONNECTIONS)

    pair.check(case, ("tcp: 127.0.0.4",))
