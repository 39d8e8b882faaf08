"""The state-of-the-world protocol: what is requested when, who hears what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from tests.unit.xds.streams import (
    CLA,
    CLUSTER,
    NODE,
    Owner,
    World,
    assignment,
    assignments,
    requests,
    response,
    wrapped,
)

from proxeny.config.errors import ConfigError
from proxeny.xds.eds_cache import EdsResourcesCache
from proxeny.xds.resource import DecodedResource
from proxeny.xds.sotw_mux import MESSAGE, SotwMux, SotwWatch
from proxeny.xds.subscription import FailureReason


class Sotw(World):
    """A mux that was started, and its stream."""

    def __init__(self, started: bool = True, limit: tuple[int, float] | None = None, **options: Any) -> None:
        super().__init__(MESSAGE, limit=limit)
        self.mux = SotwMux(self.dispatcher, NODE, self.open_stream, skip_subsequent_node=True, **options)
        if started:
            self.mux.start()

    def watch(self, *names: str, type_url: str = CLA) -> tuple[Owner, SotwWatch]:
        owner = Owner()
        return owner, self.mux.add_watch(type_url, names, owner, assignments())

    def answer(self, *args: Any, **kwargs: Any) -> None:
        self.stream.callbacks.on_message(response(*args, **kwargs).SerializeToString())

    def asked(self) -> list[str]:
        return requests(self.stream)


def test_a_watch_is_requested_and_taken() -> None:
    world = Sotw()
    owner, _ = world.watch("a", "b")
    assert world.asked() == ["ClusterLoadAssignment v= n= a b node"]
    world.answer("1", "n1", [assignment("b"), assignment("c"), assignment("a")], identifier="plane")
    assert owner.news() == [("1", ["a", "b"])]
    assert world.asked() == ["ClusterLoadAssignment v=1 n=n1 a b"]
    assert world.stat("control_plane.connected_state") == 1
    assert world.store.text_readouts["control_plane.identifier"] == "plane"


def test_what_is_watched_before_there_is_a_stream_is_requested_by_type_in_order() -> None:
    world = Sotw(started=False)
    world.watch("b")
    world.watch(type_url=CLUSTER)
    world.watch("a")
    world.mux.start()
    assert world.asked() == ["ClusterLoadAssignment v= n= a b node", "Cluster v= n="]


def test_the_node_is_in_every_request_unless_told_otherwise() -> None:
    world = World(MESSAGE)
    mux = SotwMux(world.dispatcher, NODE, world.open_stream)
    mux.start()
    for name in ("a", "b"):
        mux.add_watch(CLA, [name], Owner(), assignments())
    assert requests(world.stream) == ["ClusterLoadAssignment v= n= a node", "ClusterLoadAssignment v= n= b a node"]


def test_a_refused_update_is_told_with_the_old_version() -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    world.answer("1", "n1", [assignment("a")])
    world.asked()
    world.answer("bad", "n2", [assignment("a")])
    assert world.asked() == ["ClusterLoadAssignment v=1 n=n2 a error 13 refused"]
    assert owner.failures == [(FailureReason.UPDATE_REJECTED, "refused")]
    world.answer("2", "n3", [assignment("a")])
    assert world.asked() == ["ClusterLoadAssignment v=2 n=n3 a"]


def test_the_first_that_refuses_keeps_older_watches_from_hearing() -> None:
    world = Sotw()
    older, _ = world.watch("a")
    newer, _ = world.watch("b")
    world.answer("bad", "n1", [assignment("a"), assignment("b")])
    assert newer.news() == [("bad", ["b"])]
    assert older.news() == []
    assert older.failures == newer.failures == [(FailureReason.UPDATE_REJECTED, "refused")]


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (endpoint_pb2.ClusterLoadAssignment(), "ClusterLoadAssignmentValidationError.ClusterName"),
        (
            any_pb2.Any(type_url=CLA, value=b"\xff"),
            "Unable to unpack as envoy.config.endpoint.v3.ClusterLoad",
        ),
        (cluster_pb2.Cluster(name="c"), f"{CLUSTER} does not match the message-wide type URL {CLA} in DiscoveryRes"),
    ],
)
def test_a_resource_that_cannot_be_decoded_refuses_all(resource: Any, words: str) -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    world.asked()
    world.answer("1", "n1", [assignment("a"), resource])
    assert owner.news() == []
    (request,) = world.asked()
    assert request.startswith("ClusterLoadAssignment v= n=n1 a error 13 ")
    assert words in request


def test_long_details_are_cut() -> None:
    world = Sotw()
    world.watch("a")
    world.asked()
    world.answer("1", "n1", [any_pb2.Any(type_url=CLA, value=b"\xff" * 5000)])
    (request,) = world.asked()
    assert request.endswith("...(truncated)")
    assert len(request.partition(" error 13 ")[2]) == 4096 + len("...(truncated)")


def test_watches_hear_of_their_own_and_wildcards_of_all() -> None:
    world = Sotw()
    everything, _ = world.watch()
    one, _ = world.watch("a")
    other, _ = world.watch("b")
    world.answer("1", "n1", [assignment("a")])
    assert (everything.news(), one.news(), other.news()) == ([("1", ["a"])], [("1", ["a"])], [])
    world.answer("2", "n2")
    assert (everything.news(), one.news()) == ([("2", [])], [])


def test_names_change() -> None:
    world = Sotw()
    _, watch = world.watch("a")
    world.asked()
    watch.update(["b"])
    assert world.asked() == ["ClusterLoadAssignment v= n=", "ClusterLoadAssignment v= n= b"]
    watch.close()
    watch.close()
    assert world.asked() == ["ClusterLoadAssignment v= n="]


def test_a_response_that_nobody_watches_any_more() -> None:
    world = Sotw()
    _, watch = world.watch("a")
    world.answer("1", "n1", [assignment("a")])
    watch.close()
    world.asked()
    world.answer("2", "n2", [assignment("a")])
    assert world.asked() == ["ClusterLoadAssignment v=1 n=n2"]
    world.answer("3", "n3")
    assert world.asked() == []


def test_a_type_that_nobody_ever_watched_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    world = Sotw()
    world.answer("1", "n1", type_url=CLUSTER)
    assert world.asked() == []
    assert f"Ignoring the message for type URL {CLUSTER} as it has no current subscribers." in caplog.text


def test_nothing_is_requested_while_it_is_paused() -> None:
    world = Sotw()
    with world.mux.pause([CLA, CLUSTER]):
        with world.mux.pause([CLA]):
            world.watch("a")
            world.watch("b")
        assert world.asked() == []
        world.watch(type_url="other")
        assert world.asked() == ["other v= n= node"]
    assert world.asked() == ["ClusterLoadAssignment v= n= b a"]


def test_a_response_in_a_pause_is_taken_and_told_afterwards() -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    world.asked()
    paused = world.mux.pause([CLA])
    world.answer("1", "n1", [assignment("a")])
    assert owner.news() == [("1", ["a"])]
    assert world.asked() == []
    paused.close()
    paused.close()
    assert world.asked() == ["ClusterLoadAssignment v=1 n=n1 a"]


def test_what_an_update_brings_up_is_requested_with_its_acknowledgement() -> None:
    world = Sotw()

    class Spreading(Owner):
        def on_config_update(self, resources: Any, version: str) -> None:
            super().on_config_update(resources, version)
            world.watch("more")
            world.watch(type_url=CLUSTER)

    world.mux.add_watch(CLA, ["a"], Spreading(), assignments())
    world.asked()
    world.answer("1", "n1", [assignment("a")])
    assert world.asked() == ["Cluster v= n=", "ClusterLoadAssignment v=1 n=n1 more a"]


def test_a_new_stream_begins_with_everything_and_no_nonce() -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    world.answer("1", "n1", [assignment("a")])
    world.stream.callbacks.on_close(14, "gone")
    assert owner.failures == [(FailureReason.CONNECTION_FAILURE, "")]
    assert world.stat("control_plane.connected_state") == 0
    world.watch("b")
    world.advance(499)
    assert len(world.client.streams) == 2
    assert world.asked() == ["ClusterLoadAssignment v=1 n= b a node"]
    assert world.stat("control_plane.connected_state") == 1


def test_the_pause_between_attempts_doubles_until_something_comes() -> None:
    world = Sotw()
    world.watch("a")
    for pause_ms in (499, 999, 1999):
        world.stream.callbacks.on_close(14, "")
        before = len(world.client.streams)
        world.advance(pause_ms - 1)
        assert len(world.client.streams) == before
        world.advance(1)
        assert len(world.client.streams) == before + 1
    world.answer("1", "n1")
    world.stream.callbacks.on_close(14, "")
    world.advance(499)
    assert len(world.client.streams) == 5


def test_nobody_to_connect_to_counts_twice_as_in_envoy() -> None:
    world = Sotw(started=False)
    world.client.up = False
    owner, _ = world.watch("a")
    world.mux.start()
    assert owner.failures == [(FailureReason.CONNECTION_FAILURE, "")] * 2


def test_bytes_that_are_no_message_end_the_stream() -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    stream = world.stream
    with pytest.raises(DecodeError):  # what the client makes the end of the stream of
        stream.callbacks.on_message(b"\xff\xff")
    stream.callbacks.on_close(13, "")
    assert owner.failures == [(FailureReason.CONNECTION_FAILURE, "")]
    stream.callbacks.on_close(0, "late")
    assert len(owner.failures) == 1
    world.advance(499)
    assert len(world.client.streams) == 2


def test_the_rate_limit_holds_requests_back() -> None:
    world = Sotw(limit=(2, 1.0))
    for name in ("a", "b", "c", "d"):
        world.watch(name)
    assert len(world.asked()) == 2
    assert world.stat("control_plane.pending_requests") == 2
    assert world.stat("control_plane.rate_limit_enforced") == 2
    world.advance(1000)
    assert world.asked() == ["ClusterLoadAssignment v= n= d c b a"]
    assert world.stat("control_plane.pending_requests") == 1
    world.advance(1000)
    assert world.stat("control_plane.pending_requests") == 0


def test_what_waits_is_not_sent_on_a_stream_that_ended() -> None:
    world = Sotw(limit=(2, 1.0))
    for name in ("a", "b", "c", "d"):
        world.watch(name)
    stream = world.stream
    stream.sent.clear()
    stream.ends_when_sent_on = True
    world.advance(5000)
    assert len(requests(stream)) == 1
    world.advance(499)
    assert world.asked() == ["ClusterLoadAssignment v= n= d c b a node"]


def test_a_resource_expires_unless_it_comes_again() -> None:
    world = Sotw()
    owner, _ = world.watch("a", "b")
    packed = []
    for name, ttl_ms in (("a", 1000), ("b", 3000)):
        packed.append(any_pb2.Any())
        packed[-1].Pack(wrapped(name, assignment(name), ttl_ms=ttl_ms))
    world.answer("1", "n1", packed)
    owner.news()
    world.advance(999)
    assert owner.news() == []
    world.advance(1)
    assert owner.news() == [("", [], ["a"])]
    world.answer("2", "n2", [assignment("b")])
    owner.news()
    world.advance(5000)
    assert owner.news() == []


@pytest.mark.parametrize(("seconds", "fault"), [(2**62, "Duration out-of-range"), (-5, "Expected positive duration")])
def test_a_ttl_that_is_no_time_refuses_the_response(seconds: int, fault: str) -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    world.asked()
    resource = wrapped("a", assignment("a"))
    resource.ttl.seconds = seconds
    world.answer("1", "n1", _packed(resource))
    world.advance(0)
    assert owner.news() == []
    words = f"Invalid duration: {fault}: seconds: {seconds}\n"
    assert world.asked() == [f"ClusterLoadAssignment v= n=n1 a error 13 {words}"]


def test_one_that_refuses_an_expiry_keeps_no_other_from_it() -> None:
    world = Sotw()
    hears, _ = world.watch("a")
    gone, gone_watch = world.watch("a")
    refuses = Stubborn()
    world.mux.add_watch(CLA, ["a"], refuses, assignments())
    refuses.then = gone_watch.close
    world.answer("1", "n1", _packed(wrapped("a", assignment("a"), ttl_ms=1000)))
    for owner in (hears, gone):
        owner.news()
    world.advance(1000)
    assert hears.news() == [("", [], ["a"])]
    assert gone.news() == []
    assert refuses.refused == 1


def test_the_cache_of_assignments_has_what_is_watched() -> None:
    world = World(MESSAGE)
    cache = EdsResourcesCache(world.dispatcher)
    mux = SotwMux(world.dispatcher, NODE, world.open_stream, eds_cache=cache)
    mux.start()
    watches = [mux.add_watch(CLA, names, Owner(), assignments()) for names in (["a"], ["a", "b"])]
    world.stream.callbacks.on_message(response("1", "n", map(assignment, "abc")).SerializeToString())
    assert cache.get("a") == assignment("a")
    assert (len(cache), cache.get("c")) == (2, None)
    watches[1].update(["c"])
    assert len(cache) == 1
    watches[0].close()
    assert len(cache) == 0


def test_a_closed_mux_is_silent() -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    stream = world.stream
    world.mux.close()
    assert stream.was_reset
    assert world.client.is_closed
    assert (world.stat("control_plane.connected_state"), world.store.text_readouts) == (None, {})
    stream.callbacks.on_message(response("1", "n1", [assignment("a")]).SerializeToString())
    stream.callbacks.on_close(0, "")
    world.advance(60_000)
    assert (owner.heard, owner.failures, len(world.client.streams)) == ([], [], 1)


def _packed(*resources: Any) -> list[any_pb2.Any]:
    packed = []
    for one in resources:
        packed.append(any_pb2.Any())
        packed[-1].Pack(one)
    return packed


def test_heartbeats_prolong_a_life_and_are_no_news() -> None:
    world = Sotw()
    owner, _ = world.watch()
    world.answer(
        "1",
        "n1",
        _packed(*(wrapped(name, assignment(name), ttl_ms=1000) for name in "ab"), wrapped("c", assignment("c"))),
    )
    owner.news()
    world.asked()
    world.advance(900)
    world.answer("1", "n2", _packed(wrapped("a", ttl_ms=1000)))
    assert world.asked() == ["ClusterLoadAssignment v=1 n=n2"]
    world.advance(900)
    assert owner.news() == [("", [], ["b"])]
    world.answer("1", "n3", _packed(wrapped("a")))
    world.advance(5000)
    assert owner.news() == []


def test_heartbeats_beside_news_stand_for_what_is_there() -> None:
    world = Sotw()
    owner, _ = world.watch()
    world.answer("1", "n1", _packed(wrapped("a", assignment("a"), ttl_ms=1000)))
    world.answer("1", "n2", _packed(wrapped("a", ttl_ms=1000), wrapped("b", assignment("b"))))
    assert owner.news()[1:] == [("1", ["a", "b"])]


@pytest.mark.parametrize(("name", "version"), [("a", "0"), ("b", "1")])
def test_a_heartbeat_of_what_is_not_there_is_refused(name: str, version: str) -> None:
    world = Sotw()
    world.watch()
    world.answer("1", "n1", _packed(wrapped("a", assignment("a"), ttl_ms=1000)))
    world.asked()
    world.answer(version, "n2", _packed(wrapped(name)))
    assert world.asked() == [f"ClusterLoadAssignment v=1 n=n2 error 13 resource {name} has no contents"]


class Stubborn(Owner):
    """Does ``then`` when something is removed, and refuses that."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], object] = list
        self.refused = 0

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        self.refused += 1
        self.then()
        raise ConfigError("not that one")


class Refusing(Owner):
    def on_config_update(self, resources: Any, version: str) -> None:
        super().on_config_update(resources, version)
        raise ConfigError(f"no {resources[0].name}")


def test_with_partial_updates_a_refusal_is_one_watch_s() -> None:
    world = Sotw(partial_updates=True)
    owners = [world.watch("a")[0], Refusing(), Refusing(), world.watch("d")[0]]
    for name, owner in zip("bc", owners[1:3], strict=True):
        world.mux.add_watch(CLA, [name], owner, assignments())
    world.asked()
    world.answer("1", "n1", map(assignment, "abcd"))
    assert [owner.news() for owner in owners] == [[("1", [name])] for name in "abcd"]
    assert world.asked() == ["ClusterLoadAssignment v= n=n1 c b d a error 13 no c; no b"]
    assert [owner.failures for owner in owners] == [
        [],
        [(FailureReason.UPDATE_REJECTED, "no b")],
        [(FailureReason.UPDATE_REJECTED, "no c")],
        [],
    ]


def _large(world: World, count: int = 3000) -> bytes:
    made = response("1", "n1", (assignment(f"{number}") for number in range(count)))
    return bytes(made.SerializeToString())


def test_what_is_left_of_an_old_stream_is_taken_and_not_answered_on_the_new_one() -> None:
    world = Sotw()
    owner, _ = world.watch("0", "2999")
    world.asked()
    with mock.patch("proxeny.xds.inbox.BUDGET_S", 0.0):
        world.stream.callbacks.on_message(_large(world))
        world.stream.callbacks.on_close(14, "")
        assert owner.heard == []
        world.time.advance_ms(499)
        world.dispatcher.run_until(lambda: len(owner.failures) == 1 and len(world.client.streams) == 2)
    world.dispatcher.run_until(lambda: world.stream.sent)
    assert owner.news() == [("1", ["0", "2999"])]
    assert world.asked() == ["ClusterLoadAssignment v=1 n= 0 2999 node"]


def test_a_fault_of_an_owner_is_a_refusal_and_no_other_s() -> None:
    world = Sotw()

    class Faulty(Owner):
        def on_config_update(self, resources: Any, version: str) -> None:
            raise ZeroDivisionError("oops")

        def on_config_update_failed(self, reason: FailureReason, error: Any) -> None:
            raise ZeroDivisionError("again")

    owner, _ = world.watch("a")
    world.mux.add_watch(CLA, ["b"], Faulty(), assignments())
    world.asked()
    world.answer("1", "n1", [assignment("b")])
    assert world.asked() == ["ClusterLoadAssignment v= n=n1 b a error 13 internal error: ZeroDivisionError: oops"]
    assert owner.failures == [(FailureReason.UPDATE_REJECTED, "internal error: ZeroDivisionError: oops")]


def test_very_large_responses_are_refused_in_few_words() -> None:
    world = Sotw()
    owner, _ = world.watch("a")
    world.asked()
    for resource in (any_pb2.Any(type_url=CLA, value=b"\xff" * 1_000_000), any_pb2.Any(type_url="t/x", value=b"y")):
        world.answer("1", "n1", [*map(assignment, map(str, range(4000))), resource])
        world.asked()
    assert all(len(text) < 600_000 for _, text in owner.failures)
