"""Limits on connections: of a listener, of all, under overload; live changes of the runtime."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2  # noqa: F401
from google.protobuf.json_format import ParseDict
from tests.unit.listener.conftest import listener_proto

from proxeny.kernel.limits import LimitTable
from proxeny.listener import stats as s
from proxeny.listener.config import ListenerConfig
from proxeny.listener.limits import OVER_ALL, OVER_OWN, SHED, UNLIMITED, ConnectionLimits
from proxeny.network.factory_context import FactoryContext
from proxeny.network.overload_state import (
    GLOBAL_DOWNSTREAM_MAX_CONNECTIONS,
    REJECT_INCOMING_CONNECTIONS,
    TCP_LISTENER_ACCEPT,
)
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry

OWN_KEY = "envoy.resource_limits.listener.l.connection_limit"
GLOBAL_KEY = "overload.global_downstream_max_connections"
MONITOR = {
    "name": GLOBAL_DOWNSTREAM_MAX_CONNECTIONS,
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3."
        "DownstreamConnectionsConfig",
        "max_active_downstream_connections": 1,
    },
}


class Draws:
    """Random numbers that a test chose."""

    def __init__(self, number: int) -> None:
        self.number = number

    def random(self) -> int:
        return self.number


class Made:
    def __init__(self, context: FactoryContext, bootstrap: dict[str, Any] | None = None, **fields: Any) -> None:
        self.runtime = RuntimeReader()
        self.table = LimitTable.create(1)
        message = ParseDict({"overload_manager": bootstrap or {}}, Bootstrap())
        self.context = replace(context, runtime=self.runtime, bootstrap=message, random=Draws(1 << 31))
        self.config = ListenerConfig.compile(listener_proto(**fields), self.context)
        self.limits = ConnectionLimits(self.config.limits, self.config.stats, self.context, self.table)

    def set_runtime(self, **values: int) -> None:
        names = {"own": OWN_KEY, "everything": GLOBAL_KEY}
        self.runtime.snapshot = Snapshot({names[key]: make_entry(value) for key, value in values.items()})

    def accept(self) -> int:
        shed = self.limits.refresh() and self.limits.sheds()
        reason = self.limits.counts.acquire(shed)
        if reason:
            self.limits.refuse(reason, os.open("/dev/null", os.O_RDONLY))
        return reason


@pytest.fixture
def limited(context: FactoryContext) -> Iterator[Made]:
    yield Made(context)


def test_no_limits(limited: Made) -> None:
    assert [limited.accept() for _ in range(3)] == [0, 0, 0]
    assert (limited.limits.counts.own_most, limited.limits.counts.all_most) == (UNLIMITED, UNLIMITED)


def test_the_limit_of_the_listener_changes_live(limited: Made) -> None:
    limited.accept()
    limited.set_runtime(own=1)
    assert limited.accept() == OVER_OWN
    limited.set_runtime(own=2)
    assert limited.accept() == 0
    assert limited.accept() == OVER_OWN
    limited.set_runtime()
    assert limited.accept() == 0
    assert limited.config.stats.get(s.CX_OVERFLOW) == 2


def test_the_limit_of_all_from_the_runtime(limited: Made) -> None:
    limited.set_runtime(everything=1)
    assert [limited.accept(), limited.accept()] == [0, OVER_ALL]
    assert limited.config.stats.get(s.GLOBAL_CX_OVERFLOW) == 1


def test_who_ignores_the_limit_of_all_is_counted(context: FactoryContext) -> None:
    made = Made(context, ignore_global_conn_limit=True)
    made.set_runtime(everything=1)
    assert [made.accept(), made.accept()] == [0, 0]
    assert made.limits.counts.all_count == 2


def test_the_resource_monitor_wins_over_the_runtime(context: FactoryContext) -> None:
    made = Made(context, {"resource_monitors": [MONITOR]})
    made.set_runtime(everything=5)
    assert [made.accept(), made.accept()] == [0, OVER_ALL]
    block = made.context.stats.block(s.PROACTIVE_RESOURCE, f"overload.{GLOBAL_DOWNSTREAM_MAX_CONNECTIONS}.")
    assert block.get(s.FAILED_UPDATES) == 1


@pytest.mark.parametrize("field", ["ignore_global_conn_limit", "bypass_overload_manager"])
def test_who_does_not_obey_the_monitor_is_not_counted(context: FactoryContext, field: str) -> None:
    made = Made(context, {"resource_monitors": [MONITOR]}, **{field: True})
    assert [made.accept(), made.accept()] == [0, 0]
    assert made.limits.counts.all_count == 0


@pytest.mark.parametrize(("state", "refused"), [(0.0, 0), (0.5, 0), (0.6, SHED), (1.0, SHED)])
def test_the_overload_action_rejects_a_share(limited: Made, state: float, refused: int) -> None:
    limited.context.overload.update({REJECT_INCOMING_CONNECTIONS: state})
    assert limited.accept() == refused
    assert limited.config.stats.get(s.CX_OVERLOAD_REJECT) == bool(refused)


def test_the_load_shed_point(context: FactoryContext) -> None:
    made = Made(context, {"loadshed_points": [{"name": TCP_LISTENER_ACCEPT}]})
    made.context.overload.update({TCP_LISTENER_ACCEPT: 0.6})
    assert made.accept() == SHED
    block = made.context.stats.block(s.LOAD_SHED_POINT, f"overload.{TCP_LISTENER_ACCEPT}.")
    assert block.get(s.SHED_LOAD_COUNT) == 1


def test_who_bypasses_the_overload_manager(context: FactoryContext) -> None:
    made = Made(context, {"loadshed_points": [{"name": TCP_LISTENER_ACCEPT}]}, bypass_overload_manager=True)
    made.context.overload.update({TCP_LISTENER_ACCEPT: 1.0, REJECT_INCOMING_CONNECTIONS: 1.0})
    assert made.accept() == 0


def test_an_empty_limit_is_warned_of(context: FactoryContext, caplog: pytest.LogCaptureFixture) -> None:
    runtime = RuntimeReader()
    runtime.snapshot = Snapshot({OWN_KEY: make_entry("")})
    with caplog.at_level("WARNING"):
        ListenerConfig.compile(listener_proto(), replace(context, role="main", runtime=runtime))
    assert caplog.messages == [
        f"Listener connection limit runtime key {OWN_KEY} is empty. There are currently no limitations on the number "
        "of accepted connections for listener l."
    ]
