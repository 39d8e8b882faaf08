"""Patches of delivered listeners: changed, logged, removed, refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.listener.v3 import listener_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.patch.applied import AppliedPatches
from proxeny.server.delivered_patches import listener_patcher
from proxeny.xds.resource import Amend

PATCHES = """
configPatches:
- {applyTo: LISTENER, match: {listener: {name: a}}, patch: {operation: MERGE, value: {stat_prefix: x}}}
- {applyTo: LISTENER, match: {listener: {name: b}}, patch: {operation: REMOVE}}
- applyTo: NETWORK_FILTER
  match: {listener: {name: c}}
  patch:
    operation: MERGE
    value: {typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}
"""


@pytest.fixture
def patch(tmp_path: Path) -> Amend:
    (tmp_path / "p.yaml").write_text(PATCHES)
    applied = AppliedPatches([str(tmp_path / "p.yaml")], False, "")
    applied.apply(bootstrap_pb2.Bootstrap())
    applied.settle()
    made = listener_patcher(applied)
    assert made is not None
    return made


def test_nothing_is_patched_without_patches() -> None:
    assert listener_patcher(None) is None


def test_each_delivery_is_patched_and_told_of(patch: Amend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        listener = listener_pb2.Listener(name="a")
        assert patch(listener)
        assert listener.stat_prefix == "x"
    assert not patch(listener_pb2.Listener(name="b"))
    assert patch(listener_pb2.Listener(name="d"))
    told = [record.getMessage().rpartition("LISTENER): ")[2] for record in caplog.records]
    assert told == ["listener 'a'", "listener 'a'", "removed listener 'b'"]


def test_a_patch_that_cannot_be_applied_refuses_its_listener(patch: Amend) -> None:
    listener = listener_pb2.Listener(name="c")
    one = listener.filter_chains.add().filters.add(name="tcp")
    one.typed_config.type_url = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    with pytest.raises(ConfigError, match=r"configPatches\[2\] \(MERGE NETWORK_FILTER\): 'tcp' of .*cannot merge"):
        patch(listener)
