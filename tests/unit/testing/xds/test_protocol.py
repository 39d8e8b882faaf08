"""What a control plane owes its clients, by request and by change."""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from proxeny.testing.xds.protocol import DeltaInterest, Due, SotwInterest
from proxeny.testing.xds.records import Response, delta_request, sotw_request
from proxeny.testing.xds.store import TypeStore, entries_of
from proxeny.testing.xds.types import CDS, EDS


def store(version: str | None = "v1", *names: str) -> TypeStore:
    made = TypeStore(CDS)
    if version is not None:
        put(made, version, *names)
    return made


def put(into: TypeStore, version: str, *names: str, **priorities: int) -> None:
    """Clusters of these names; ``priorities`` make others of the same name."""
    trees = [{"name": name} for name in names]
    trees += [{"name": name, "connect_timeout": f"{value + 1}s"} for name, value in priorities.items()]
    into.replace(entries_of(CDS, trees), version)


def ask(interest: SotwInterest, *names: str, version: str = "", nonce: str = "") -> tuple[Any, ...] | None:
    message = discovery_pb2.DiscoveryRequest(resource_names=names, version_info=version, response_nonce=nonce)
    interest.on_request(sotw_request(1, message, CDS, None))
    return shown(interest, interest.due())


def shown(interest: SotwInterest | DeltaInterest, due: Due | None) -> tuple[Any, ...] | None:
    if due is None:
        return None
    interest.nonce = f"of {due.version}"
    return (due.version, [entry.name for entry in due.entries], *([list(due.removed)] if due.removed else []))


def subscribe(interest: DeltaInterest, *names: str, drop: tuple[str, ...] = (), **initial: str) -> Any:
    message = discovery_pb2.DeltaDiscoveryRequest(
        resource_names_subscribe=names, resource_names_unsubscribe=drop, initial_resource_versions=initial
    )
    interest.on_request(delta_request(1, message, CDS, None))
    return shown(interest, interest.due())


# -- state of the world ----------------------------------------------------------------------------------------


def test_all_there_is_and_nothing_for_an_ack() -> None:
    kept = store("v1", "a", "b")
    interest = SotwInterest(kept)
    assert ask(interest) == ("v1", ["a", "b"])
    assert ask(interest, version="v1", nonce="of v1") is None
    put(kept, "v2", "a")
    assert shown(interest, interest.due()) == ("v2", ["a"])
    assert ask(interest, version="v1", nonce="of v2") is None, "a NACK is not answered"


def test_nothing_was_set_yet() -> None:
    kept = store(None)
    interest = SotwInterest(kept)
    assert interest.due() is None
    assert ask(interest) is None
    put(kept, "v1")
    assert shown(interest, interest.due()) == ("v1", [])


def test_names_that_are_asked_for() -> None:
    kept = store("v1", "a", "b", "c")
    interest = SotwInterest(kept)
    assert ask(interest, "b") == ("v1", ["b"])
    assert ask(interest, "b", "c", version="v1", nonce="of v1") == ("v1", ["b", "c"])
    assert ask(interest, "c", version="v1", nonce="of v1") is None
    assert ask(interest, "c", "b", version="v1", nonce="of v1") == ("v1", ["c", "b"]), "it was forgotten"
    assert ask(interest, version="v1", nonce="of v1") is None, "no names are none, once there were some"


def test_a_name_that_comes_later() -> None:
    kept = store("v1", "a")
    interest = SotwInterest(kept)
    assert ask(interest, "late") is None
    put(kept, "v2", "a", "late")
    assert shown(interest, interest.due()) == ("v2", ["late"])
    put(kept, "v3", "a")
    assert shown(interest, interest.due()) == ("v3", [])


def test_a_stale_request_changes_nothing() -> None:
    kept = store("v1", "a", "b")
    interest = SotwInterest(kept)
    assert ask(interest, "a") == ("v1", ["a"])
    put(kept, "v2", "a", "b")
    assert shown(interest, interest.due()) == ("v2", ["a"])
    assert ask(interest, "a", "b", version="v1", nonce="of v1") is None
    assert ask(interest, "a", "b", version="v2", nonce="of v2") == ("v2", ["a", "b"])


def test_a_client_that_comes_back() -> None:
    kept = store("v1", "a")
    assert ask(SotwInterest(kept), version="v1") is None
    assert ask(SotwInterest(kept), version="v0") == ("v1", ["a"])
    assert ask(SotwInterest(kept), "a", version="v1") == ("v1", ["a"]), "names may be others than it had"


def test_the_wildcard_has_a_name() -> None:
    assert ask(SotwInterest(store("v1", "a", "b")), "*", "a") == ("v1", ["a", "b"])


def test_no_names_of_endpoints_are_none() -> None:
    kept = TypeStore(EDS)
    kept.replace(entries_of(EDS, [{"cluster_name": "a"}]), "v1")
    assert ask(SotwInterest(kept), version="v0") is None
    assert subscribe(DeltaInterest(kept)) is None


# -- incremental -----------------------------------------------------------------------------------------------


def test_only_what_changed() -> None:
    kept = store("v1", "a", "b")
    interest = DeltaInterest(kept)
    assert subscribe(interest) == ("v1", ["a", "b"])
    assert subscribe(interest) is None
    put(kept, "v2", "a", c=0, b=1)
    assert shown(interest, interest.due()) == ("v2", ["c", "b"])
    put(kept, "v3", "a", c=0)
    assert shown(interest, interest.due()) == ("v3", [], ["b"])


def test_a_wildcard_is_answered_even_with_nothing() -> None:
    interest = DeltaInterest(store("v1"))
    assert subscribe(interest, "*") == ("v1", [])
    assert subscribe(interest) is None


def test_names_come_and_go() -> None:
    kept = store("v1", "a", "b")
    interest = DeltaInterest(kept)
    assert subscribe(interest, "a") == ("v1", ["a"])
    assert subscribe(interest, "b", drop=("a",)) == ("v1", ["b"])
    put(kept, "v2", "b", a=1)
    assert interest.due() is None, "b did not change, a is not wanted"
    assert subscribe(interest, "b") == ("v2", ["b"]), "asked for again, told again"


def test_a_missing_name_is_told_of_once() -> None:
    kept = store("v1", "a")
    interest = DeltaInterest(kept)
    assert subscribe(interest, "late") == ("v1", [], ["late"])
    assert interest.due() is None
    put(kept, "v2", "late")
    assert shown(interest, interest.due()) == ("v2", ["late"])
    assert subscribe(DeltaInterest(kept, tell_missing=False), "never") is None


def test_initial_versions() -> None:
    kept = store("v1", "a", "b")
    assert subscribe(DeltaInterest(kept), a="v1", b="v1") is None
    assert subscribe(DeltaInterest(kept), a="v0", gone="v1") == ("v1", ["a", "b"], ["gone"])
    assert subscribe(DeltaInterest(kept), "a", a="v1") is None


def test_the_wildcard_ends() -> None:
    kept = store("v1", "a", "b")
    interest = DeltaInterest(kept)
    assert subscribe(interest, "*", "a") == ("v1", ["a", "b"])
    assert subscribe(interest, drop=("*",)) is None
    put(kept, "v2", a=1)
    assert shown(interest, interest.due()) == ("v2", ["a"])


def test_records_read_well() -> None:
    answered = Response(1, EDS, "v1", "n1", ("a",), ("b",))
    assert str(answered) == "stream 1 <- EDS version='v1' nonce='n1' names=('a',) removed=('b',)"
    message: Any = discovery_pb2.DiscoveryRequest(version_info="v0", response_nonce="n1", resource_names=["a"])
    message.error_detail.code = 13
    message.error_detail.message = "no"
    request = sotw_request(1, message, EDS, answered)
    assert str(request) == "stream 1 -> EDS version='v0' nonce='n1' names=('a',) error=13:'no'"
    assert (request.is_ack, request.is_nack, request.answers) == (False, True, answered)
