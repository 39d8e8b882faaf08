"""Listeners and routes from the control plane."""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2
from tests.differential.xds_config import Json, address, listener, routes, static
from tests.differential.xds_pair import XdsCase, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import CDS, LDS, RDS, type_url

CASES: list[XdsCase] = []
case = into(CASES)


def by_rds(side: Side, name: str, routes_name: str = "r", **source: Any) -> Json:
    """A listener with discovered routes; ``source`` are fields of the config source."""
    return listener(name, rds={"route_config_name": routes_name, "config_source": side.variant.source(**source)})


# -- listeners -------------------------------------------------------------------------------------------------


@case("200 'x'", "200 'y'", "listener_in_place_updated: +1")
def listeners_come_change_and_go(side: Side) -> None:
    side.put(LDS, listener("l", route_config=routes("r", "=x")), listener("m"))
    side.get("l", "/say", "x")
    side.put(LDS, listener("l", route_config=routes("r", "=y")))
    side.get("l", "/say", "y")
    side.wait_for_stat(
        "listener_manager.listener_in_place_updated", side.before("listener_manager.listener_in_place_updated") + 1
    )


@case("listener_manager.listener_modified: +1")
def a_listener_changes_as_a_whole(side: Side) -> None:
    side.put(LDS, listener("l"))
    side.put(LDS, listener("l", per_connection_buffer_limit_bytes=4096))
    side.get("l", "/say", "'l'")


@case("listener_manager.listener_added: +1")
def the_same_listeners_again(side: Side) -> None:
    side.put(LDS, listener("l"))
    if not side.variant.delta:
        side.put(LDS, listener("l"))


@case("error=13:", "listener_manager.listener_added: +2")
def one_listener_of_two_is_refused(side: Side) -> None:
    side.put_bad(LDS, listener("l"), {"name": "bad", "address": address(0), "listener_filters": [{"name": "nothing"}]})
    side.get("l", "/say", "'l'")
    side.put(LDS, listener("l"), listener("bad"))


@case("duplicate")
def a_listener_twice(side: Side) -> None:
    side.plane.hold(LDS)
    side.plane.send(LDS, [listener("l"), listener("l", route_config=routes("r", "=x"))], version="twice")
    side.nacked(LDS, "twice")


@case("error=13:")
def a_listener_without_an_address(side: Side) -> None:
    side.ignore("^ListenersConfigDump")
    side.put_bad(LDS, {"name": "l"})


@case("error=13:", "in use")
def the_address_is_taken(side: Side) -> None:
    taken = listener("l")
    taken["address"] = address(side.port("one"))
    side.put_bad(LDS, taken, listener("m"))
    side.put(LDS, listener("m"))


@case("error=13:")
def two_filter_chains_that_match_the_same(side: Side) -> None:
    twice = listener("l")
    twice["filter_chains"] *= 2
    side.put_bad(LDS, twice)


@case("error=13:")
def a_listener_of_another_type(side: Side) -> None:
    side.serve_by_name(LDS, l=any_pb2.Any(type_url=type_url(CDS), value=b""))
    side.nacked(LDS, side.version)
    side.put(LDS, listener("l"))


@case("error=13:")
def a_filter_that_is_misconfigured(side: Side) -> None:
    side.ignore("^ListenersConfigDump")  # where Proxeny shows the path of the field
    wrong = listener("l")
    del wrong["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"]
    side.put_bad(LDS, wrong)


@case("held: ")
def a_listener_goes_under_a_request(side: Side) -> None:
    side.put(CDS, static("a", side.port("one")))
    side.put(LDS, listener("l", route_config=routes("r", "a", match="prefix")))
    side.get("l", "/a", "one")
    let_go = side.hold("l", "/a/hold")
    side.put(LDS, listener("m"))
    side.get("m", "/say", "'m'")
    let_go()


@case("listener_manager.lds.update_success: +20")
def a_flood_of_listeners(side: Side) -> None:
    side.ignore("listener_create_success")
    for number in range(19):
        side.serve(LDS, listener("l", route_config=routes("r", f"={number}")))
    side.put(LDS, listener("l", route_config=routes("r", "=last")))
    side.get("l", "/say", "last")


# -- routes ----------------------------------------------------------------------------------------------------


@case("200 'x'", "200 'y'")
def routes_over_the_same(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    side.get("l", "/say", "x")
    side.put(RDS, routes("r", "=y"))
    side.get("l", "/say", "y")


@case("warming 1", "200 'x'")
def routes_come_late(side: Side) -> None:
    side.plane.hold(RDS)
    side.put(LDS, by_rds(side, "l"))
    side.asked_for(RDS, "r")
    side.note(f"warming {side.stat('listener_manager.total_listeners_warming')}")
    side.note(f"listens: {'l' in side.listening()}")
    version = side.serve(RDS, routes("r", "=x"))
    side.plane.release(RDS)
    side.acked(RDS, version)
    side.get("l", "/say", "x")


@case("404", "200 'x'", "init_fetch_timeout: +1")
def routes_never_come(side: Side) -> None:
    side.plane.hold(RDS)
    side.put(LDS, by_rds(side, "l", initial_fetch_timeout="0.05s"))
    side.get("l", "/say", "404")
    version = side.serve(RDS, routes("r", "=x"))
    side.plane.release(RDS)
    side.acked(RDS, version)
    side.get("l", "/say", "x")


@case("200 'x'")
def a_listener_changes_while_it_warms(side: Side) -> None:
    side.ignore("^ADS RDS: ")  # Proxeny lets go of the first routes a turn later: one request more
    side.plane.hold(RDS)
    side.put(LDS, by_rds(side, "l"))
    side.asked_for(RDS, "r")
    side.put(LDS, by_rds(side, "l", "other"))
    side.asked_for(RDS, "other")
    version = side.serve(RDS, routes("other", "=x"))
    side.plane.release(RDS)
    side.acked(RDS, version)
    side.get("l", "/say", "x")


@case("listener_manager.listener_removed: +1")
def a_listener_goes_while_it_warms(side: Side) -> None:
    side.plane.hold(RDS)
    side.put(LDS, by_rds(side, "l"))
    side.asked_for(RDS, "r")
    side.put(LDS, listener("m"))
    side.asked_for(RDS)


@case("error=13:", "200 'x'", "200 'y'")
def routes_that_are_refused(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    bad = routes("r", "=y")
    bad["virtual_hosts"] *= 2
    side.put_bad(RDS, bad)
    side.get("l", "/say", "x")
    side.put(RDS, routes("r", "=y"))
    side.get("l", "/say", "y")


@case("error=13:", "404")
def the_first_routes_are_refused(side: Side) -> None:
    bad = routes("r", "=y")
    bad["virtual_hosts"] *= 2
    version = side.serve(RDS, bad)
    side.put(LDS, by_rds(side, "l"))
    side.nacked(RDS, version)
    side.get("l", "/say", "404")


@case("503", "200 'one'")
def routes_to_a_cluster_that_comes_later(side: Side) -> None:
    version = side.serve(RDS, routes("r", "a"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    side.get("l", "/a", "503")
    side.put(CDS, static("a", side.port("one")))
    side.get("l", "/a", "one")
    side.put(CDS)
    side.get("l", "/a", "503")


@case("unknown cluster 'nobody'")
def routes_that_want_their_clusters_checked(side: Side) -> None:
    version = side.serve(RDS, routes("r", "nobody", validate_clusters=True))
    side.put(LDS, by_rds(side, "l"))
    side.nacked(RDS, version)
    side.put(CDS, static("nobody"))
    side.put(RDS, routes("r", "nobody", "=x", validate_clusters=True))


@case("listener_manager.listener_added: +2")
def two_listeners_of_the_same_routes(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"), by_rds(side, "m"))
    side.acked(RDS, version)
    side.get("l", "/say", "x")
    side.get("m", "/say", "x")
    side.put(LDS, by_rds(side, "m"))
    side.put(RDS, routes("r", "=y"))
    side.get("m", "/say", "y")


@case("http.l.rds.s.config_reload: +2")
def routes_of_one_of_two_listeners(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"), routes("s", "=x"))
    side.put(LDS, by_rds(side, "l", "s"), by_rds(side, "m"))
    side.get("l", "/say", "x")
    side.get("m", "/say", "x")
    side.put(RDS, routes("r", "=x"), routes("s", "=y"))
    side.get("l", "/say", "y")


@case("200 'x'", "200 'y'")
def a_listener_takes_other_routes(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"), routes("s", "=y"))
    side.put(LDS, by_rds(side, "l"))
    side.get("l", "/say", "x")
    side.put(LDS, by_rds(side, "l", "s"))
    side.get("l", "/say", "y")
    side.asked_for(RDS, "s")


@case("200 'x'")
def routes_that_are_removed_hold(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    side.put(RDS, routes("s", "=x"))
    side.get("l", "/say", "x")


@case("200 'x'")
def routes_of_a_name_that_nobody_asked_for(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    side.plane.hold(RDS)
    side.plane.send(RDS, [routes("stranger", "=y")], version="stranger")
    side.replied(RDS, "stranger")
    side.get("l", "/say", "x")


@case("http.l.rds.r.version_text")
def a_flood_of_routes(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    for number in range(20):
        side.serve(RDS, routes("r", f"={number}"))
    side.put(RDS, routes("r", "=last"))
    side.get("l", "/say", "last")


@case("held: [\"200 'one'\"]")
def routes_change_under_a_request(side: Side) -> None:
    side.put(CDS, static("a", side.port("one")))
    version = side.serve(RDS, routes("r", "a", match="prefix"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    side.get("l", "/a", "one")
    let_go = side.hold("l", "/a/hold")
    side.put(RDS, routes("r", "=x"))
    side.get("l", "/say", "x")
    let_go()
