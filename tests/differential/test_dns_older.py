"""`envoy.reloadable_features.enable_new_dns_implementation: false`: a logical host stays the same one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential.dns_pair import DnsPair, Side
from tests.differential.test_dns_changes import records, show

RECORDS = {
    "strict-moves.test": ["127.0.0.2"],
    "strict-vanishes.test": ["127.0.0.2"],
    "logical-moves.test": ["127.0.0.2", "127.0.0.3"],
    "logical-all.test": ["127.0.0.9", "::1"],
    "logical-vanishes.test": ["127.0.0.2"],
    "logical-priority.test": ["127.0.0.2"],
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsPair]:
    pair = DnsPair("dns_older", Path(tmp_path_factory.mktemp("dns_older")), RECORDS, {})
    yield pair
    pair.close()


def test_a_logical_host_keeps_its_connections(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        side.get("logical_moves")
        show(side, "logical_moves")
        for addresses in (["127.0.0.3", "127.0.0.2"], ["127.0.0.4"]):
            records(side, "logical_moves", addresses)
            side.wait_hosts("logical_moves", addresses[0])
            side.get("logical_moves")
            # %UPSTREAM_HOST% is the address that Envoy connected to, here that which the host has now.
            side.lines.pop()
            show(side, "logical_moves")
        side.counters("logical_moves", "update_failure")

    pair.check(case, ("logical_moves: 200 127.0.0.2", "upstream_cx_total 1", "membership_change 1"))


def test_a_strict_host_moves(pair: DnsPair) -> None:
    def case(side: Side) -> None:
        side.get("strict_moves")
        records(side, "strict_moves", ["127.0.0.3"])
        side.wait_hosts("strict_moves", "127.0.0.3")
        side.wait("strict_moves", upstream_cx_destroy=1, update_no_rebuild=1)
        side.get("strict_moves")
        show(side, "strict_moves")

    pair.check(case, ("strict_moves: 200 127.0.0.3", "membership_change 2"))


@pytest.mark.parametrize("cluster", ["logical_all", "logical_priority"])
def test_hosts(pair: DnsPair, cluster: str) -> None:
    def case(side: Side) -> None:
        side.get(cluster)
        show(side, cluster)

    pair.check(case, (f"{cluster}: 200",))


@pytest.mark.parametrize("cluster", ["logical_vanishes", "strict_vanishes"])
def test_a_name_vanishes(pair: DnsPair, cluster: str) -> None:
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
