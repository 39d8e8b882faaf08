"""What passes between a subscription and the owner of its resources is taken down."""

from __future__ import annotations

from typing import Any

import pytest

from proxeny.config.errors import ConfigError
from proxeny.xds.record import XdsRecord
from proxeny.xds.recording import RecordedCallbacks, RecordedSubscription
from proxeny.xds.resource import DecodedResource
from proxeny.xds.subscription import FailureReason

ONE = DecodedResource("a", None, "", None, b"x")


class Owner:
    """Callbacks, and a subscription: both take down what they are told."""

    def __init__(self, error: ConfigError | None = None) -> None:
        self.told: list[Any] = []
        self.error = error

    def on_config_update(self, *told: Any) -> None:
        self._take(told)

    def on_config_delta(self, *told: Any) -> None:
        self._take(told)

    def on_config_update_failed(self, *told: Any) -> None:
        self.told.append(told)

    def start(self, *told: Any) -> None:
        self.told.append(("start", *told))

    def update_names(self, *told: Any) -> None:
        self.told.append(("update", *told))

    def request_on_demand(self, *told: Any) -> None:
        self.told.append(("on demand", *told))

    def close(self) -> None:
        self.told.append(("close",))

    def _take(self, told: Any) -> None:
        self.told.append(told)
        if self.error is not None:
            raise self.error


def test_updates_reach_their_owner_and_the_record() -> None:
    record, owner = XdsRecord(), Owner()
    callbacks = RecordedCallbacks(owner, record.subscription("T", "ads"))
    callbacks.on_config_update([ONE], "1")
    callbacks.on_config_delta([], ["a"], "2")
    assert owner.told == [([ONE], "1"), ([], ["a"], "2")]
    (kind,) = record.types()
    assert (kind.attempts, kind.accepted and kind.accepted.version) == (2, "2")
    assert list(kind.resources()) == []


@pytest.mark.parametrize("delta", [False, True])
def test_a_refusal_counts_once(delta: bool) -> None:
    error = ConfigError("no")
    record, owner = XdsRecord(), Owner(error)
    callbacks = RecordedCallbacks(owner, record.subscription("T", "ads"))
    with pytest.raises(ConfigError, match="no"):
        callbacks.on_config_delta([ONE], [], "1") if delta else callbacks.on_config_update([ONE], "1")
    callbacks.on_config_update_failed(FailureReason.UPDATE_REJECTED, error)
    (kind,) = record.types()
    assert (kind.attempts, kind.rejected and kind.rejected.details) == (1, "no")
    assert owner.told[-1] == (FailureReason.UPDATE_REJECTED, error)
    callbacks.on_config_update_failed(FailureReason.UPDATE_REJECTED, ConfigError("malformed"))
    assert (kind.attempts, kind.rejected and kind.rejected.details) == (2, "malformed")


def test_failures_say_what_is_known() -> None:
    record, owner = XdsRecord(), Owner()
    callbacks = RecordedCallbacks(owner, record.subscription("T", "ads"))
    callbacks.on_config_update_failed(FailureReason.FETCH_TIMED_OUT, None)
    (kind,) = record.types()
    assert kind.failed is not None
    assert kind.failed.details == "fetch timed out"
    callbacks.on_config_update_failed(FailureReason.CONNECTION_FAILURE, ConfigError("no such file"))
    assert kind.failed is not None
    assert kind.failed.details == "connection failure: no such file"


def test_what_is_asked_for() -> None:
    record, owner = XdsRecord(), Owner()
    subscription = RecordedSubscription(owner, record.subscription("T", "ads"))
    (kind,) = record.types()
    subscription.start()
    assert kind.is_wildcard
    subscription.start(["a"])
    assert (kind.is_wildcard, kind.names()) == (False, {"a"})
    subscription.request_on_demand(["b"])
    assert kind.names() == {"a", "b"}
    subscription.update_names(["b", "c"])
    assert kind.names() == {"b", "c"}
    subscription.update_names([])
    assert (kind.is_wildcard, kind.names()) == (False, set())
    subscription.close()
    assert record.types() == []
    assert owner.told == [("start", ()), ("start", ("a",)), ("on demand", ("b",)), ("update", ("b", "c")),
                          ("update", ()), ("close",)]  # fmt: skip
