"""Patches of route configurations, virtual hosts and routes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.patch.conftest import MakePatches, message

from proxeny.config.patch.routes import patch_routes
from proxeny.config.patch.schema import Context

ROUTES = """
name: "80"
virtual_hosts:
- name: one
  domains: [one.test, "*.one.test"]
  routes:
  - {name: a, match: {prefix: /a}, route: {cluster: a}}
  - {name: b, match: {prefix: /b}, redirect: {path_redirect: /}}
  - {name: c, match: {prefix: /c}, direct_response: {status: 200}}
- name: two
  domains: [two.test]
  routes:
  - {name: a, match: {prefix: /}, route: {cluster: a}}
"""


def entry(kind: str, operation: str, match: str = "{}", value: str = "") -> str:
    with_value = f", value: {value}" if value else ""
    return f"{{applyTo: {kind}, match: {match}, patch: {{operation: {operation}{with_value}}}}}"


def patched(patches: MakePatches, *entries: str, routes: str = ROUTES, **options: Any) -> Any:
    made = message("ROUTE_CONFIGURATION", routes)
    before = message("ROUTE_CONFIGURATION", routes)
    assert patch_routes(patches(*entries), made, **options) is (made != before)
    return made


def shape(routes: Any) -> str:
    """Hosts with the names of their routes."""
    return " ".join(f"{host.name}:{''.join(route.name for route in host.routes)}" for host in routes.virtual_hosts)


def vhost(match: str) -> str:
    return f"{{routeConfiguration: {{vhost: {match}}}}}"


@pytest.mark.parametrize(
    ("name", "match", "context", "port", "matches"),
    [
        ("80", "{}", Context.SIDECAR_OUTBOUND, 0, True),
        ("80", "{name: '80'}", Context.SIDECAR_OUTBOUND, 0, True),
        ("80", "{name: '81'}", Context.SIDECAR_OUTBOUND, 0, False),
        ("80", "{portNumber: 80}", Context.SIDECAR_OUTBOUND, 0, True),
        ("80", "{portNumber: 81}", Context.SIDECAR_OUTBOUND, 81, False),
        ("local", "{portNumber: 81}", Context.SIDECAR_OUTBOUND, 81, True),
        ("local", "{portNumber: 81}", Context.SIDECAR_OUTBOUND, 0, False),
        ("inbound|90||", "{portNumber: 90}", Context.SIDECAR_INBOUND, 0, True),
        ("inbound|90||", "{portNumber: 91}", Context.SIDECAR_INBOUND, 0, False),
        ("http.80", "{portNumber: 80}", Context.GATEWAY, 8080, True),
        ("http.80", "{portName: http}", Context.GATEWAY, 0, False),
        ("https.443.web.gw.space", "{portNumber: 443, portName: web, gateway: space/gw}", Context.GATEWAY, 0, True),
        ("https.443.web.gw.space", "{portName: other}", Context.GATEWAY, 0, False),
        ("https.443.web.gw.space", "{gateway: gw/space}", Context.GATEWAY, 0, False),
        ("80", "{portName: other, gateway: a/b}", Context.SIDECAR_OUTBOUND, 0, True),
    ],
)
def test_route_configuration_match(
    patches: MakePatches, name: str, match: str, context: Context, port: int, matches: bool
) -> None:
    made = patched(
        patches,
        entry("ROUTE_CONFIGURATION", "MERGE", f"{{routeConfiguration: {match}}}", "{internal_only_headers: [x]}"),
        routes=f"{{name: '{name}'}}",
        context=context,
        listener_port=port,
    )
    assert list(made.internal_only_headers) == (["x"] if matches else [])


def test_a_new_name_is_matched_by_the_patches_that_follow(patches: MakePatches) -> None:
    made = patched(
        patches,
        entry("ROUTE_CONFIGURATION", "MERGE", "{routeConfiguration: {name: '80'}}", "{name: new}"),
        entry("ROUTE_CONFIGURATION", "MERGE", "{routeConfiguration: {name: new}}", "{internal_only_headers: [x]}"),
        entry("ROUTE_CONFIGURATION", "MERGE", "{routeConfiguration: {name: '80'}}", "{internal_only_headers: [other]}"),
        entry("VIRTUAL_HOST", "REMOVE", "{routeConfiguration: {name: new, vhost: {name: two}}}"),
    )
    assert list(made.internal_only_headers) == ["x"]
    assert shape(made) == "one:abc"


@pytest.mark.parametrize(
    ("node", "name", "context"),
    [
        ("sidecar~1", "80", "SIDECAR_OUTBOUND"),
        ("", "80", "SIDECAR_OUTBOUND"),
        ("sidecar~1", "inbound|90||", "SIDECAR_INBOUND"),
        ("router~1", "80", "GATEWAY"),
    ],
)
def test_the_context_of_routes_that_come_by_themselves(
    patches: MakePatches, node: str, name: str, context: str
) -> None:
    made = message("ROUTE_CONFIGURATION", f"{{name: '{name}'}}")
    entries = [
        entry("ROUTE_CONFIGURATION", "MERGE", f"{{context: {one}}}", f"{{internal_only_headers: [{one}]}}")
        for one in ("SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY")
    ]
    assert patch_routes(patches(*entries, proxy=f"{{id: '{node}'}}"), made)
    assert list(made.internal_only_headers) == [context]


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ("{}", "one two"),
        ("{name: one}", "one"),
        ("{domainName: '*.one.test'}", "one"),
        ("{domainName: one}", ""),
        ("{name: one, domainName: two.test}", ""),
    ],
)
def test_virtual_host_match(patches: MakePatches, match: str, matches: str) -> None:
    made = patched(patches, entry("VIRTUAL_HOST", "MERGE", vhost(match), "{require_tls: ALL}"))
    assert " ".join(host.name for host in made.virtual_hosts if host.require_tls) == matches


def test_virtual_hosts_are_removed_replaced_and_added(patches: MakePatches) -> None:
    made = patched(
        patches,
        entry("VIRTUAL_HOST", "REPLACE", vhost("{name: one}"), "{name: new, domains: [new.test]}"),
        entry("VIRTUAL_HOST", "MERGE", vhost("{name: new}"), "{domains: [more.test]}"),
        entry("VIRTUAL_HOST", "REMOVE", vhost("{name: two}")),
        entry("VIRTUAL_HOST", "ADD", vhost("{name: whatever}"), "{name: added}"),
        entry("VIRTUAL_HOST", "ADD", "{routeConfiguration: {name: other}}", "{name: absent}"),
    )
    assert shape(made) == "new: added:"
    assert list(made.virtual_hosts[0].domains) == ["new.test", "more.test"]


def test_a_merge_can_replace_lists(patches: MakePatches) -> None:
    made = patched(
        patches,
        entry("VIRTUAL_HOST", "MERGE_AND_REPLACE_LIST", vhost("{name: one}"), "{domains: [x.test], require_tls: ALL}"),
    )
    assert list(made.virtual_hosts[0].domains) == ["x.test"]
    assert shape(made) == "one:abc two:a"


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ("{}", "one:abc two:a"),
        ("{name: one}", "one:abc"),
        ("{route: {}}", "one:abc two:a"),
        ("{route: {name: a}}", "one:a two:a"),
        ("{name: one, route: {name: a}}", "one:a"),
        ("{route: {action: ANY}}", "one:abc two:a"),
        ("{route: {action: ROUTE}}", "one:a two:a"),
        ("{route: {action: REDIRECT}}", "one:b"),
        ("{route: {action: DIRECT_RESPONSE}}", "one:c"),
        ("{route: {name: a, action: REDIRECT}}", ""),
    ],
)
def test_route_match(patches: MakePatches, match: str, matches: str) -> None:
    made = patched(patches, entry("HTTP_ROUTE", "MERGE", vhost(match), "{response_headers_to_remove: [x]}"))
    for host in made.virtual_hosts:
        for index in reversed(range(len(host.routes))):
            if not host.routes[index].response_headers_to_remove:
                del host.routes[index]
    assert " ".join(text for text in shape(made).split() if not text.endswith(":")) == matches


@pytest.mark.parametrize(
    ("operation", "match", "expected"),
    [
        ("ADD", "{name: one}", "one:abcx two:a"),
        ("INSERT_FIRST", "{name: one}", "one:xabc two:a"),
        ("INSERT_FIRST", "{route: {name: b}}", "one:xabc two:a"),
        ("INSERT_BEFORE", "{}", "one:xabc two:xa"),
        ("INSERT_BEFORE", "{route: {name: a}}", "one:xabc two:xa"),
        ("INSERT_BEFORE", "{route: {name: c}}", "one:abxc two:a"),
        ("INSERT_AFTER", "{name: two}", "one:abc two:ax"),
        ("INSERT_AFTER", "{route: {action: REDIRECT}}", "one:abxc two:a"),
        ("REMOVE", "{route: {name: a}}", "one:bc two:"),
        ("REMOVE", "{name: one}", "one: two:a"),
    ],
)
def test_routes_are_added_and_removed(patches: MakePatches, operation: str, match: str, expected: str) -> None:
    value = "" if operation == "REMOVE" else "{name: x, match: {prefix: /x}}"
    assert shape(patched(patches, entry("HTTP_ROUTE", operation, vhost(match), value))) == expected


def test_what_is_removed_first_is_not_merged_or_inserted_at(patches: MakePatches) -> None:
    chosen = patches(
        entry("HTTP_ROUTE", "REMOVE", vhost("{route: {name: b}}")),
        entry("HTTP_ROUTE", "MERGE", vhost("{route: {name: b}}"), "{response_headers_to_remove: [x]}"),
        entry("HTTP_ROUTE", "INSERT_AFTER", vhost("{route: {name: b}}"), "{name: x}"),
    )
    made = message("ROUTE_CONFIGURATION", ROUTES)
    assert patch_routes(chosen, made)
    assert shape(made) == "one:ac two:a"
    assert (chosen.applied, chosen.unmatched) == (1, 2)
