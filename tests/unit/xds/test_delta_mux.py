"""The delta protocol: what is requested when, who hears what."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from tests.unit.xds.streams import CLA, CLUSTER, NODE, Owner, World, assignment, assignments, delta_requests, wrapped

from proxeny.xds.delta_mux import MESSAGE, DeltaMux, DeltaWatch
from proxeny.xds.eds_cache import EdsResourcesCache
from proxeny.xds.rejection import RefusedResource, UpdateRejected
from proxeny.xds.subscription import FailureReason

HOST = "type.googleapis.com/envoy.config.route.v3.VirtualHost"


class Delta(World):
    """A mux that was started, and its stream."""

    def __init__(self, started: bool = True, limit: tuple[int, float] | None = None, **options: Any) -> None:
        super().__init__(MESSAGE, limit=limit)
        self.mux = DeltaMux(self.dispatcher, NODE, self.open_stream, skip_subsequent_node=True, **options)
        if started:
            self.mux.start()

    def watch(self, *names: str, type_url: str = CLA, namespaces: bool = False) -> tuple[Owner, DeltaWatch]:
        owner = Owner()
        return owner, self.mux.add_watch(type_url, names, owner, assignments(), namespaces)

    def answer(
        self,
        version: str,
        nonce: str,
        resources: Any = (),
        removed: Any = (),
        type_url: str = CLA,
        identifier: str = "",
    ) -> None:
        made = discovery_pb2.DeltaDiscoveryResponse(
            system_version_info=version, nonce=nonce, resources=resources, removed_resources=removed, type_url=type_url
        )
        if identifier:
            made.control_plane.identifier = identifier
        self.stream.callbacks.on_message(made.SerializeToString())

    def give(self, *names: str, version: str = "1", nonce: str = "n") -> None:
        """Resources at that version."""
        self.answer(version, nonce, [wrapped(name, assignment(name), version) for name in names])

    def asked(self) -> list[str]:
        return delta_requests(self.stream)


def test_names_are_subscribed_to_and_the_answer_taken() -> None:
    world = Delta()
    owner, _ = world.watch("a", "b")
    assert world.asked() == ["ClusterLoadAssignment n= +a +b node"]
    world.answer("1", "n1", [wrapped("a", assignment("a"), "v")], ["b"], identifier="plane")
    assert owner.news() == [("1", ["a"], ["b"])]
    assert world.asked() == ["ClusterLoadAssignment n=n1"]
    assert world.store.text_readouts["control_plane.identifier"] == "plane"


def test_everything_is_asked_for_by_naming_nothing() -> None:
    world = Delta()
    owner, _ = world.watch()
    assert world.asked() == ["ClusterLoadAssignment n= node"]
    world.give("a")
    world.answer("2", "n2")
    assert owner.news() == [("1", ["a"], []), ("2", [], [])]


def test_the_node_is_in_every_request_unless_told_otherwise() -> None:
    world = World(MESSAGE)
    mux = DeltaMux(world.dispatcher, NODE, world.open_stream)
    mux.start()
    for name in ("a", "b"):
        mux.add_watch(CLA, [name], Owner(), assignments())
    assert delta_requests(world.stream) == ["ClusterLoadAssignment n= +a node", "ClusterLoadAssignment n= +b node"]


def test_only_changes_of_all_interests_together_are_told() -> None:
    world = Delta()
    _, one = world.watch("a", "b")
    _, two = world.watch("b")
    assert world.asked() == ["ClusterLoadAssignment n= +a +b node"]
    one.update(["a"])
    assert world.asked() == []
    two.update(["c"])
    assert world.asked() == ["ClusterLoadAssignment n= +c -b"]
    one.close()
    one.close()
    assert world.asked() == ["ClusterLoadAssignment n= -a"]


def test_a_refused_update_is_told() -> None:
    world = Delta()
    owner, _ = world.watch("a")
    world.asked()
    world.give("a", version="1", nonce="n1")
    world.answer("bad", "n2", [wrapped("a", assignment("a"), "2")])
    assert world.asked() == ["ClusterLoadAssignment n=n1", "ClusterLoadAssignment n=n2 error 13 refused"]
    assert owner.failures == [(FailureReason.UPDATE_REJECTED, "refused")]
    world.stream.callbacks.on_close(0, "")
    world.advance(499)
    assert world.asked() == ["ClusterLoadAssignment n= +a a:1 node"]


@pytest.mark.parametrize(
    ("resources", "removed", "words"),
    [
        ([wrapped("a", endpoint_pb2.ClusterLoadAssignment())], (), "ClusterLoadAssignmentValidationError.ClusterName"),
        ([wrapped("a", assignment("a")), wrapped("a")], (), "duplicate name a found among added/updated resources"),
        ([wrapped("a")], (), f"type URL  embedded in an individual Any does not match the message-wide type URL {CLA}"),
        ([wrapped("a", assignment("a"))], ["a"], "duplicate name a found in the union of added+removed resources"),
        ((), ["b", "b"], "duplicate name b found in the union of added+removed resources"),
        (
            [discovery_pb2.Resource(name="a", resource=any_pb2.Any(type_url=CLA, value=b"\xff"))],
            (),
            "Unable to unpack as envoy.config.endpoint.v3.ClusterLoadAssignment: ",
        ),
    ],
)
def test_responses_that_contradict_themselves_are_refused(resources: Any, removed: Any, words: str) -> None:
    world = Delta()
    owner, _ = world.watch("a")
    world.asked()
    world.answer("1", "n1", resources, removed)
    (request,) = world.asked()
    assert request.startswith("ClusterLoadAssignment n=n1 error 13 ")
    assert words in request
    assert owner.news() == []


def test_an_alias_that_leads_nowhere_is_passed_on() -> None:
    world = Delta()
    owner, _ = world.watch("a")
    world.answer("1", "n1", [wrapped("a", aliases=["b"])])
    assert owner.news() == [("1", ["a"], [])]


def test_what_nobody_watches_is_not_decoded() -> None:
    world = Delta()
    owner, _ = world.watch("a")
    world.asked()
    world.answer("1", "n1", [discovery_pb2.Resource(name="b", resource=any_pb2.Any(type_url=CLA, value=b"\xff"))])
    assert world.asked() == ["ClusterLoadAssignment n=n1"]
    assert owner.news() == []


def test_a_type_that_nobody_watches_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    world = Delta()
    world.answer("1", "n1", type_url=CLUSTER)
    assert world.asked() == []
    assert f"for non-existent subscription {CLUSTER}." in caplog.text


def test_nothing_is_told_while_it_is_paused_and_acknowledgements_go_first() -> None:
    world = Delta()
    world.watch("a")
    world.asked()
    with world.mux.pause([CLA]), world.mux.pause([CLA]):
        world.watch("b")
        world.give("a", nonce="n1")
        world.give("a", nonce="n2")
        assert world.asked() == []
        world.watch(type_url=CLUSTER)
        assert world.asked() == ["Cluster n="]
    assert world.asked() == ["ClusterLoadAssignment n=n1 +b", "ClusterLoadAssignment n=n2"]


def test_a_new_stream_says_what_is_there() -> None:
    world = Delta()
    world.watch("a", "b")
    world.watch(type_url=CLUSTER)
    world.give("a")
    world.answer("5", "n", [wrapped("x", version="2", aliases=["y"])], type_url=CLUSTER)
    world.stream.callbacks.on_close(14, "")
    world.watch("c")
    world.advance(499)
    assert world.asked() == ["ClusterLoadAssignment n= +a +b +c a:1 node", "Cluster n= x:2"]


def test_acknowledgements_die_with_their_stream() -> None:
    world = Delta()
    world.watch("a")
    with world.mux.pause([CLA]):
        world.give("a")
        world.stream.callbacks.on_close(14, "")
    world.advance(499)
    assert world.asked() == ["ClusterLoadAssignment n= +a a:1 node"]


def test_removed_resources_have_no_version_any_more() -> None:
    world = Delta()
    world.watch("a", "b")
    world.give("a", "b")
    world.answer("2", "n", removed=["a"])
    world.stream.callbacks.on_close(14, "")
    world.advance(499)
    assert world.asked() == ["ClusterLoadAssignment n= +a +b b:1 node"]


def test_the_rate_limit_holds_requests_back() -> None:
    world = Delta(limit=(1, 1.0))
    world.watch("a")
    world.watch("b")
    world.watch("c")
    assert world.asked() == ["ClusterLoadAssignment n= +a node"]
    world.give("a", nonce="n1")
    assert world.stat("control_plane.pending_requests") == 1
    world.advance(1000)
    assert world.asked() == ["ClusterLoadAssignment n=n1 +b +c"]
    assert world.stat("control_plane.pending_requests") == 0


def test_heartbeats_prolong_a_life_and_are_no_news() -> None:
    world = Delta()
    owner, _ = world.watch("a", "b")
    world.answer("1", "n", [wrapped(name, assignment(name), "1", ttl_ms=1000) for name in ("a", "b")])
    owner.news()
    world.advance(900)
    world.answer("1", "n", [wrapped("a", version="1", ttl_ms=1000)])
    assert owner.news() == []
    world.advance(100)
    assert owner.news() == [("", [], ["b"])]
    world.advance(900)
    assert owner.news() == [("", [], ["a"])]
    world.stream.callbacks.on_close(14, "")
    world.advance(499)
    assert world.asked() == ["ClusterLoadAssignment n= +a +b node"]


def test_namespaces_are_asked_for_on_demand_and_hear_of_what_is_in_them() -> None:
    world = Delta()
    owner, watch = world.watch("routes", type_url=HOST, namespaces=True)
    assert world.asked() == ["VirtualHost n= node"]
    watch.append(["routes/a"])
    assert world.asked() == ["VirtualHost n= +routes/a"]
    made = discovery_pb2.Resource(name="routes/a", version="1", aliases=["routes/a"])
    world.answer("1", "n1", [made], ["routes/b", "others/c"], type_url=HOST)
    assert owner.news() == [("1", ["routes/a"], ["routes/b"])]


def test_xdstp_names_are_one_however_they_are_written() -> None:
    world = Delta()
    base = "xdstp://a/envoy.config.endpoint.v3.ClusterLoadAssignment"
    one, _ = world.watch(f"{base}/x?b=2&a=1")
    glob, _ = world.watch(f"{base}/many/*")
    assert world.asked() == [
        f"ClusterLoadAssignment n= +{base}/x?a=1&b=2 node",
        f"ClusterLoadAssignment n= +{base}/many/*",
    ]
    names = (f"{base}/x?b=2&a=1", f"{base}/many/1", f"{base}/other/1")
    world.answer("1", "n1", [wrapped(name, assignment(name), "1") for name in names])
    assert one.news() == [("1", [names[0]], [])]
    assert glob.news() == [("1", [names[1]], [])]


def test_the_cache_of_assignments_has_what_is_watched() -> None:
    world = World(MESSAGE)
    cache = EdsResourcesCache(world.dispatcher)
    mux = DeltaMux(world.dispatcher, NODE, world.open_stream, eds_cache=cache)
    mux.start()
    watch = mux.add_watch(CLA, ["a"], Owner(), assignments())
    made = discovery_pb2.DeltaDiscoveryResponse(type_url=CLA, resources=[wrapped("a", assignment("a"), "1")])
    world.stream.callbacks.on_message(made.SerializeToString())
    removed: list[str] = []
    assert cache.get("a", removed.append) == assignment("a")
    watch.close()
    assert (len(cache), removed) == (0, ["a"])


def test_a_watch_that_another_one_ends_hears_nothing() -> None:
    world = Delta()
    ended: list[DeltaWatch] = []

    class Ending(Owner):
        def on_config_delta(self, added: Any, removed: Any, version: str) -> None:
            super().on_config_delta(added, removed, version)
            ended[0].close()

    world.mux.add_watch(CLA, ["a"], Ending(), assignments())
    owner, watch = world.watch("b")
    ended.append(watch)
    world.give("a", "b")
    assert owner.news() == []


def test_subscriptions_that_a_failure_brings_up_hear_of_it_too() -> None:
    world = Delta()
    late: list[Owner] = []

    class Spreading(Owner):
        def on_config_update_failed(self, reason: FailureReason, error: Any) -> None:
            if not late:
                late.append(world.watch(type_url=CLUSTER)[0])

    world.mux.add_watch(CLA, ["a"], Spreading(), assignments())
    world.stream.callbacks.on_close(14, "")
    assert late[0].failures == [(FailureReason.CONNECTION_FAILURE, "")]


def test_a_closed_mux_is_silent() -> None:
    world = Delta()
    owner, _ = world.watch("a")
    stream = world.stream
    world.mux.close()
    assert stream.was_reset
    world.give("a")
    world.advance(60_000)
    assert (owner.heard, owner.failures, len(world.client.streams)) == ([], [], 1)


def test_with_partial_updates_a_refusal_is_one_watch_s_and_the_rest_has_versions() -> None:
    world = Delta(partial_updates=True)

    class Refusing(Owner):
        def on_config_delta(self, added: Any, removed: Any, version: str) -> None:
            super().on_config_delta(added, removed, version)
            refused = [RefusedResource(one.name, "why") for one in added if one.name == "b"]
            raise UpdateRejected("no b", refused)

    owner, _ = world.watch("a")
    refusing = Refusing()
    world.mux.add_watch(CLA, ["b", "c"], refusing, assignments())
    last, _ = world.watch("d")
    world.asked()
    world.give("a", "b", "c", "d", nonce="n1")
    assert world.asked() == ["ClusterLoadAssignment n=n1 error 13 no b"]
    assert (owner.failures, last.failures) == ([], [])
    assert refusing.failures == [(FailureReason.UPDATE_REJECTED, "no b")]
    world.stream.callbacks.on_close(14, "")
    world.advance(499)
    assert world.asked() == ["ClusterLoadAssignment n= +a +b +c +d a:1 c:1 d:1 node"]
