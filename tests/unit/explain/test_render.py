"""Explanations as text and as JSON."""

from tests.unit.explain.conftest import Make, chain

from proxeny.explain.connection import ListenerView, explain_connection
from proxeny.explain.facts import parse_facts
from proxeny.explain.render import as_json, as_text


def test_the_text(sidecar: list[ListenerView]) -> None:
    facts = parse_facts({"src": "10.9.9.9:5000", "dst": "10.0.0.7:443", "sni": "b.test", "alpn": "odd"})
    text = as_text(explain_connection(sidecar, facts))
    assert text.splitlines() == [
        "connection from 10.9.9.9:5000 to 10.0.0.7:443 (TLS, server name 'b.test', protocols odd)",
        "1. accepted by listener 'outbound': no listener is bound to 10.0.0.7:443: it is taken to be redirected to "
        "0.0.0.0:15001, where the original destination is restored (as 'inbound' could be: name the one that is meant)",
        "2. listener filters of 'outbound'",
        "   envoy.filters.listener.original_dst: the original destination 10.0.0.7:443",
        "3. handed to listener '443': use_original_dst: it has the wildcard of port 443",
        "4. listener filters of '443'",
        "   envoy.filters.listener.tls_inspector: TLS, server name 'b.test', application protocols odd",
        "5. no filter chain of '443': none matches; it is closed (NR, filter_chain_not_found)",
        "   destination address 10.0.0.7: any",
        "   server name b.test: *.test",
        "   application protocol odd: no chain fits",
        "   not 'a': server name b.test is not a.test",
        "   not 'wild': application protocol odd is not h2",
        "   not 'ten': destination address 10.0.0.7 is not 10.1.0.0/16",
    ]


def test_the_text_where_nobody_takes_it_and_where_it_stays(sidecar: list[ListenerView]) -> None:
    facts = parse_facts({"src": "10.9.9.9:5000", "dst": "10.0.0.7:80"})
    assert as_text(explain_connection(sidecar[2:], facts)).splitlines()[1:] == [
        "1. refused: no listener is bound to 10.0.0.7:80, and none takes redirected connections"
    ]
    lines = as_text(explain_connection(sidecar, facts)).splitlines()
    assert lines[4].startswith("3. not handed off: use_original_dst: no listener has 10.0.0.7:80")
    assert lines[5:] == [
        "4. filter chain 'only' of 'outbound': it matches",
        "5. network filters",
        "   envoy.filters.network.tcp_proxy: cluster 'to-only'",
    ]


def test_the_default_chain_and_many_others(make: Make) -> None:
    chains = [chain(f"c{number}", destination_port=number) for number in range(1, 61)]
    view = make("l", "127.0.0.1:9000", filter_chains=chains, default_filter_chain=chain("default"))
    explanation = explain_connection([view], parse_facts({"src": "10.9.9.9:5000", "dst": "127.0.0.1:9000"}))
    lines = as_text(explanation).splitlines()
    assert lines[2] == "2. filter chain 'default' of 'l': the default chain: no other matches"
    assert lines[4] == "   not 'c1': destination port 9000 is not 1"
    assert "   and 10 other chains" in lines
    value = as_json(explanation)
    assert value["filter_chain"]["how"] == "default"
    assert len(value["filter_chain"]["others"]) == 60


def test_chains_without_a_name(make: Make) -> None:
    view = make("l", "127.0.0.1:9000", filter_chains=[chain("", destination_port=1), {**chain(""), "name": ""}])
    explanation = explain_connection([view], parse_facts({"src": "10.9.9.9:5000", "dst": "127.0.0.1:9000"}))
    lines = as_text(explanation).splitlines()
    assert lines[2] == "2. filter chain without a name of 'l': it matches"
    assert lines[4] == "   not without a name: destination port 9000 is not 1"


def test_the_json(sidecar: list[ListenerView]) -> None:
    facts = parse_facts({"src": "10.9.9.9:5000", "dst": "10.1.0.7:443"})
    value = as_json(explain_connection(sidecar, facts))
    assert value["accepted"]["how"] == "captured"
    assert value["handed_off"]["listener"] == "443"
    assert value["listeners"][1]["listener_filters"] == [
        {"name": "envoy.filters.listener.tls_inspector", "runs": True, "finds": "no TLS"}
    ]
    assert value["filter_chain"]["criteria"] == [
        {"name": "destination address", "connection": "10.1.0.7", "chosen": "10.1.0.0/16"}
    ]
    assert value["filter_chain"]["others"][0] == {
        "name": "a",
        "why": "destination address 10.1.0.7: any is less specific than 10.1.0.0/16",
    }
    assert value["network_filters"] == [{"name": "envoy.filters.network.tcp_proxy", "does": "cluster 'to-ten'"}]
