"""Names that are resolved once: families, kinds of answers, resolvers; what becomes of hosts, requests and counters."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential.dns_pair import DnsPair, Side
from tests.name_server import AAAA, Fault

RECORDS = {
    "dual.test": ["127.0.0.2", "::1"],
    "four.test": ["127.0.0.3"],
    "six.test": ["::1"],
    "one.test": ["127.0.0.2"],
    "two.test": ["127.0.0.2", "127.0.0.3", "127.0.0.2"],
    "half.test": ["127.0.0.4"],
    "real.test": ["127.0.0.4"],
    "big.test": [f"10.0.{i // 250}.{i % 250}" for i in range(1000)],
    "empty.test": [],
    "servfail.test": Fault.SERVFAIL,
    "refused.test": Fault.REFUSED,
    "notimp.test": Fault.NOTIMP,
    "garbage.test": Fault.GARBAGE,
    "loop.test": Fault.LOOP,
    "truncated.test": Fault.TRUNCATED,
    "silent.test": Fault.SILENCE,
    **{f"{name}.test": ["127.0.0.1"] for name in ("tcp", "search", "edns", "legacy", "resolution", "alone")},
}
UPDATES = ("update_attempt", "update_success", "update_failure", "update_empty", "update_no_rebuild")
MEMBERS = ("membership_total", "membership_healthy", "membership_degraded", "membership_change", "max_host_weight")
TOTALS = ("upstream_cx_total", "upstream_cx_none_healthy", "upstream_cx_connect_fail", "default.total_match_count")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsPair]:
    pair = DnsPair("dns", Path(tmp_path_factory.mktemp("dns")), RECORDS, {"alias.test": "real.test"})
    for side in pair.sides:
        side.server.faults["half.test", AAAA] = Fault.SERVFAIL
    yield pair
    pair.close()


def check(pair: DnsPair, cluster: str, *contains: str) -> None:
    """The hosts of a cluster, a request to it, its counters."""

    def case(side: Side) -> None:
        side.hosts(cluster)
        side.get(cluster)
        side.counters(cluster, *UPDATES, *MEMBERS, *TOTALS)

    pair.check(case, contains)


@pytest.mark.parametrize(
    ("cluster", "served_by"),
    [
        ("strict_v4_only", "127.0.0.2"),
        ("strict_v6_only", "::1"),
        ("strict_auto", "::1"),
        ("strict_v4_preferred", "127.0.0.2"),
        ("logical_v4_only", "127.0.0.2"),
        ("logical_v6_only", "::1"),
        ("logical_auto", "::1"),
        ("logical_v4_preferred", "127.0.0.2"),
        ("logical_all", "127.0.0.2"),
        ("auto_four", "127.0.0.3"),
        ("preferred_six", "::1"),
        ("alias_strict", "127.0.0.4"),
        ("half_strict", "127.0.0.4"),
        ("half_all", "127.0.0.4"),
        ("literal_strict", "127.0.0.2"),
        ("literal_six", "::1"),
        ("logical_priority", "127.0.0.2"),
        ("extension_logical", "127.0.0.2"),
        ("legacy", "127.0.0.1"),
        ("resolution", "127.0.0.1"),
        ("options_alone", "127.0.0.1"),
        ("system", "127.0.0.1"),
    ],
)
def test_one_host(pair: DnsPair, cluster: str, served_by: str) -> None:
    check(pair, cluster, rf"^{cluster}: 200 {served_by}$", "^log 200 - via_upstream", "update_success 1")


@pytest.mark.parametrize("what", ["none", "empty", "servfail", "refused", "notimp", "garbage", "loop", "truncated"])
@pytest.mark.parametrize("kind", ["strict", "logical"])
def test_no_host(pair: DnsPair, what: str, kind: str) -> None:
    check(pair, f"{what}_{kind}", "503 no healthy upstream", "^log 503 UH no_healthy_upstream")


def test_a_literal_of_the_other_family(pair: DnsPair) -> None:
    check(pair, "literal_wrong", "update_failure 1", "503 no healthy upstream")


@pytest.mark.parametrize("kind", ["strict", "logical"])
def test_a_server_that_keeps_silent(pair: DnsPair, kind: str) -> None:
    for side in pair.sides:
        side.wait(f"silent_{kind}", update_failure=1)
    check(pair, f"silent_{kind}", "update_failure 1")


@pytest.mark.parametrize(
    ("cluster", "hosts"), [("strict_all", 2), ("extension_strict", 2), ("hosts_file", 2), ("groups", 4)]
)
def test_several_hosts(pair: DnsPair, cluster: str, hosts: int) -> None:
    """Round robin starts anywhere: which of them serves is not compared."""

    def case(side: Side) -> None:
        side.hosts(cluster)
        side.counters(
            cluster, *UPDATES, *[name for name in MEMBERS if cluster != "groups" or name != "max_host_weight"]
        )

    pair.check(case, (f"membership_total {hosts}",))


def test_a_thousand_addresses(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        side.counters("big_strict", *UPDATES, *MEMBERS, *TOTALS)
        side.hosts("big_strict")
        side.note(str([(query.tcp, query.payload) for query in side.server.queries if query.name == "big.test"]))

    pair.check(case, ("membership_total 1000", r"\[\(False, 1232\), \(True, 1232\)\]"))


@pytest.mark.parametrize("name", ["tcp", "search", "edns", "legacy", "resolution", "alone", "four", "six", "half"])
def test_what_name_servers_are_asked(pair: DnsPair, name: str) -> None:
    def case(side: Side) -> None:
        for query in sorted(side.server.queries):
            if query.name == f"{name}.test":
                side.note(f"{query.kind} tcp={query.tcp} payload={query.payload}")

    pair.check(case, ("payload",))


def test_counters_of_the_resolver(pair: DnsPair) -> None:
    """Of all that this configuration ever asked; the two that wait for silence have given up."""
    for side in pair.sides:
        side.wait("silent_strict", update_failure=1)
        side.wait("silent_logical", update_failure=1)

    def case(side: Side) -> None:
        for name, value in sorted(side.stats("^dns.cares").items()):
            side.note(f"{name} {value}")

    pair.check(case, ("pending_resolutions 0", "timeouts 2", "not_found [1-9]"))
