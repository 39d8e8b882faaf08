"""The decisions about a connection."""

from collections.abc import Sequence

from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2 as _inputs  # noqa: F401
from tests.unit.explain.conftest import ORIGINAL_DST, TLS_INSPECTOR, Make, chain, listener_filter

from proxeny.explain.connection import Explanation, ListenerView, explain_connection
from proxeny.explain.facts import parse_facts


def explained(listeners: Sequence[ListenerView], dst: str, src: str = "10.9.9.9:5000", **said: str) -> Explanation:
    return explain_connection(listeners, parse_facts({"src": src, "dst": dst, **said}))


def path(explanation: Explanation) -> list[str]:
    """Listeners, then the chain."""
    assert explanation.chain is not None
    names = [stage.listener.config.name for stage in explanation.stages]
    return [*names, "-" if explanation.chain.chain is None else explanation.chain.chain.name]


def test_the_exact_address_and_the_wildcard(sidecar: list[ListenerView]) -> None:
    found = explained(sidecar, "127.0.0.1:9000")
    assert (found.accepted.how, path(found)) == ("exact", ["own", "only"])
    assert found.handed_off is None
    found = explained(sidecar, "10.0.0.5:15006")
    assert (found.accepted.how, path(found)) == ("wildcard", ["inbound", "only"])
    assert found.stages[0].filters[0].finds == "the connection was not redirected: the local address stays"


def test_a_captured_connection_is_handed_off(sidecar: list[ListenerView]) -> None:
    found = explained(sidecar, "10.0.0.7:443", sni="A.test")
    assert found.accepted.how == "captured"
    assert "redirected to 0.0.0.0:15001" in found.accepted.why and "'inbound' could be" in found.accepted.why
    assert path(found) == ["outbound", "443", "a"]
    assert found.handed_off is not None and found.handed_off.how == "wildcard"
    assert [step.finds for stage in found.stages for step in stage.filters] == [
        "the original destination 10.0.0.7:443",
        "TLS, server name 'a.test'",
    ]
    assert found.filters == [("envoy.filters.network.tcp_proxy", "cluster 'to-a'")]


def test_the_exact_address_goes_before_the_wildcard(sidecar: list[ListenerView]) -> None:
    found = explained(sidecar, "10.0.0.1:443", sni="a.test")
    assert path(found) == ["outbound", "exact", "-"]
    assert found.handed_off is not None and found.handed_off.how == "exact"
    assert found.chain is not None and found.chain.others == [("one", "destination port 443 is not 444")]
    assert found.filters == []
    assert found.notes == [
        "TLS is not recognised: no tls_inspector runs",
        "the server name 'a.test' is not seen: no tls_inspector runs",
    ]


def test_nobody_has_the_original_destination(sidecar: list[ListenerView]) -> None:
    found = explained(sidecar, "10.0.0.1:80")
    assert path(found) == ["outbound", "only"]
    assert found.handed_off is not None and found.handed_off.how == "stays"
    assert "no listener has 10.0.0.1:80" in found.handed_off.why


def test_a_named_listener(sidecar: list[ListenerView]) -> None:
    found = explained(sidecar, "10.0.0.1:80", listener="inbound")
    assert (found.accepted.how, path(found)) == ("named", ["inbound", "only"])
    assert found.stages[0].filters[0].finds == "the original destination 10.0.0.1:80"
    found = explained(sidecar, "10.0.0.1:80", listener="nothing")
    assert (found.accepted.listener, found.accepted.why) == (None, "there is no TCP listener 'nothing'")


def test_nobody_takes_it(make: Make) -> None:
    found = explained([make("own", "127.0.0.1:9000"), make("hidden", "0.0.0.0:80", bind_to_port=False)], "10.0.0.1:80")
    assert found.accepted.how == "nobody" and found.chain is None and found.stages == []


def test_unix_sockets(make: Make) -> None:
    found = explain_connection([make("pipe", "/tmp/explained.sock")], parse_facts({"dst": "/tmp/explained.sock"}))
    assert (found.accepted.how, path(found)) == ("exact", ["pipe", "only"])


def test_disabled_filters_find_nothing(make: Make) -> None:
    disabled = {**TLS_INSPECTOR, "filter_disabled": {"destination_port_range": {"start": 9000, "end": 9001}}}
    chains = [chain("named", server_names=["a.test"]), chain("rest")]
    found = explained(
        [make("l", "127.0.0.1:9000", listener_filters=[disabled], filter_chains=chains)], "127.0.0.1:9000", sni="a.test"
    )
    (step,) = found.stages[0].filters
    assert (step.runs, step.finds) == (False, "disabled by filter_disabled (local address 127.0.0.1:9000)")
    assert path(found) == ["l", "rest"]


def test_filter_disabled_sees_the_redirect_port_before_original_dst(make: Make) -> None:
    rule = {"destination_port_range": {"start": 443, "end": 444}}
    before = {**TLS_INSPECTOR, "filter_disabled": rule}
    for filters, runs in (([before, ORIGINAL_DST], True), ([ORIGINAL_DST, before], False)):
        found = explained([make("l", "0.0.0.0:15001", listener_filters=filters)], "10.0.0.1:443", tls="")
        by_name = {step.name: step.runs for step in found.stages[0].filters}
        assert by_name["envoy.filters.listener.tls_inspector"] is runs


def test_what_the_other_filters_say(make: Make) -> None:
    filters = [listener_filter("proxy_protocol", "ProxyProtocol"), listener_filter("http_inspector", "HttpInspector")]
    listeners = [make("l", "127.0.0.1:9000", listener_filters=filters)]
    said = [step.finds for step in explained(listeners, "127.0.0.1:9000").stages[0].filters]
    assert said[0] == "no PROXY header is assumed: the addresses stay"
    assert said[1].startswith("nothing (a plain HTTP request would give http/1.1")
    found = explained(listeners, "127.0.0.1:9000", alpn="h2c")
    assert found.stages[0].filters[1].finds == "application protocol h2c"
    assert found.notes == []


def test_the_unified_matcher_tells_what_it_asked(make: Make) -> None:
    string = "type.googleapis.com/google.protobuf.StringValue"
    network = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3"
    action = {"action": {"name": "a", "typed_config": {"@type": string, "value": "missing"}}}
    port = {"name": "i", "typed_config": {"@type": f"{network}.DestinationPortInput"}}
    matcher = {"matcher_tree": {"input": port, "exact_match_map": {"map": {"9000": action}}}}
    found = explained([make("l", "127.0.0.1:9000", filter_chain_matcher=matcher)], "127.0.0.1:9000")
    assert found.chain is not None
    assert (found.chain.how, found.chain.chain) == ("missing", None)
    assert found.chain.notes == [
        "destination port is '9000'",
        "it fits '9000'",
        "the action is filter chain 'missing'",
    ]
    assert found.chain.others == [("only", "the matcher does not lead to it")]
