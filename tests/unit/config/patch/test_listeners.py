"""Patches of listeners and what is in them, one listener at a time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.patch.conftest import MakePatches, message

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError
from proxeny.config.patch.listeners import added_listeners, patch_listener
from proxeny.config.patch.schema import Context

TYPES = "type.googleapis.com/envoy.extensions.filters"
HCM = f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{TYPES}.http.router.v3.Router"

LISTENER = f"""
name: web
address: {{socket_address: {{address: 127.0.0.1, port_value: 80}}}}
traffic_direction: INBOUND
listener_filters:
- {{name: tls, typed_config: {{"@type": {TYPES}.listener.tls_inspector.v3.TlsInspector}}}}
- {{name: http, typed_config: {{"@type": {TYPES}.listener.http_inspector.v3.HttpInspector}}}}
filter_chains:
- name: first
  filter_chain_match: {{destination_port: 8080, server_names: [a, b], transport_protocol: tls,
    application_protocols: [h2, http/1.1]}}
  transport_socket: {{name: tls}}
  filters:
  - {{name: rbac, typed_config: {{"@type": {TYPES}.network.rbac.v3.RBAC, stat_prefix: r}}}}
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": {HCM}
      stat_prefix: a
      http_filters:
      - {{name: one, typed_config: {{"@type": {TYPES}.http.buffer.v3.Buffer, max_request_bytes: 5}}}}
      - {{name: two, config_discovery: {{type_urls: [{TYPES}.http.buffer.v3.Buffer]}}}}
      - {{name: router, typed_config: {{"@type": {ROUTER}}}}}
default_filter_chain:
  filters:
  - {{name: tcp, typed_config: {{"@type": {TYPES}.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c}}}}
"""


def patched(patches: MakePatches, *entries: str, listener: str = LISTENER) -> Any:
    made = message("LISTENER", listener)
    assert patch_listener(patches(*entries), made)
    return made


def manager(listener: Any) -> Any:
    (found,) = [one for one in listener.filter_chains[0].filters if one.typed_config.type_url == HCM]
    return open_any(found.typed_config)


def names(filters: Any) -> str:
    return " ".join(one.name for one in filters)


def entry(kind: str, operation: str, match: str = "{}", value: str = "") -> str:
    with_value = f", value: {value}" if value else ""
    return f"{{applyTo: {kind}, match: {match}, patch: {{operation: {operation}{with_value}}}}}"


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ("{}", True),
        ("{context: SIDECAR_INBOUND}", True),
        ("{context: SIDECAR_OUTBOUND}", False),
        ("{context: GATEWAY}", False),
        ("{listener: {name: web}}", True),
        ("{listener: {name: other}}", False),
        ("{listener: {portNumber: 80}}", True),
        ("{listener: {port_number: 81}}", False),
        ("{listener: {name: web, portNumber: 81}}", False),
    ],
)
def test_listener_match(patches: MakePatches, match: str, matches: bool) -> None:
    made = patched(patches, entry("LISTENER", "MERGE", match, "{enable_reuse_port: true}"))
    assert made.enable_reuse_port.value is matches


def test_listeners_are_removed_and_added(patches: MakePatches) -> None:
    chosen = patches(
        entry("LISTENER", "REMOVE", "{listener: {name: web}}"),
        entry("LISTENER", "ADD", "{context: GATEWAY}", "{name: gateway}"),
        entry("LISTENER", "ADD", "{context: SIDECAR_INBOUND}", "{name: inbound}"),
        entry("LISTENER", "ADD", "{listener: {name: whatever}}", "{name: any}"),
    )
    assert not patch_listener(chosen, message("LISTENER", LISTENER))
    assert patch_listener(chosen, message("LISTENER", "{name: other}"))
    assert names(added_listeners(chosen)) == "inbound any"
    assert chosen.summary()[0].partition("REMOVE LISTENER): ")[2] == "removed listener 'web'"


@pytest.mark.parametrize(
    ("operation", "match", "expected"),
    [
        ("ADD", "", "tls http new"),
        ("ADD", "listenerFilter: tls", "tls http new"),
        ("INSERT_FIRST", "listenerFilter: http", "new tls http"),
        ("INSERT_BEFORE", "", "new tls http"),
        ("INSERT_BEFORE", "listenerFilter: http", "tls new http"),
        ("INSERT_BEFORE", "listenerFilter: none", "tls http"),
        ("INSERT_AFTER", "", "tls http new"),
        ("INSERT_AFTER", "listenerFilter: tls", "tls new http"),
        ("INSERT_AFTER", "listenerFilter: none", "tls http"),
        ("REPLACE", "listenerFilter: tls", "new http"),
        ("REMOVE", "listenerFilter: tls", "http"),
        ("MERGE", "listenerFilter: tls", "new http"),
    ],
)
def test_listener_filters(patches: MakePatches, operation: str, match: str, expected: str) -> None:
    made = patched(patches, entry("LISTENER_FILTER", operation, f"{{listener: {{{match}}}}}", "{name: new}"))
    assert names(made.listener_filters) == expected


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ("{}", "first default"),
        ("{name: first}", "first"),
        ("{name: second}", ""),
        ("{sni: a}", "first"),
        ("{sni: c}", ""),
        ("{transportProtocol: tls}", "first"),
        ("{transportProtocol: raw_buffer}", ""),
        ("{applicationProtocols: h2}", "first"),
        ("{applicationProtocols: 'http/1.1,h2'}", "first"),
        ("{applicationProtocols: 'h2,h3'}", ""),
        ("{destinationPort: 8080}", "first"),
        ("{destinationPort: 80}", ""),
        ("{transportSocket: tls}", "first"),
        ("{transportSocket: raw}", ""),
        ("{name: first, sni: c}", ""),
    ],
)
def test_chain_match(patches: MakePatches, match: str, matches: str) -> None:
    made = patched(
        patches,
        entry(
            "FILTER_CHAIN", "MERGE", f"{{listener: {{filterChain: {match}}}}}", "{transport_socket_connect_timeout: 1s}"
        ),
    )
    found = [("first", made.filter_chains[0]), ("default", made.default_filter_chain)]
    assert " ".join(name for name, chain in found if chain.HasField("transport_socket_connect_timeout")) == matches


def test_a_virtual_listener_has_its_ports_in_its_chains(patches: MakePatches) -> None:
    listener = LISTENER.replace("name: web", "name: virtualInbound").replace("traffic_direction: INBOUND", "")
    value = "{name: patched}"
    match = "{context: SIDECAR_INBOUND, listener: {portNumber: 8080}}"
    made = patched(patches, entry("FILTER_CHAIN", "MERGE", match, value), listener=listener)
    assert names(made.filter_chains) == "patched"
    assert made.default_filter_chain.name == ""
    made = patched(patches, entry("FILTER_CHAIN", "MERGE", match.replace("8080", "80"), value), listener=listener)
    assert names(made.filter_chains) == "first"
    made = patched(patches, entry("LISTENER", "MERGE", match.replace("8080", "80"), value), listener=listener)
    assert made.name == "patched"


def test_chains_are_removed_and_added(patches: MakePatches) -> None:
    made = patched(
        patches,
        entry("FILTER_CHAIN", "REMOVE", "{listener: {filterChain: {name: first}}}"),
        entry("FILTER_CHAIN", "ADD", "{listener: {name: web}}", "{name: new}"),
        entry("FILTER_CHAIN", "INSERT_FIRST", "{listener: {name: web}}", "{name: newer}"),
        entry("FILTER_CHAIN", "ADD", "{listener: {name: other}}", "{name: absent}"),
    )
    assert names(made.filter_chains) == "new newer"
    assert made.HasField("default_filter_chain")
    made = patched(patches, entry("FILTER_CHAIN", "REMOVE"))
    assert not made.filter_chains
    assert not made.HasField("default_filter_chain")


HCM_NAME = "envoy.filters.network.http_connection_manager"


@pytest.mark.parametrize(
    ("operation", "name", "expected"),
    [
        ("ADD", "", f"rbac {HCM_NAME} new / tcp new"),
        ("INSERT_FIRST", "", f"new rbac {HCM_NAME} / new tcp"),
        ("INSERT_FIRST", "tcp", f"new rbac {HCM_NAME} / new tcp"),
        ("INSERT_BEFORE", "", f"new rbac {HCM_NAME} / new tcp"),
        ("INSERT_BEFORE", "tcp", f"rbac {HCM_NAME} / new tcp"),
        ("INSERT_BEFORE", HCM_NAME, f"rbac new {HCM_NAME} / tcp"),
        ("INSERT_BEFORE", "envoy.http_connection_manager", f"rbac new {HCM_NAME} / tcp"),
        ("INSERT_AFTER", "", f"rbac {HCM_NAME} new / tcp new"),
        ("INSERT_AFTER", "rbac", f"rbac new {HCM_NAME} / tcp"),
        ("REPLACE", "tcp", f"rbac {HCM_NAME} / new"),
        ("REMOVE", "rbac", f"{HCM_NAME} / tcp"),
        ("REMOVE", "none", f"rbac {HCM_NAME} / tcp"),
    ],
)
def test_network_filters(patches: MakePatches, operation: str, name: str, expected: str) -> None:
    match = f"{{listener: {{filterChain: {{filter: {{name: {name}}}}}}}}}" if name else "{}"
    made = patched(patches, entry("NETWORK_FILTER", operation, match, "{name: new}"))
    assert f"{names(made.filter_chains[0].filters)} / {names(made.default_filter_chain.filters)}" == expected


def test_a_network_filter_is_merged_after_others_were_added(patches: MakePatches) -> None:
    named = "{listener: {filterChain: {filter: {name: new}}}}"
    tcp = f"{TYPES}.network.tcp_proxy.v3.TcpProxy"
    made = patched(
        patches,
        entry("NETWORK_FILTER", "MERGE", named, f"{{typed_config: {{'@type': {tcp}, cluster: d}}}}"),
        entry(
            "NETWORK_FILTER",
            "ADD",
            "{}",
            f"{{name: new, typed_config: {{'@type': {tcp}, stat_prefix: p, cluster: c}}}}",
        ),
    )
    found = open_any(made.default_filter_chain.filters[1].typed_config)
    assert (found.stat_prefix, found.cluster) == ("p", "d")


def test_the_connection_manager_is_merged_inside_and_keeps_its_filters(patches: MakePatches) -> None:
    value = (
        f"{{name: {HCM_NAME}, typed_config: {{'@type': {HCM}, common_http_protocol_options: {{idle_timeout: 30s}}}}}}"
    )
    match = f"{{listener: {{filterChain: {{filter: {{name: {HCM_NAME}}}}}}}}}"
    made = manager(patched(patches, entry("NETWORK_FILTER", "MERGE", match, value)))
    assert made.common_http_protocol_options.idle_timeout.seconds == 30
    assert (made.stat_prefix, names(made.http_filters)) == ("a", "one two router")


def test_a_merge_of_another_type_names_the_patch_and_the_place(patches: MakePatches) -> None:
    value = f"{{typed_config: {{'@type': {TYPES}.network.echo.v3.Echo}}}}"
    with pytest.raises(ConfigError) as caught:
        patched(patches, entry("NETWORK_FILTER", "MERGE", "{listener: {filterChain: {name: first}}}", value))
    assert "patches.yaml, configPatches[0] (MERGE NETWORK_FILTER): 'rbac' of the network filters of filter chain "  \
        "'first' of listener 'web': cannot merge a envoy.extensions.filters.network.echo.v3.Echo into a " in str(
        caught.value
    )  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "sub", "expected"),
    [
        ("ADD", "", "one two router new"),
        ("INSERT_FIRST", "", "new one two router"),
        ("INSERT_FIRST", "none", "new one two router"),
        ("INSERT_BEFORE", "", "new one two router"),
        ("INSERT_BEFORE", "router", "one two new router"),
        ("INSERT_BEFORE", "none", "one two router"),
        ("INSERT_AFTER", "", "one two router new"),
        ("INSERT_AFTER", "one", "one new two router"),
        ("REPLACE", "two", "one new router"),
        ("REMOVE", "one", "two router"),
        ("MERGE", "one", "new two router"),
    ],
)
def test_http_filters(patches: MakePatches, operation: str, sub: str, expected: str) -> None:
    sub_filter = f", subFilter: {{name: {sub}}}" if sub else ""
    match = f"{{listener: {{filterChain: {{filter: {{name: {HCM_NAME}{sub_filter}}}}}}}}}"
    made = patched(patches, entry("HTTP_FILTER", operation, match, "{name: new}"))
    assert names(manager(made).http_filters) == expected
    assert names(made.default_filter_chain.filters) == "tcp"


def test_an_http_filter_is_found_in_a_manager_of_any_name(patches: MakePatches) -> None:
    listener = LISTENER.replace(f"- name: {HCM_NAME}", "- name: hcm")
    match = f"{{listener: {{filterChain: {{filter: {{name: {HCM_NAME}, subFilter: {{name: router}}}}}}}}}}"
    made = patched(patches, entry("HTTP_FILTER", "INSERT_BEFORE", match, "{name: new}"), listener=listener)
    assert names(manager(made).http_filters) == "one two new router"


def test_http_filters_are_merged_inside(patches: MakePatches) -> None:
    match = f"{{listener: {{filterChain: {{filter: {{name: {HCM_NAME}, subFilter: {{name: one}}}}}}}}}}"
    value = f"{{is_optional: true, typed_config: {{'@type': {TYPES}.http.buffer.v3.Buffer, max_request_bytes: 9}}}}"
    found = manager(patched(patches, entry("HTTP_FILTER", "MERGE", match, value))).http_filters[0]
    assert (found.name, found.is_optional, open_any(found.typed_config).max_request_bytes.value) == ("one", True, 9)


def test_filters_that_have_no_configuration_are_not_merged(patches: MakePatches) -> None:
    match = f"{{listener: {{filterChain: {{filter: {{name: {HCM_NAME}, subFilter: {{name: two}}}}}}}}}}"
    chosen = patches(entry("HTTP_FILTER", "MERGE", match, "{name: new}"))
    assert patch_listener(chosen, message("LISTENER", LISTENER))
    assert chosen.warnings()[0].endswith("(MERGE HTTP_FILTER) matches nothing")


@pytest.mark.parametrize(
    ("filters", "filter_class", "expected"),
    [
        ("router", "AUTHZ", "p q router"),
        ("", "AUTHZ", "p q"),
        ("cors, envoy.filters.http.rbac, fault, router", "AUTHZ", "cors envoy.filters.http.rbac p q fault router"),
        ("envoy.filters.http.jwt_authn, fault, router", "AUTHN", "envoy.filters.http.jwt_authn p q fault router"),
        ("istio.stats, router", "STATS", "p q istio.stats router"),
        ("istio.stats, router", "AUTHN", "istio.stats p q router"),
    ],
)
def test_a_filter_class_places_added_filters(
    patches: MakePatches, filters: str, filter_class: str, expected: str
) -> None:
    http_filters = ", ".join(f"{{name: {name}}}" for name in filters.split(", ") if name)
    listener = (
        "{filter_chains: [{filters: [{name: "
        f"{HCM_NAME}, typed_config: {{'@type': {HCM}, http_filters: [{http_filters}]}}}}]}}]}}"
    )
    entries = [
        f"{{applyTo: HTTP_FILTER, patch: {{operation: ADD, filterClass: {filter_class}, value: {{name: {name}}}}}}}"
        for name in ("p", "q")
    ]
    assert names(manager(patched(patches, *entries, listener=listener)).http_filters) == expected


def test_extension_configs_go_to_the_filters_that_discover_them(patches: MakePatches) -> None:
    config = f"{{name: two, typed_config: {{'@type': {TYPES}.http.buffer.v3.Buffer, max_request_bytes: 7}}}}"
    chosen = patches(
        entry("EXTENSION_CONFIG", "ADD", "{}", config),
        entry("EXTENSION_CONFIG", "ADD", "{}", config.replace("name: two", "name: one")),
        entry("EXTENSION_CONFIG", "REPLACE", "{}", config.replace("7", "8")),
    )
    made = message("LISTENER", LISTENER)
    assert patch_listener(chosen, made)
    filters = manager(made).http_filters
    assert [open_any(one.typed_config).max_request_bytes.value for one in filters[:2]] == [5, 8]
    assert not filters[1].HasField("config_discovery")
    assert (chosen.applied, chosen.unmatched) == (1, 2)
    wrong = f"{{name: two, typed_config: {{'@type': {ROUTER}}}}}"
    with pytest.raises(ConfigError, match=r"'two' of the HTTP filters of .*: filter config has type URL .*Router but"):
        patched(patches, entry("EXTENSION_CONFIG", "ADD", "{}", wrong))


def test_inline_routes_have_the_context_and_port_of_their_listener(patches: MakePatches) -> None:
    listener = LISTENER.replace("stat_prefix: a", "stat_prefix: a\n      route_config: {name: any}")
    entries = [
        entry("ROUTE_CONFIGURATION", "MERGE", f"{{context: {context}, routeConfiguration: {{portNumber: {port}}}}}",
              f"{{request_headers_to_remove: [{context}-{port}]}}")
        for context in ("SIDECAR_INBOUND", "SIDECAR_OUTBOUND") for port in (80, 81)
    ]  # fmt: skip
    made = manager(patched(patches, *entries, listener=listener))
    assert list(made.route_config.request_headers_to_remove) == ["SIDECAR_INBOUND-80"]


def test_a_context_can_be_given(patches: MakePatches) -> None:
    made = message("LISTENER", LISTENER)
    chosen = patches(entry("LISTENER", "MERGE", "{context: SIDECAR_OUTBOUND}", "{stat_prefix: x}"))
    assert patch_listener(chosen, made, Context.SIDECAR_OUTBOUND)
    assert made.stat_prefix == "x"


def test_a_malformed_manager_is_left_to_the_checks(patches: MakePatches) -> None:
    made = message("LISTENER", LISTENER)
    made.filter_chains[0].filters[1].typed_config.value = b"\xff"
    kept = message("LISTENER", "{}")
    kept.CopyFrom(made)
    assert patch_listener(patches(entry("HTTP_FILTER", "ADD", "{}", "{name: new}")), made)
    assert made == kept
