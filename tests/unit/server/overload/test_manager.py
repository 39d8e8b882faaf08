"""The overload manager: pressure to states to whoever listens, its stats, and Envoy's words for what cannot be."""

from pathlib import Path
from typing import Any

import pytest
from envoy.config.overload.v3.overload_pb2 import OverloadManager as Message
from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2  # noqa: F401
from envoy.extensions.resource_monitors.injected_resource.v3 import injected_resource_pb2  # noqa: F401
from google.protobuf.json_format import ParseDict

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.listener.stats import LOAD_SHED_POINT, SHED_SCALE_PERCENT
from proxeny.network.overload_state import (
    GLOBAL_DOWNSTREAM_MAX_CONNECTIONS,
    REJECT_INCOMING_CONNECTIONS,
    SHRINK_HEAP,
    STOP_ACCEPTING_CONNECTIONS,
    TCP_LISTENER_ACCEPT,
)
from proxeny.server.overload.manager import OverloadManager
from proxeny.server.server_stats import (
    ACTION_ACTIVE,
    ACTION_SCALE_PERCENT,
    OVERLOAD_ACTION,
    OVERLOAD_RESOURCE,
    RESOURCE_FAILED_UPDATES,
    RESOURCE_PRESSURE,
)
from proxeny.stats.store import MainStore

INJECTED = "envoy.resource_monitors.injected_resource"
TYPES = "type.googleapis.com/envoy.extensions.resource_monitors"
ON = {"name": INJECTED, "threshold": {"value": 0.5}}
SCALED = {"name": INJECTED, "scaled": {"scaling_threshold": 0.5, "saturation_threshold": 0.9}}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    extensions.install()


class Made:
    def __init__(self, folder: Path, **fields: Any) -> None:
        self.file = folder / "pressure"
        monitor = {
            "name": INJECTED,
            "typed_config": {
                "@type": f"{TYPES}.injected_resource.v3.InjectedResourceConfig",
                "filename": str(self.file),
            },
        }
        self.store = MainStore()
        message = ParseDict({"resource_monitors": [monitor]} | fields, Message())
        self.manager = OverloadManager(message, self.store, lambda: 0)
        self.heard: list[dict[str, float]] = []
        self.manager.on_change = self.heard.append

    def press(self, text: str) -> None:
        self.file.write_text(text)
        self.manager.refresh()

    def action(self, name: str) -> tuple[int, int]:
        block = self.store.block(OVERLOAD_ACTION, f"overload.{name}.")
        return block.get(ACTION_ACTIVE), block.get(ACTION_SCALE_PERCENT)


def test_a_threshold(tmp_path: Path) -> None:
    made = Made(tmp_path, actions=[{"name": STOP_ACCEPTING_CONNECTIONS, "triggers": [ON]}])
    made.press("0.4")
    assert made.heard == []
    made.press("0.5")
    assert made.heard == [{STOP_ACCEPTING_CONNECTIONS: 1.0}]
    assert made.action(STOP_ACCEPTING_CONNECTIONS) == (1, 100)
    made.press("0.6")
    assert len(made.heard) == 1
    made.press("0.49")
    assert made.heard[-1] == {} == made.manager.states()
    assert made.action(STOP_ACCEPTING_CONNECTIONS) == (0, 0)


@pytest.mark.parametrize(
    ("pressure", "state", "shown"),
    [("0.5", 0.0, (0, 0)), ("0.7", 0.5, (0, 50)), ("0.9", 1.0, (1, 100)), ("1", 1.0, (1, 100))],
)
def test_a_scaled_trigger(tmp_path: Path, pressure: str, state: float, shown: tuple[int, int]) -> None:
    made = Made(tmp_path, actions=[{"name": REJECT_INCOMING_CONNECTIONS, "triggers": [SCALED]}])
    made.press(pressure)
    assert made.manager.states().get(REJECT_INCOMING_CONNECTIONS, 0.0) == pytest.approx(state)
    assert made.action(REJECT_INCOMING_CONNECTIONS)[0] == shown[0]
    assert made.action(REJECT_INCOMING_CONNECTIONS)[1] in (shown[1], shown[1] - 1)


def test_a_load_shed_point(tmp_path: Path) -> None:
    made = Made(tmp_path, loadshed_points=[{"name": TCP_LISTENER_ACCEPT, "triggers": [ON]}])
    made.press("0.5")
    assert made.heard == [{TCP_LISTENER_ACCEPT: 1.0}]
    block = made.store.block(LOAD_SHED_POINT, f"overload.{TCP_LISTENER_ACCEPT}.")
    assert block.get(SHED_SCALE_PERCENT) == 100


def test_a_failed_update_leaves_all_as_it_is(tmp_path: Path) -> None:
    made = Made(tmp_path, actions=[{"name": STOP_ACCEPTING_CONNECTIONS, "triggers": [ON]}])
    made.press("0.7")
    made.press("what")
    block = made.store.block(OVERLOAD_RESOURCE, f"overload.{INJECTED}.")
    assert (block.get(RESOURCE_PRESSURE), block.get(RESOURCE_FAILED_UPDATES)) == (70, 1)
    assert made.manager.states() == {STOP_ACCEPTING_CONNECTIONS: 1.0}


def test_it_asks_at_every_interval(tmp_path: Path) -> None:
    made = Made(tmp_path, refresh_interval="0.001s", actions=[{"name": STOP_ACCEPTING_CONNECTIONS, "triggers": [ON]}])
    made.file.write_text("1")
    dispatcher = Dispatcher()
    try:
        made.manager.start(dispatcher)
        dispatcher.run_until(lambda: bool(made.heard))
        made.manager.stop()
    finally:
        dispatcher.close()


def test_shrinking_the_heap_has_a_counter(tmp_path: Path) -> None:
    assert Made(tmp_path).manager.shrink_stats is None
    made = Made(tmp_path, actions=[{"name": SHRINK_HEAP, "triggers": [ON]}])
    assert made.manager.shrink_stats is not None
    made.press("0.5")
    assert made.action(SHRINK_HEAP) == (1, 100)


def _action(name: str, *triggers: Any, **fields: Any) -> dict[str, Any]:
    return {"actions": [{"name": name, "triggers": triggers or [ON], **fields}]}


def _monitor(name: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"resource_monitors": [{"name": name} | ({"typed_config": config} if config else {})]}


DOWNSTREAM = {
    "@type": f"{TYPES}.downstream_connections.v3.DownstreamConnectionsConfig",
    "max_active_downstream_connections": 5,
}
FILE = {"@type": f"{TYPES}.injected_resource.v3.InjectedResourceConfig", "filename": "/x"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (_monitor("x"), "Didn't find a registered implementation for 'x' with type URL: ''"),
        (_monitor("x", DOWNSTREAM), "Didn't find a registered implementation for 'x' with type URL"),
        (_monitor(GLOBAL_DOWNSTREAM_MAX_CONNECTIONS, FILE), "Didn't find a registered implementation for 'envoy.re"),
        (_action("foo"), "Unknown Overload Manager Action foo"),
        (_action("envoy.overload_actions.reduce_timeouts"), "envoy.overload_actions.reduce_timeouts is not supported"),
        (
            _action(STOP_ACCEPTING_CONNECTIONS, typed_config=FILE),
            f'Overload action "{STOP_ACCEPTING_CONNECTIONS}" has an unexpected value for the typed_config field',
        ),
        (
            _action(STOP_ACCEPTING_CONNECTIONS, {"name": "bar", "threshold": {"value": 0.5}}),
            f"Unknown trigger resource bar for overload action {STOP_ACCEPTING_CONNECTIONS}",
        ),
        (
            _action(STOP_ACCEPTING_CONNECTIONS, ON, ON),
            f"Duplicate trigger resource for overload action {STOP_ACCEPTING_CONNECTIONS}",
        ),
        (
            _action(STOP_ACCEPTING_CONNECTIONS, {"name": INJECTED, "scaled": {"scaling_threshold": 0.5}}),
            "scaling_threshold must be less than saturation_threshold",
        ),
        (
            {"actions": _action(STOP_ACCEPTING_CONNECTIONS)["actions"] * 2},
            f"Duplicate overload action {STOP_ACCEPTING_CONNECTIONS}",
        ),
        ({"loadshed_points": [{"name": "foo", "triggers": [ON]}]}, "load shed point foo is not supported"),
        (
            {"loadshed_points": [{"name": TCP_LISTENER_ACCEPT, "triggers": [{"name": "zzz", "threshold": {}}]}]},
            f"Unknown trigger resource zzz for loadshed point {TCP_LISTENER_ACCEPT}",
        ),
        (
            {"loadshed_points": [{"name": TCP_LISTENER_ACCEPT, "triggers": [ON, ON]}]},
            f"Duplicate trigger resource for LoadShedPoint {TCP_LISTENER_ACCEPT}",
        ),
        (
            {"loadshed_points": [{"name": TCP_LISTENER_ACCEPT, "triggers": [ON]}] * 2},
            f"Duplicate loadshed point {TCP_LISTENER_ACCEPT}",
        ),
    ],
)
def test_refusals(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Made(tmp_path, **fields)
    assert words in str(refused.value)
