"""Plans that are carried out, and taken back when a part fails."""

import asyncio
import logging
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.server.reload.apply import Applier, NotApplied
from proxeny.server.reload.plan import make_plan


class Log:
    """What was done, in order; what is named in ``bad`` is refused."""

    def __init__(self, *bad: str) -> None:
        self.done: list[str] = []
        self.bad = bad

    def add(self, text: str) -> None:
        self.done.append(text)
        if text in self.bad:
            raise ConfigError("no")


class Secrets:
    def __init__(self, log: Log) -> None:
        self.log = log

    def put_static(self, secret: Any) -> None:
        self.log.add(f"put {secret.name} {secret.generic_secret.secret.inline_string}")

    def remove_static(self, kind: str, name: str) -> None:
        self.log.add(f"drop {kind} {name}")


class Runtime:
    def __init__(self, log: Log) -> None:
        self.log = log

    def replace_static_layers(self, layers: list[Any]) -> None:
        values = [int(layer.static_layer.fields["k"].number_value) for layer in layers]
        self.log.add(f"layers {values}")


class Clusters:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.warming: set[str] = set()
        self.active_callbacks: list[Any] = []

    def add_or_update(self, proto: Any, added_via_api: bool) -> bool:
        assert not added_via_api
        self.log.add(f"cluster {proto.name} {proto.connect_timeout.seconds}")
        return proto.name != "from-cds"

    def is_warming(self, name: str) -> bool:
        return name in self.warming

    def stop_warming(self, name: str) -> bool:
        if name in self.warming:
            self.log.add(f"stop {name}")
            self.warming.discard(name)
            return True
        return False

    def remove(self, name: str) -> None:
        self.log.add(f"remove cluster {name}")


class Listener:
    def __init__(self, failure: str) -> None:
        self.settled = asyncio.Event()
        self.settled.set()
        self.failure = failure


class Listeners:
    def __init__(self, log: Log, failures: dict[str, str]) -> None:
        self.log = log
        self.failures = failures
        self.found: dict[str, Listener] = {}

    def newest(self, name: str) -> Listener | None:
        return self.found.get(name)

    def add_or_update(self, proto: Any, is_static: bool) -> bool:
        assert is_static
        self.log.add(f"listener {proto.name} {proto.stat_prefix}")
        if proto.name == "from-lds":
            return False
        self.found[proto.name] = Listener(self.failures.get(f"{proto.name} {proto.stat_prefix}", ""))
        return True

    def remove(self, name: str, is_static: bool) -> None:
        assert is_static
        self.log.add(f"remove listener {name}")
        self.found.pop(name, None)


def bootstrap(clusters: dict[str, int], listeners: dict[str, tuple[int, str]], secret: str = "", layer: int = 0) -> Any:
    def at(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    secrets = [{"name": "s", "generic_secret": {"secret": {"inline_string": secret}}}] if secret else []
    return json_format.ParseDict(
        {
            "static_resources": {
                "clusters": [{"name": name, "connect_timeout": f"{value}s"} for name, value in clusters.items()],
                "listeners": [
                    {"name": name, "address": at(port), "stat_prefix": prefix}
                    for name, (port, prefix) in listeners.items()
                ],
                "secrets": secrets,
            },
            "layered_runtime": {"layers": [{"name": "base", "static_layer": {"k": layer}}]},
        },
        bootstrap_pb2.Bootstrap(),
    )


def apply(log: Log, old: Any, new: Any, failures: dict[str, str] | None = None, warming: str = "") -> str:
    """What became of it: empty, or why it was taken back."""
    clusters, listeners = Clusters(log), Listeners(log, failures or {})
    listeners.found = {one.name: Listener("") for one in old.static_resources.listeners}
    if warming:
        clusters.warming.add(warming)
    parts: Any = (Secrets(log), Runtime(log), clusters, listeners)
    applier = Applier(make_plan(old, new), *parts, patience_s=0.02)
    try:
        asyncio.run(applier.run())
    except NotApplied as error:
        return str(error)
    return ""


OLD = bootstrap({"a": 1, "b": 1}, {"x": (1, "old"), "y": (2, "old")}, "one", 1)
NEW = bootstrap({"a": 2, "c": 1}, {"x": (1, "new"), "z": (2, "new")}, "two", 2)


def test_the_order_of_a_whole_plan() -> None:
    log = Log()
    assert apply(log, OLD, NEW) == ""
    assert log.done == [
        "put s two",
        "layers [2]",
        "cluster a 2",
        "cluster c 1",
        "remove listener y",  # its address is wanted
        "listener x new",
        "listener z new",
        "remove listener y",
        "remove cluster b",
    ]


def test_a_listener_that_fails_takes_everything_back_the_newest_first() -> None:
    log = Log()
    assert apply(log, OLD, NEW, {"z new": "cannot bind"}) == "listener 'z': cannot bind"
    assert log.done[7:] == [
        "remove listener z",
        "listener x old",
        "listener y old",
        "remove cluster c",
        "cluster a 1",
        "layers [1]",
        "put s one",
    ]


def test_a_refused_step_is_not_taken_back_itself() -> None:
    log = Log("cluster a 2")
    assert apply(log, OLD, NEW) == "cluster 'a': no"
    assert log.done == ["put s two", "layers [2]", "cluster a 2", "layers [1]", "put s one"]


def test_a_cluster_that_never_becomes_ready_is_forgotten() -> None:
    log = Log()
    assert apply(log, OLD, NEW, warming="c") == "cluster 'c' did not become ready within 0.02 s"
    assert log.done[4:] == ["stop c", "cluster a 1", "layers [1]", "put s one"]


@pytest.mark.parametrize(
    ("clusters", "listeners", "reason"),
    [
        ({"from-cds": 1}, {}, "cluster 'from-cds': there is one of that name from CDS"),
        ({}, {"from-lds": (1, "")}, "listener 'from-lds': there is one of that name from LDS"),
    ],
)
def test_names_of_dynamic_resources(
    clusters: dict[str, int], listeners: dict[str, tuple[int, str]], reason: str
) -> None:
    assert apply(Log(), bootstrap({}, {}), bootstrap(clusters, listeners)).startswith(reason)


def test_secrets_that_come_and_go() -> None:
    log = Log()
    assert apply(log, bootstrap({}, {}, "one"), bootstrap({}, {})) == ""
    assert log.done == ["drop generic_secret s"]
    log = Log()
    old, new = bootstrap({}, {}), bootstrap({}, {"z": (2, "new")}, "one")
    assert apply(log, old, new, {"z new": "no"}) == "listener 'z': no"
    assert log.done[-1] == "drop generic_secret s"


def test_what_cannot_be_brought_back_is_told_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    log = Log("listener x old")
    with caplog.at_level(logging.CRITICAL):
        assert apply(log, OLD, NEW, {"z new": "cannot bind"}) == "listener 'z': cannot bind"
    assert "cannot be brought back: listener 'x': no" in caplog.text
    assert log.done[-1] == "put s one"
