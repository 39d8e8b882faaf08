"""What became of resources, as /xds and every error_state have it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxeny.config.errors import ConfigError
from proxeny.xds import record as record_module
from proxeny.xds.record import LARGEST_KEPT, XdsRecord
from proxeny.xds.rejection import RefusedResource, UpdateRejected
from proxeny.xds.resource import DecodedResource

LISTENER = "envoy.config.listener.v3.Listener"
SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"


def one(name: str, content: bytes = b"x", version: str = "") -> DecodedResource:
    return DecodedResource(name, None, version, None, content)


def changes(record: XdsRecord, newest: int = 0) -> list[tuple[str, str, bytes | None, bytes | None]]:
    event = list(record.history.newest_first())[newest]
    return [(change.kind, change.name, change.before, change.after) for change in event.changes]


def test_a_state_of_the_world_adds_changes_and_removes() -> None:
    record = XdsRecord()
    subscription = record.subscription(LISTENER, "ads")
    subscription.interested(None)
    subscription.updated([one("a"), one("b", b"b1")], None, "1", 0.5, None)
    subscription.updated([one("b", b"b2"), one("c")], None, "2", 0.25, None)
    assert changes(record) == [("changed", "b", b"b1", b"b2"), ("added", "c", None, b"x"), ("removed", "a", b"x", None)]
    assert changes(record, 1) == [("added", "a", None, b"x"), ("added", "b", None, b"b1")]
    (kind,) = record.types()
    assert kind.is_wildcard
    assert kind.accepted is not None
    assert (kind.accepted.version, kind.rejected, kind.attempts, kind.size, kind.seconds) == ("2", None, 2, 3, 0.25)
    assert [(found.name, found.version, found.size) for found in kind.resources()] == [("b", "2", 2), ("c", "2", 1)]


def test_increments_leave_the_rest_alone() -> None:
    record = XdsRecord()
    subscription = record.subscription(LISTENER, "ads")
    subscription.interested(["a", "b"])
    subscription.updated([one("a", version="7"), one("b", version="8")], [], "", 0, None)
    subscription.updated([one("b", b"new", "9")], ["a", "unknown"], "", 0, None)
    (kind,) = record.types()
    assert (kind.is_wildcard, kind.names()) == (False, {"a", "b"})
    assert [(found.name, found.version) for found in kind.resources()] == [("b", "9")]


def test_an_update_that_changes_nothing_is_no_history() -> None:
    record = XdsRecord()
    subscription = record.subscription(LISTENER, "ads")
    for _ in range(3):
        subscription.updated([one("a")], None, "1", 0, None)
    assert len(list(record.history.newest_first())) == 1
    subscription.updated([one("a")], None, "2", 0, None)
    assert [event.version for event in record.history.newest_first()] == ["2", "1"]
    assert record.types()[0].attempts == 4


def test_a_refused_resource_says_why_until_it_is_taken() -> None:
    record = XdsRecord()
    subscription = record.subscription(LISTENER, "ads")
    subscription.updated([one("a"), one("b")], None, "1", 0, None)
    error = UpdateRejected("Error adding/updating listener(s) b: no", [RefusedResource("b", "no")])
    subscription.updated([one("a", b"a2"), one("b", b"b2"), one("c")], None, "2", 0, error)
    (refusal,) = record.refusals(LISTENER).items()
    assert (refusal[0], refusal[1][0], refusal[1][2:]) == ("b", "2", ("no", b"b2"))
    assert [(found.name, found.version) for found in record.types()[0].resources()] == [
        ("a", "2"), ("b", "1"), ("c", "2"),
    ]  # fmt: skip
    rejected = record.types()[0].rejected
    assert rejected is not None
    assert (rejected.version, rejected.details) == ("2", str(error))
    assert ("refused", "b", b"x", b"b2") in changes(record)
    subscription.updated([one("b", b"b3")], [], "3", 0, None)
    assert record.refusals(LISTENER) == {}


def test_whoever_names_none_refuses_all() -> None:
    record = XdsRecord()
    subscription = record.subscription(LISTENER, "ads")
    subscription.updated([one("a")], None, "1", 0, ConfigError("bad"))
    assert record.refusals(LISTENER)["a"].details == "bad"
    subscription.updated([], None, "2", 0, None)
    assert list(record.types()[0].resources()) == []


def test_what_was_refused_when_it_was_decoded() -> None:
    record = XdsRecord()
    subscriptions = [record.subscription(LISTENER, "ads") for _ in range(3)]
    for name, subscription in zip("bac", subscriptions, strict=True):
        subscription.interested([name])
    error = UpdateRejected("bad", [RefusedResource("a", "bad", b"raw", "4")])
    for subscription in subscriptions:
        subscription.rejected(error)
    (refusal,) = record.refusals(LISTENER).values()
    assert (refusal.version, refusal.serialized) == ("4", b"raw")
    (kind,) = record.types()
    assert (kind.attempts, kind.rejected and kind.rejected.version) == (1, "4")
    assert [(event.outcome, event.version) for event in record.history.newest_first()] == [("rejected", "4")]
    assert changes(record) == [("refused", "a", None, b"raw")]


def test_what_one_owner_refused_is_told_to_all() -> None:
    record = XdsRecord()
    first, second = record.subscription(LISTENER, "ads"), record.subscription(LISTENER, "ads")
    first.interested(["a"])
    second.interested(["b"])
    error = UpdateRejected("no", [RefusedResource("a", "no")])
    first.updated([one("a")], None, "5", 0, error)
    for subscription in (first, second):
        subscription.rejected(error)
    assert [(name, refusal.version) for name, refusal in record.refusals(LISTENER).items()] == [("a", "5")]
    assert [len(event.changes) for event in record.history.newest_first()] == [1]
    assert record.types()[0].attempts == 1
    second.rejected(ConfigError("no"))
    assert record.types()[0].attempts == 2


@pytest.mark.parametrize(
    ("type_name", "content", "kept"),
    [(SECRET, b"key", None), (LISTENER, b"x" * (LARGEST_KEPT + 1), None), (LISTENER, b"x", b"x")],
    ids=["secret", "large", "small"],
)
def test_what_is_kept(type_name: str, content: bytes, kept: bytes | None) -> None:
    record = XdsRecord()
    subscription = record.subscription(type_name, "ads")
    subscription.updated([one("a", content)], None, "1", 0, None)
    subscription.updated([one("a", content)], None, "1", 0, None)
    assert changes(record) == [("added", "a", None, kept)]
    assert [found.size for found in record.types()[0].resources()] == [len(content)]
    subscription.updated([one("a", b"other")], None, "2", 0, ConfigError("bad"))
    assert record.refusals(type_name)["a"].serialized == (None if type_name == SECRET else b"other")


def test_a_failure_is_noted_once() -> None:
    record = XdsRecord()
    subscription = record.subscription(LISTENER, "ads")
    outcomes: Sequence[str]
    for _ in range(3):
        subscription.failed("connection failure")
    assert [event.outcome for event in record.history.newest_first()] == ["failed"]
    subscription.updated([one("a")], None, "1", 0, None)
    subscription.failed("connection failure")
    outcomes = [event.outcome for event in record.history.newest_first()]
    assert outcomes == ["failed", "accepted", "failed"]


def test_entries_live_as_long_as_their_subscriptions() -> None:
    record = XdsRecord()
    first, second = record.subscription(LISTENER, "/a.yaml"), record.subscription(LISTENER, "/a.yaml")
    first.interested(["a"])
    second.interested(["b"])
    second.also_interested(["c"])
    first.updated([one("a")], None, "1", 0, None)
    assert record.types()[0].names() == {"a", "b", "c"}
    first.interested(["z"])
    assert list(record.types()[0].resources()) == []
    first.closed()
    assert record.types()[0].names() == {"b", "c"}
    second.closed()
    assert record.types() == []


def test_contents_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "MOST_KEPT", 10)
    record = XdsRecord()
    first, second = record.subscription(LISTENER, "ads"), record.subscription(LISTENER, "ads")
    first.interested(None)
    second.interested(None)
    first.updated([one("a", b"123456")], None, "1", 0, None)
    second.updated([one("b", b"12345")], None, "1", 0, None)
    assert [found.content for found in record.types()[0].resources()] == [b"123456", None]
    first.updated([one("a", b"1234")], None, "2", 0, None)
    second.updated([one("b", b"67890")], None, "2", 0, None)
    assert [found.content for found in record.types()[0].resources()] == [b"1234", b"67890"]
    first.closed()
    second.updated([one("b", b"678901234")], None, "3", 0, None)
    assert [found.content for found in record.types()[0].resources()] == [b"678901234"]
    second.updated([], None, "4", 0, None)
    second.updated([one("c", b"1234567890")], None, "5", 0, None)
    assert [found.content for found in record.types()[0].resources()] == [b"1234567890"]
