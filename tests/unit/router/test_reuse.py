"""What an update of a route configuration takes over, and that it finds what a table made anew finds."""

from typing import Any

import msgspec
import pytest
from envoy.config.route.v3 import route_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.reuse import MANY_ROUTES, Digests, digest_without
from proxeny.router.route_table import RouteTable
from proxeny.runtime.snapshot import RuntimeReader
from proxeny.stats.store import MainStore

WORKER = FactoryContext(role="worker", stats=None, runtime=RuntimeReader())  # type: ignore[arg-type]
MANY = 2 * MANY_ROUTES


def config_of(*hosts: tuple[str, int]) -> Any:
    """Virtual hosts by name, each with so many routes."""
    config = route_pb2.RouteConfiguration(name="r")
    for name, count in hosts:
        host = config.virtual_hosts.add(name=name, domains=[name])
        for number in range(count):
            add_route(host, f"/{number}/", f"c{number}")
    return config


def add_route(host: Any, prefix: str, cluster: str) -> Any:
    route = host.routes.add()
    route.match.prefix, route.route.cluster = prefix, cluster
    return route


def update(config: Any, previous: RouteTable | None = None, context: FactoryContext = WORKER) -> RouteTable:
    return finish(RouteTable.compile_steps(config, context, previous, False))


def cluster(table: RouteTable, host: str, path: str) -> str | None:
    headers = HeaderMap([(b":method", b"GET"), (b":path", path.encode()), (b":authority", host.encode())])
    route = table.route(headers, None, 0)
    return None if route is None else route.entry.cluster  # type: ignore[union-attr]


def same(one: RouteTable, other: RouteTable) -> list[bool]:
    return [a is b for a, b in zip(one.virtual_hosts, other.virtual_hosts, strict=True)]


def test_virtual_hosts_that_did_not_change_are_taken_over() -> None:
    config = config_of(("a", 2), ("b", MANY), ("c", 1))
    first = update(config)
    assert all(same(first, update(config, first)))
    config.virtual_hosts[0].routes[0].route.cluster = "other"
    second = update(config, first)
    assert same(first, second) == [False, True, True]
    assert second.info is first.info
    assert cluster(second, "a", "/0/") == "other"
    assert cluster(first, "a", "/0/") == "c0"


def test_virtual_hosts_may_change_places_and_come_and_go() -> None:
    first = update(config_of(("a", 2), ("b", 2), ("c", 2)))
    second = update(config_of(("c", 2), ("new", 1), ("a", 2)), first)
    assert second.virtual_hosts[0] is first.virtual_hosts[2]
    assert second.virtual_hosts[2] is first.virtual_hosts[0]
    assert cluster(second, "b", "/0/") is None
    assert cluster(second, "new", "/0/") == "c0"


def test_what_virtual_hosts_inherit_makes_them_all_new() -> None:
    config = config_of(("a", 2), ("b", MANY))
    first = update(config)
    config.most_specific_header_mutations_wins = True
    assert same(first, update(config, first)) == [False, False]


def test_routes_that_did_not_change_are_taken_over_where_there_are_many() -> None:
    config = config_of(("a", MANY))
    first = update(config)
    old = first.virtual_hosts[0].routes
    host = config.virtual_hosts[0]
    host.routes[7].route.cluster = "other"
    second = update(config, first)
    new = second.virtual_hosts[0].routes
    assert [number for number in range(MANY) if new[number] is not old[number]] == [7]
    assert new[7].virtual_host is old[0].virtual_host
    assert second.virtual_hosts[0].route_list.index is first.virtual_hosts[0].route_list.index
    assert cluster(second, "a", "/7/") == "other"

    del host.routes[3]
    add_route(host, "/new/", "new")
    third = update(config, second)
    assert third.virtual_hosts[0].routes[:3] == new[:3]
    assert third.virtual_hosts[0].routes[3:-1] == new[4:]
    assert cluster(third, "a", "/3/") is None
    assert [cluster(third, "a", path) for path in ("/7/x", "/4/", "/new/")] == ["other", "c4", "new"]


@pytest.mark.parametrize("place", [0, 1, 63, 64, 700, 1023])
def test_among_very_many_all_but_the_changed_ones_are_taken_over(place: int) -> None:
    config = config_of(("a", 1024))
    first = update(config)
    old = first.virtual_hosts[0].routes
    host = config.virtual_hosts[0]
    host.routes[place].route.cluster = "other"
    second = update(config, first)
    new = second.virtual_hosts[0].routes
    assert [number for number in range(1024) if new[number] is not old[number]] == [place]
    assert second.virtual_hosts[0].route_list.index is first.virtual_hosts[0].route_list.index
    assert cluster(second, "a", f"/{place}/") == "other"
    del host.routes[place]
    third = update(config, second)
    assert third.virtual_hosts[0].routes == (*new[:place], *new[place + 1 :])
    assert cluster(third, "a", f"/{place}/") is None


def test_a_virtual_host_of_other_properties_is_compiled_anew() -> None:
    config = config_of(("a", MANY))
    first = update(config)
    config.virtual_hosts[0].include_request_attempt_count = True
    second = update(config, first)
    assert second.virtual_hosts[0].routes[0] is not first.virtual_hosts[0].routes[0]
    assert second.virtual_hosts[0].routes[0].virtual_host.include_request_attempt_count


def test_a_match_that_changes_makes_a_new_index() -> None:
    config = config_of(("a", MANY))
    first = update(config)
    config.virtual_hosts[0].routes[5].match.prefix = "/moved/"
    second = update(config, first)
    assert cluster(second, "a", "/5/") is None
    assert cluster(second, "a", "/moved/") == "c5"
    assert cluster(first, "a", "/5/") == "c5"


def test_weights_that_runtime_changes_make_a_new_index() -> None:
    config = config_of(("a", MANY))
    first = update(config)
    weighted = config.virtual_hosts[0].routes[5].route.weighted_clusters
    weighted.clusters.add(name="w").weight.value = 1
    second = update(config, first)
    assert second.virtual_hosts[0].route_list.index is first.virtual_hosts[0].route_list.index
    weighted.runtime_key_prefix = "k"
    third = update(config, second)
    assert third.virtual_hosts[0].route_list.index is not first.virtual_hosts[0].route_list.index
    weighted.runtime_key_prefix = ""
    fourth = update(config, third)
    assert fourth.virtual_hosts[0].route_list.index is not third.virtual_hosts[0].route_list.index


def test_a_refused_update_leaves_the_table_as_it_was() -> None:
    config = config_of(("a", MANY))
    first = update(config)
    broken = add_route(config.virtual_hosts[0], "/x/", "c")
    broken.match.safe_regex.regex = "("
    with pytest.raises(ConfigError):
        update(config, first)
    assert cluster(first, "a", "/9/") == "c9"
    del config.virtual_hosts[0].routes[-1]
    assert same(first, update(config, first)) == [True]


def test_duplicate_domains_are_refused_among_old_and_new() -> None:
    first = update(config_of(("a", 1)))
    config = config_of(("a", 1), ("b", 1))
    config.virtual_hosts[1].domains.append("a")
    with pytest.raises(ConfigError, match="Only unique values for domains are permitted"):
        update(config, first)


@pytest.mark.parametrize("count", [1, MANY])
def test_files_are_read_again(tmp_path: Any, count: int) -> None:
    body = tmp_path / "body"
    body.write_text("one")
    config = config_of(("a", count))
    response = config.virtual_hosts[0].routes[0].direct_response
    response.status, response.body.filename = 200, str(body)
    first = update(config)
    body.write_text("two")
    config.virtual_hosts[0].routes.add().match.prefix = "/z/"
    config.virtual_hosts[0].routes[-1].route.cluster = "z"
    second = update(config, first)
    assert second.virtual_hosts[0].routes[0].entry.body == b"two"  # type: ignore[union-attr]
    body.write_text("three")
    third = update(config, second)
    assert third.virtual_hosts[0].routes[0].entry.body == b"three"  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [1, MANY])
def test_formats_are_read_again(tmp_path: Any, count: int) -> None:
    text = tmp_path / "format"
    text.write_text("one")
    config = config_of(("a", count))
    response = config.virtual_hosts[0].routes[0].direct_response
    response.status, response.body_format.text_format_source.filename = 200, str(text)
    first = update(config)
    text.write_text("two")
    second = update(config, first)
    assert same(first, second) == [False]
    assert first.virtual_hosts[0].routes[0] is not second.virtual_hosts[0].routes[0]


def test_in_main_statistics_belong_to_the_new_table_too() -> None:
    store = MainStore()
    context = FactoryContext(role="main", stats=store)
    config = config_of(("a", 1), ("b", MANY))
    config.virtual_hosts[0].routes[0].stat_prefix = "p"
    cluster_of_host = config.virtual_hosts[1].virtual_clusters.add(name="vc")
    cluster_of_host.headers.add(name="x").present_match = True
    with store.recording() as first_table:
        first = update(config, context=context)
    assert {prefix for _, prefix in first_table} == {
        "vhost.a.route.p.",
        "vhost.b.vcluster.vc.",
        "vhost.b.vcluster.other.",
    }
    config.virtual_hosts[1].routes[0].route.cluster = "other"
    with store.recording() as second_table:
        second = update(config, first, context)
    assert second_table == first_table
    assert same(first, second) == [True, False]
    store.release(first_table)
    assert set(second_table) <= set(store.entries)
    store.release(second_table)
    assert not set(second_table) & set(store.entries)


def test_in_main_the_clusters_of_unchanged_routes_are_looked_up_again() -> None:
    config = config_of(("a", 1))
    config.validate_clusters.value = True
    known = FactoryContext(role="main", stats=MainStore(), cluster_names=frozenset({"c0"}))
    first = update(config, context=known)
    with pytest.raises(ConfigError, match="unknown cluster 'c0'"):
        update(config, first, FactoryContext(role="main", stats=MainStore(), cluster_names=frozenset()))


def test_policies_that_no_route_has_any_more_go() -> None:
    config = config_of(("a", MANY))
    table = update(config)
    for number in range(400):
        config.virtual_hosts[0].routes[0].route.timeout.seconds = number + 1
        table = update(config, table)
    compiler = table.virtual_hosts[0].origin.compiler
    assert len(compiler._policies) <= 130
    assert table.virtual_hosts[0].routes[0].entry.timeout_ms == 400_000  # type: ignore[union-attr]


def test_digests_that_main_made_are_used() -> None:
    config = config_of(("a", MANY), ("b", 2), ("c", 3))
    first = update(config)
    config.virtual_hosts[0].routes[3].route.cluster = "other"
    config.virtual_hosts[2].routes[0].route.cluster = "other"
    sent = msgspec.msgpack.encode(update(config).digests())
    digests = msgspec.msgpack.Decoder(Digests).decode(sent)
    second = finish(RouteTable.compile_steps(config, WORKER, first, False, digests))
    assert same(first, second) == [False, True, False]
    old, new = first.virtual_hosts[0].routes, second.virtual_hosts[0].routes
    assert [number for number in range(MANY) if new[number] is not old[number]] == [3]
    assert second.digests() == update(config).digests()


def test_what_main_would_not_take_over_has_no_digest(tmp_path: Any) -> None:
    body = tmp_path / "body"
    body.write_text("one")
    config = config_of(("a", 1), ("b", MANY))
    response = config.virtual_hosts[0].routes[0].direct_response
    response.status, response.body.filename = 200, str(body)
    first = update(config)
    digests = first.digests()
    assert digests.find(0) is None
    assert digests.find(1) is not None
    assert same(first, finish(RouteTable.compile_steps(config, WORKER, first, False, digests))) == [False, True]


def test_a_digest_without_a_field() -> None:
    config = config_of(("a", 1))
    config.metadata.SetInParent()
    without = digest_without(config, "virtual_hosts")
    config.virtual_hosts.add(name="b")
    assert digest_without(config, "virtual_hosts") == without
    config.ClearField("metadata")
    assert digest_without(config, "virtual_hosts") != without


Edits = st.lists(st.tuples(st.sampled_from("adrmx"), st.integers(0, 200), st.integers(0, 9)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(Edits, min_size=1, max_size=4))
def test_updates_find_what_a_new_table_finds(updates: list[Any]) -> None:
    config = config_of(("a", MANY_ROUTES + 3), ("b", 3))
    table = told = update(config)
    for edits in updates:
        for kind, place, value in edits:
            host = config.virtual_hosts[place % 2]
            at = place % len(host.routes)
            if kind == "a":
                add_route(host, f"/{value}", f"n{value}")
            elif kind == "d" and len(host.routes) > 1:
                del host.routes[at]
            elif kind == "r":
                host.routes[at].route.cluster = f"r{value}"
            elif kind == "m":
                host.routes[at].match.headers.add(name="x").present_match = bool(value % 2)
            else:
                host.routes[at].match.path = f"/{value}/"
        table = update(config, table)
        told = finish(RouteTable.compile_steps(config, WORKER, told, False, table.digests()))
        anew = RouteTable.compile(config, WORKER, False)
        for host_name in "ab":
            for number in range(0, 80, 3):
                path = f"/{number}/"
                found = cluster(anew, host_name, path)
                assert cluster(table, host_name, path) == found
                assert cluster(told, host_name, path) == found


def test_a_table_goes_part_by_part() -> None:
    table = update(config_of(("a", MANY), ("b", 3)))
    parts = table.parts()
    assert len(parts) == MANY + 2
    assert tuple(parts[-2:]) == table.virtual_hosts
