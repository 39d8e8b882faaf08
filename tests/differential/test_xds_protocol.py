"""The protocol itself before Envoy and Proxeny: odd responses, broken streams, refusals, resources that expire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from google.protobuf.json_format import ParseDict
from tests.differential.xds_config import PLANE, VARIANTS, Json, Variant, assignment, eds, listener, static
from tests.differential.xds_pair import XdsCase, XdsPair, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import CDS, EDS, LDS, SDS, type_url

CASES: list[XdsCase] = []
case = into(CASES)
DELTA_CASES: list[XdsCase] = []
delta_case = into(DELTA_CASES)
SOTW_CASES: list[XdsCase] = []
sotw_case = into(SOTW_CASES)


def respond(side: Side, asked: str, version: str, *resources: Any, nonce: str = "", **more: Any) -> None:
    """One response beside the book-keeping on the stream that asked; Resources are taken for either protocol."""
    kind = more.pop("type_url", type_url(asked))
    identifier = more.pop("identifier", "")
    nonce = nonce or nonce_of(side, version)
    if side.variant.delta:
        message: Any = discovery_pb2.DeltaDiscoveryResponse(
            type_url=kind, system_version_info=version, nonce=nonce, resources=resources, **more
        )
    else:
        message = discovery_pb2.DiscoveryResponse(type_url=kind, version_info=version, nonce=nonce)
        for resource in resources:
            bare = not (resource.HasField("ttl") or resource.aliases or not resource.HasField("resource"))
            item = message.resources.add()
            item.CopyFrom(resource.resource) if bare else item.Pack(resource)
    if identifier:
        message.control_plane.identifier = identifier
    side.plane.send_raw(asked, message.SerializeToString(), nonce=message.nonce if kind == type_url(asked) else None)


def a_resource(name: str, content: Any = None, version: str = "1", ttl_ms: int = 0, **more: Any) -> Any:
    """A ``discovery.v3.Resource`` around a message or an Any."""
    made = discovery_pb2.Resource(name=name, version=version, **more)
    if isinstance(content, any_pb2.Any):
        made.resource.CopyFrom(content)
    elif content is not None:
        made.resource.Pack(content)
    if ttl_ms:
        made.ttl.FromMilliseconds(ttl_ms)
    return made


def endpoints(name: str, *ports: int) -> Any:
    return ParseDict(assignment(name, *ports), endpoint_pb2.ClusterLoadAssignment())


def nonce_of(side: Side, version: str) -> str:
    """No two cases have the same: a request may still bear that of the last one."""
    return f"{side._case}/{version}" if version else ""


def answered(side: Side, type_name: str, version: str) -> None:
    """Wait until a response of ``respond`` is answered, either way."""
    side.asked(type_name, lambda request: request.nonce == nonce_of(side, version))


def take_away(side: Side, *names: str) -> None:
    """Remove the clusters of ``respond``, which the book-keeping knows nothing of, and wait until they are gone."""
    respond(side, CDS, "none", **({"removed_resources": names} if side.variant.delta else {}))
    answered(side, CDS, "none")
    gone(side)


def gone(side: Side) -> None:
    """Wait until there are no clusters and none of their statistics."""
    side.wait_for_stat("cluster_manager.active_clusters", 1)
    side.wait_until(lambda: not any(name.startswith("cluster.") for name in side._all_stats() if PLANE not in name))


def with_endpoints(side: Side) -> None:
    """A cluster ``a`` whose endpoints came."""
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)


@case("error=13:'Unable to unpack as envoy.config.endpoint.v3.ClusterLoadAssignment: ")
def bytes_that_are_no_resource(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("a", any_pb2.Any(type_url=type_url(EDS), value=b"\xff")))
    answered(side, EDS, "x")


@case("error=13:'type", "match the message-wide type URL")
def a_resource_of_another_type(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("a", any_pb2.Any(type_url=type_url(CDS))))
    answered(side, EDS, "x")


@case("ClusterLoadAssignmentValidationError.Endpoints[0]: embedded message failed validation")
def a_resource_that_breaks_a_rule(side: Side) -> None:
    with_endpoints(side)
    broken = endpoints("a")
    broken.endpoints.add(priority=200)
    respond(side, EDS, "x", a_resource("a", broken))
    answered(side, EDS, "x")


@case("ADS EDS: ")
def the_next_good_response_heals(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("a", any_pb2.Any(type_url=type_url(EDS), value=b"\xff")))
    answered(side, EDS, "x")
    side.put(EDS, assignment("a", side.port("two")))
    side.put(LDS, listener("l"))


@case()
def a_type_that_nobody_asked_for(side: Side) -> None:
    respond(side, CDS, "x", a_resource("s"), type_url=type_url(SDS))
    side.put(CDS, static("a", side.port("one")))


@case("cluster.a.update_attempt: +")
def endpoints_that_nobody_asked_for(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("b", endpoints("b", side.port("two"))))
    answered(side, EDS, "x")


@case()
def a_response_without_version_and_nonce(side: Side) -> None:
    with_endpoints(side)
    mark = side.plane.mark()
    respond(side, EDS, "", a_resource("a", endpoints("a", side.port("two"))))
    side._await(lambda: side.plane.wait_for(EDS, since=mark))


@case("cluster_manager.cluster_added: +2")
def responses_that_follow_each_other_at_once(side: Side) -> None:
    for version in ("x", "y", "z"):
        respond(side, CDS, version, *(a_resource(name, _static(name), version) for name in ("a", "b")))
    answered(side, CDS, "z")
    take_away(side, "a", "b")


def _static(name: str) -> Any:
    from envoy.config.cluster.v3 import cluster_pb2

    return ParseDict(static(name), cluster_pb2.Cluster())


@case("error=13:", "cluster_manager.cds.update_rejected: +1")
def two_clusters_of_one_name(side: Side) -> None:
    respond(side, CDS, "x", a_resource("a", _static("a")), a_resource("a", _static("a")))
    answered(side, CDS, "x")
    take_away(side, "a")


@case("opened", "update_failure: +1")
def a_stream_that_ends(side: Side) -> None:
    with_endpoints(side)
    reopened(side, lambda: side.plane.end_streams(grpc.StatusCode.OK))


@case("opened", "update_failure: +1")
def a_stream_that_breaks(side: Side) -> None:
    with_endpoints(side)
    reopened(side, lambda: side.plane.end_streams(grpc.StatusCode.INTERNAL, "why"))


@case("opened", "update_failure: +1")
def bytes_that_are_no_message(side: Side) -> None:
    with_endpoints(side)
    reopened(side, lambda: side.plane.send_raw(CDS, b"\xff\xff\xff"))


@case("opened", "update_failure: +1")
def a_version_that_is_no_text(side: Side) -> None:
    with_endpoints(side)
    reopened(side, lambda: side.plane.send_raw(CDS, b"\x0a\x01\xff"))


@case("Resource type missing from /")
def a_name_that_is_no_xdstp_name(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("xdstp:", endpoints("xdstp:")))
    answered(side, EDS, "x")


@case("cluster_manager.cluster_added: +7")
def names_of_all_kinds(side: Side) -> None:
    names = ["a\nb", "../c", "%00\0", "é\u2028", "*", "d" * 5000, "e?f=g#h"]
    respond(side, CDS, "x", *(a_resource(name, _static(name), "x") for name in names))
    answered(side, CDS, "x")
    take_away(side, *names)


@case("error=13:", "opened")
def a_stream_that_ends_after_a_refusal(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("a", any_pb2.Any(type_url=type_url(EDS), value=b"\xff")))
    answered(side, EDS, "x")
    reopened(side, side.plane.end_streams)


@case("opened")
def a_stream_that_ends_while_endpoints_are_awaited(side: Side) -> None:
    side.plane.hold(EDS)
    side.serve(CDS, eds("a", side.source))
    side.asked_for(EDS, "a")
    mark = side.plane.mark()
    side.plane.end_streams()
    side._await(lambda: side.plane.wait_for(EDS, since=mark))
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.plane.release(EDS)
    side.acked(EDS, version)


def reopened(side: Side, end: Any) -> None:
    """End the stream; wait until all types were asked for again."""
    mark = side.plane.mark()
    end()
    for type_name in (CDS, LDS, EDS):
        side._await(lambda name=type_name: side.plane.wait_for(name, since=mark))


@case("cluster.a.init_fetch_timeout: +1")
def endpoints_that_do_not_come_in_time(side: Side) -> None:
    side.plane.hold(EDS)
    side.put(CDS, eds("a", {**side.source, "initial_fetch_timeout": "0.05s"}))
    side.wait_for_stat("cluster_manager.warming_clusters", 0)
    side.wait_for_stat("cluster.a.init_fetch_timeout", 1)


@case("ADS EDS: ")
def interest_comes_and_goes(side: Side) -> None:
    side.serve(EDS, *(assignment(name, side.port("one")) for name in "abc"))
    side.put(CDS, *(eds(name, side.source) for name in "ab"))
    side.asked_for(EDS, "a", "b")
    side.put(CDS, *(eds(name, side.source) for name in "bc"))
    side.asked_for(EDS, "b", "c")


@case("cluster_manager.cluster_removed: +2")
def a_cluster_that_expires(side: Side) -> None:
    respond(side, CDS, "x", a_resource("a", _static("a"), "x", ttl_ms=150), a_resource("b", _static("b"), "x"))
    answered(side, CDS, "x")
    side.wait_for_stat("cluster_manager.active_clusters", 2)
    take_away(side, "b")


@case('control_plane.identifier: "another"')
def who_answers(side: Side) -> None:
    respond(side, CDS, "x", identifier="another")
    answered(side, CDS, "x")
    side.put(CDS, static("a", side.port("one")))
    side.note(side.proxy.admin("/stats?filter=control_plane.identifier").strip())
    respond(side, CDS, "y", identifier="another", **({"removed_resources": ["a"]} if side.variant.delta else {}))
    answered(side, CDS, "y")
    gone(side)


@delta_case("error=13:'duplicate name a found among added/updated resources'")
def one_name_twice(side: Side) -> None:
    with_endpoints(side)
    one = a_resource("a", endpoints("a", side.port("two")))
    respond(side, EDS, "x", one, one)
    answered(side, EDS, "x")


@delta_case("error=13:'duplicate name a found in the union of added+removed resources'")
def one_name_added_and_removed(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("a", endpoints("a", side.port("two"))), removed_resources=["a"])
    answered(side, EDS, "x")


@delta_case("ADS EDS: answers")
def a_removed_assignment_is_kept(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", removed_resources=["a", "no"])
    answered(side, EDS, "x")


@delta_case("opened")
def a_removed_assignment_has_no_version(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", removed_resources=["a"])
    answered(side, EDS, "x")
    reopened(side, side.plane.end_streams)


@delta_case("error=13:'type URL  embedded in an individual Any")
def a_resource_without_contents(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("a", version="unknown"))
    answered(side, EDS, "x")


@delta_case()
def an_alias_that_leads_nowhere(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x", a_resource("b", aliases=["c"]))
    answered(side, EDS, "x")


@delta_case("cluster_manager.cds.update_success: +3", "cluster_manager.cluster_added: +1")
def a_heartbeat_is_no_update(side: Side) -> None:
    respond(side, CDS, "x", a_resource("a", _static("a"), "x", ttl_ms=3_600_000))
    answered(side, CDS, "x")
    respond(side, CDS, "y", a_resource("a", version="x", ttl_ms=3_600_000))
    answered(side, CDS, "y")
    take_away(side, "a")


@case("Expected positive duration", "cluster_manager.cds.update_rejected: +1")
def a_ttl_below_nothing(side: Side) -> None:
    respond(side, CDS, "x", a_resource("a", _static("a"), "x", ttl_ms=-5000))
    answered(side, CDS, "x")


@case("Duration out-of-range", "cluster_manager.cds.update_rejected: +1")
def a_ttl_beyond_all_times(side: Side) -> None:
    respond(side, CDS, "x", a_resource("a", _static("a"), "x", ttl_ms=300_000_000_000_000))
    answered(side, CDS, "x")


@delta_case("cluster_manager.cds.update_success: +")
def an_empty_response_is_an_update(side: Side) -> None:
    respond(side, CDS, "x")
    answered(side, CDS, "x")


@delta_case("initial_versions={'a': 'x', 'b': 'x'}")
def a_new_stream_says_what_is_there(side: Side) -> None:
    respond(side, CDS, "x", *(a_resource(name, _static(name), "x") for name in "ab"))
    answered(side, CDS, "x")
    mark = side.plane.mark()
    side.plane.end_streams()
    side._await(lambda: side.plane.wait_for(CDS, since=mark))
    take_away(side, "a", "b")


@sotw_case("ADS CDS: version='y'", "ADS CDS: version='x'")
def versions_may_go_back(side: Side) -> None:
    for number, version in enumerate(("x", "y", "x")):
        respond(side, CDS, version, nonce=nonce_of(side, str(number)))
        answered(side, CDS, str(number))


@sotw_case("ADS EDS: version=")
def nobody_watches_any_more(side: Side) -> None:
    with_endpoints(side)
    side.put(CDS)
    side.asked_for(EDS)
    respond(side, EDS, "x", a_resource("a", endpoints("a", side.port("two"))))
    answered(side, EDS, "x")
    respond(side, EDS, "y")


@sotw_case()
def an_assignment_that_is_left_out_is_kept(side: Side) -> None:
    with_endpoints(side)
    respond(side, EDS, "x")
    answered(side, EDS, "x")
    side.note(f"members: {side.stat('cluster.a.membership_total')}")


@sotw_case()
def wrapped_resources(side: Side) -> None:
    respond(side, CDS, "x", a_resource("other", _static("a"), "own", aliases=["b"]))
    answered(side, CDS, "x")
    take_away(side)


COLLECTED: list[XdsCase] = []
collected_case = into(COLLECTED)
CONTEXT = 'xds.node.cluster=test&xds.node.metadata.list=%5B"x",1%5D'
"""What the collection's name says of the node."""
COLLECTION = "xdstp://auth/envoy.config.cluster.v3.Cluster/foo"


@collected_case("cluster_manager.cluster_added: +1")
def what_is_in_the_collection_is_taken(side: Side) -> None:
    inside, outside = f"{COLLECTION}/a?b=2&a=1&{CONTEXT}", f"{COLLECTION}/more/b?{CONTEXT}"
    respond(side, CDS, "x", *(a_resource(name, _static(name), "x") for name in (inside, outside)))
    answered(side, CDS, "x")
    take_away(side, inside)


@collected_case("Resource type missing from /")
def a_name_without_a_type(side: Side) -> None:
    respond(side, CDS, "x", a_resource("xdstp://auth", _static("xdstp://auth"), "x"))
    answered(side, CDS, "x")


@collected_case("opened")
def a_collection_on_a_new_stream(side: Side) -> None:
    mark = side.plane.mark()
    side.plane.end_streams()
    side._await(lambda: side.plane.wait_for(CDS, since=mark))
    side._await(lambda: side.plane.wait_for(LDS, since=mark))


def with_collections(variant: Variant, port: int) -> Json:
    made = variant.bootstrap(port)
    made["node"]["metadata"] = {"list": ["x", 1]}
    made["node_context_params"] = ["cluster", "metadata", "no_such"]
    made["dynamic_resources"]["cds_resources_locator"] = f"{COLLECTION}/*?b=2&a=1"
    made["dynamic_resources"]["lds_resources_locator"] = "xdstp://auth/envoy.config.listener.v3.Listener/*"
    return made


def on_first_message_only(variant: Variant, port: int) -> Json:
    made = variant.bootstrap(port)
    made["dynamic_resources"]["ads_config"]["set_node_on_first_message_only"] = True
    return made


def start(variant: Variant, paths: pytest.TempPathFactory) -> XdsPair:
    return XdsPair(variant, paths.mktemp(variant.name), lambda port: on_first_message_only(variant, port))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    """Both speak the state-of-the-world protocol."""
    made = start(VARIANTS[0], tmp_path_factory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def incremental(tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    made = start(VARIANTS[1], tmp_path_factory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def collecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    made = XdsPair(
        VARIANTS[1], tmp_path_factory.mktemp("collections"), lambda port: with_collections(VARIANTS[1], port)
    )
    yield made
    made.close()


@pytest.mark.parametrize("sequence", [*CASES, *SOTW_CASES], ids=lambda sequence: sequence.name)
def test_the_state_of_the_world(sequence: XdsCase, whole: XdsPair) -> None:
    whole.check(sequence)


@pytest.mark.parametrize("sequence", [*CASES, *DELTA_CASES], ids=lambda sequence: sequence.name)
def test_differences(sequence: XdsCase, incremental: XdsPair) -> None:
    incremental.check(sequence)


def test_collections_at_the_start(collecting: XdsPair) -> None:
    collecting.check_start("xds.node.cluster=test")


@pytest.mark.parametrize("sequence", COLLECTED, ids=lambda sequence: sequence.name)
def test_collections(sequence: XdsCase, collecting: XdsPair) -> None:
    collecting.check(sequence)
