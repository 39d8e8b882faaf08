"""Whom patches are for."""

from __future__ import annotations

import pytest
from tests.unit.config.patch.conftest import MakePatches, message, node

from proxeny.config.patch.proxy import Proxy
from proxeny.config.patch.schema import Context

METADATA = "{ISTIO_VERSION: 1.30.2, A: b, NUMBER: 5, LABELS: {app: reviews, version: v1}}"


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        ("{}", ""),
        ("{proxyVersion: '^1\\.30.*'}", ""),
        ("{proxyVersion: '30'}", ""),
        ("{proxyVersion: '^1\\.29'}", "its proxyVersion does not match 1.30.2"),
        ("{metadata: {A: b}}", ""),
        ("{metadata: {A: c}}", "the node's metadata A is not 'c'"),
        ("{metadata: {B: c}}", "the node's metadata B is not 'c'"),
        ("{metadata: {NUMBER: '5'}}", "the node's metadata NUMBER is not '5'"),
    ],
)
def test_proxy_match(patches: MakePatches, match: str, reason: str) -> None:
    entry = f"{{applyTo: LISTENER, match: {{proxy: {match}}}, patch: {{operation: REMOVE}}}}"
    chosen = patches(entry, proxy=f"{{metadata: {METADATA}}}")
    assert list(chosen.refused.values()) == ([reason] if reason else [])
    if reason:
        assert chosen.warnings()[0].endswith(f"(REMOVE LISTENER) does not apply: {reason}")


def test_a_version_is_matched_only_where_there_is_one(patches: MakePatches) -> None:
    entry = "{applyTo: LISTENER, match: {proxy: {proxyVersion: '.*'}}, patch: {operation: REMOVE}}"
    assert "has no ISTIO_VERSION" in patches(entry).warnings()[0]


@pytest.mark.parametrize(
    ("selector", "proxy", "refused", "warned"),
    [
        ("{labels: {app: reviews}}", f"{{metadata: {METADATA}}}", False, False),
        ("{labels: {app: ratings}}", f"{{metadata: {METADATA}}}", True, False),
        ("{labels: {app: reviews, tier: a}}", f"{{metadata: {METADATA}}}", True, False),
        ("{}", f"{{metadata: {METADATA}}}", False, False),
        ("{labels: {app: reviews}}", "{}", False, True),
        ("{}", "{}", False, False),
    ],
)
def test_workload_selectors(patches: MakePatches, selector: str, proxy: str, refused: bool, warned: bool) -> None:
    entry = "{applyTo: LISTENER, patch: {operation: REMOVE}}"
    chosen = patches(entry, proxy=proxy, head=f"workloadSelector: {selector}")
    assert bool(chosen.refused) is refused
    assert any("workloadSelector is not evaluated" in text for text in chosen.warnings()) is warned


@pytest.mark.parametrize(
    ("node_id", "listener", "context"),
    [
        ("router~1", "{traffic_direction: INBOUND}", Context.GATEWAY),
        ("sidecar~1", "{traffic_direction: INBOUND}", Context.SIDECAR_INBOUND),
        ("sidecar~1", "{traffic_direction: OUTBOUND}", Context.SIDECAR_OUTBOUND),
        ("", "{traffic_direction: OUTBOUND}", Context.SIDECAR_OUTBOUND),
        ("", "{name: virtualInbound}", Context.SIDECAR_INBOUND),
        ("", "{name: virtualOutbound}", Context.SIDECAR_OUTBOUND),
        ("", "{name: virtualOutbound, traffic_direction: INBOUND}", Context.SIDECAR_INBOUND),
        ("sidecar~1", "{name: other}", Context.ANY),
    ],
)
def test_the_context_of_a_listener(node_id: str, listener: str, context: Context) -> None:
    assert Proxy(node(f"{{id: '{node_id}'}}")).listener_context(message("LISTENER", listener)) is context


def test_the_node_id_of_the_command_line_wins() -> None:
    assert Proxy(node("{id: sidecar~1}"), "router~2").is_router
    assert not Proxy(node("{id: router~1}"), "sidecar~2").is_router
