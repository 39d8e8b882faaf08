"""One subscription: what it counts and passes on, when a start waits no longer."""

from __future__ import annotations

from typing import Any

from tests.unit.xds.streams import NODE, Owner, World, assignment, assignments, requests, response

from proxeny.config.errors import ConfigError
from proxeny.xds.grpc_subscription import GrpcSubscription, GrpcSubscriptionOptions
from proxeny.xds.sotw_mux import MESSAGE, SotwMux
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.subscription import FailureReason


class Subscribed(World):
    """A subscription that was started."""

    def __init__(self, **options: Any) -> None:
        super().__init__(MESSAGE)
        self.owner = Owner()
        self.mux = SotwMux(self.dispatcher, NODE, self.open_stream, skip_subsequent_node=True)
        self.subscription = GrpcSubscription(
            self.dispatcher,
            lambda: self.mux,
            self.owner,
            assignments(),
            SubscriptionStats(self.store, "x."),
            GrpcSubscriptionOptions(is_aggregated=False, **options),
        )
        self.subscription.start(["a"])

    def answer(self, version: str, *names: str) -> None:
        self.stream.callbacks.on_message(response(version, "n", map(assignment, names)).SerializeToString())

    def counts(self) -> dict[str, int | None]:
        names = ("update_attempt", "update_success", "update_rejected", "update_failure", "init_fetch_timeout")
        return {name: self.stat(f"x.{name}") for name in names if self.stat(f"x.{name}")}


def test_what_comes_is_passed_on_and_counted() -> None:
    world = Subscribed()
    assert requests(world.stream) == ["ClusterLoadAssignment v= n= a node"]
    world.answer("1", "a")
    assert world.owner.news() == [("1", ["a"])]
    assert world.counts() == {"update_attempt": 2, "update_success": 1}
    assert world.store.text_readouts["x.version_text"] == "1"
    assert world.stat("x.version") == 13237225503670494420
    world.answer("bad", "a")
    assert world.counts() == {"update_attempt": 3, "update_success": 1, "update_rejected": 1}
    assert world.store.text_readouts["x.version_text"] == "1"


def test_a_delta_that_is_refused_counts_two_attempts() -> None:
    world = Subscribed()
    try:
        world.subscription.on_config_delta([], [], "bad")
    except ConfigError as error:
        world.subscription.on_config_update_failed(FailureReason.UPDATE_REJECTED, error)
    assert world.counts() == {"update_attempt": 3, "update_rejected": 1}


def test_a_start_waits_for_the_first_update_for_so_long() -> None:
    world = Subscribed(initial_fetch_timeout_ms=1000)
    world.stream.callbacks.on_close(14, "")
    world.advance(999)
    assert world.owner.failures == [(FailureReason.CONNECTION_FAILURE, "")]
    world.advance(1)
    assert world.owner.failures[1:] == [(FailureReason.FETCH_TIMED_OUT, "")]
    assert world.counts() == {"update_attempt": 3, "update_failure": 1, "init_fetch_timeout": 1}


def test_an_update_ends_the_wait_a_refused_one_too() -> None:
    for version in ("1", "bad"):
        world = Subscribed(initial_fetch_timeout_ms=1000)
        world.answer(version, "a")
        world.advance(2000)
        assert world.stat("x.init_fetch_timeout") == 0


def test_no_timeout_waits_for_ever() -> None:
    world = Subscribed(initial_fetch_timeout_ms=0)
    world.advance(3_600_000)
    assert world.owner.failures == []


def test_names_change_and_it_ends() -> None:
    world = Subscribed()
    requests(world.stream)
    world.subscription.update_names(["b"])
    assert requests(world.stream) == ["ClusterLoadAssignment v= n=", "ClusterLoadAssignment v= n= b"]
    stream = world.stream
    world.subscription.close()
    assert stream.was_reset
    world.advance(60_000)
    assert world.owner.failures == []
