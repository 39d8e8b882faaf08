"""Hosts that requests name: order, attempts, what is no name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.load_balancing_policies.override_host.v3 import override_host_pb2  # noqa: F401 - known to Any
from envoy.extensions.load_balancing_policies.random.v3 import random_pb2  # noqa: F401 - likewise
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions import install
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter_state import FilterState
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import FAILED_EDS_HEALTH, HostEntry
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

PREFIX = "type.googleapis.com/envoy.extensions.load_balancing_policies"
RANDOM = {"name": "envoy.load_balancing_policies.random", "typed_config": {"@type": f"{PREFIX}.random.v3.Random"}}
HEADER = {"header": "X-Host"}
METADATA = {"metadata": {"key": "k", "path": [{"key": "hosts"}]}}


@pytest.fixture(autouse=True)
def registered() -> None:
    install()


@pytest.fixture
def compiled(dispatcher: Dispatcher, context: FactoryContext) -> Any:
    def compile(*sources: dict[str, Any]) -> ThreadLocalCluster:
        typed = {
            "@type": f"{PREFIX}.override_host.v3.OverrideHost",
            "override_host_sources": list(sources),
            "fallback_policy": {"policies": [{"typed_extension_config": RANDOM}]},
        }
        policy = {
            "typed_extension_config": {"name": "envoy.load_balancing_policies.override_host", "typed_config": typed}
        }
        message = ParseDict({"name": "c", "load_balancing_policy": {"policies": [policy]}}, Cluster())
        cluster = ThreadLocalCluster(cluster_config.compile(message, context), dispatcher)
        cluster.update_hosts(
            [
                HostEntry("127.0.0.1", 1, stat_index=0),
                HostEntry("127.0.0.1", 2, stat_index=1),
                HostEntry("127.0.0.1", 3, stat_index=2, health_flags=FAILED_EDS_HEALTH),
                HostEntry("::1", 4, stat_index=3, priority=1),
            ]
        )
        return cluster

    return compile


class Info:
    """What the policy reads of a StreamInfo."""

    def __init__(self, metadata: dict[str, Any] | None) -> None:
        self.dynamic_metadata_map = metadata
        self.filter_state_map: FilterState | None = None

    @property
    def filter_state(self) -> FilterState:
        if self.filter_state_map is None:
            self.filter_state_map = FilterState()
        return self.filter_state_map


def asking(header: str | None = None, metadata: dict[str, Any] | None = None) -> Any:
    headers = HeaderMap(() if header is None else ((b"x-host", header.encode()),))
    return SimpleNamespace(downstream_headers=headers, request_stream_info=Info(metadata), host_selection_attempt=0)


def ports(cluster: ThreadLocalCluster, context: Any, attempts: int = 1) -> list[int]:
    return [cluster.choose_host(context).entry.port for _ in range(attempts)]  # type: ignore[union-attr]


def test_named_hosts_come_in_their_order_whatever_their_health(compiled: Any) -> None:
    cluster = compiled(HEADER)
    context = asking("127.0.0.1:3, 192.0.2.1:1 ,[::1]:4,127.0.0.1:2")
    assert ports(cluster, context, 3) == [3, 4, 2]
    assert set(ports(cluster, context, 60)) <= {1, 2, 4}


@pytest.mark.parametrize("header", [None, "", " , ,", "nonsense", "127.0.0.1", "127.0.0.1:01", "127.0.0.1:1;"])
def test_others_get_any_host(compiled: Any, header: str | None) -> None:
    cluster = compiled(HEADER)
    assert {ports(cluster, asking(header))[0] for _ in range(60)} <= {1, 2, 4}


def test_metadata(compiled: Any) -> None:
    cluster = compiled(METADATA, HEADER)
    assert ports(cluster, asking("127.0.0.1:2", {"k": {"hosts": "127.0.0.1:3"}}), 2) == [3, 2]
    assert ports(cluster, asking("127.0.0.1:2", {"k": {"hosts": ["127.0.0.1:3"]}})) == [2]


def test_where_there_is_no_request(compiled: Any) -> None:
    cluster = compiled(HEADER)
    assert cluster.choose_host(None) is not None
    assert cluster.choose_host(SimpleNamespace(request_stream_info=None)) is not None


@pytest.mark.parametrize(
    ("source", "words"),
    [({}, "Empty override source"), ({**HEADER, **METADATA}, "Only one override source must be set")],
)
def test_refused_sources(compiled: Any, source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compiled(source)
