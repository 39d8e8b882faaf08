"""A fake server behind the admin pages."""

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,  # noqa: F401 - ParseDict looks for the type
)
from google.protobuf.json_format import ParseDict

from proxeny.admin.context import DRAINING, LIVE, DynamicClusters, ListenerStatus, MemoryUsage, Resource
from proxeny.admin.handler import AdminHandler
from proxeny.config.errors import ConfigError
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.upstream.cluster_status import CircuitBreakerStatus, ClusterStatus, HostStatus
from proxeny.upstream.endpoints import FAILED_EDS_HEALTH, PIPE
from proxeny.xds.record import XdsRecord

LOADED = 1795424494.591
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
CONFIG = {
    "static_resources": {
        "listeners": [
            {
                "name": "l",
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "hcm",
                                "typed_config": {"@type": HCM, "stat_prefix": "h", "route_config": {"name": "r"}},
                            }
                        ]
                    }
                ],
            }
        ],
        "clusters": [{"name": "c"}, {"name": "d"}],
    }
}


class FakeAddress:
    def __init__(self, ip, port):
        self.ip, self.port = ip, port

    def as_string(self):
        return f"{self.ip}:{self.port}" if self.ip else "/tmp/sock"


class FakeRuntime:
    def __init__(self):
        self.has_admin_layer = True
        self.admin = {}

    def layer_table(self):
        return ["base", "admin"], {"a": ["1", self.admin.get("a", "")]}

    def merge_admin_values(self, values):
        if not self.has_admin_layer:
            raise ConfigError("No admin layer specified")
        self.admin.update(values)


class FakeOptions:
    concurrency = 2
    mode = "serve"
    drain_time_s = 600
    file_flush_interval_msec = 10_000
    drain_strategy = "immediate"
    local_address_ip_version = "v6"
    stats_tags = {"a": "b"}


def host(address, port, flags="healthy", **more):
    facts = {"hostname": "", "weight": 1, "region": "", "zone": "", "sub_zone": "", "canary": False, "priority": 0}
    return HostStatus(
        address, port, counters={"cx_total": 3, "rq_total": 0}, gauges={"cx_active": 1}, health_flags=flags,
        flags=FAILED_EDS_HEALTH if "eds" in flags else 0,
        **{**facts, **more},
    )  # fmt: skip


class FakeServer:
    """An AdminContext that remembers what was asked of it."""

    version = "sha/1.0/Clean/RELEASE/none"
    hot_restart_version = "disabled"

    def __init__(self):
        self.store = MainStore()
        self.stats = StatsView(self.store)
        self.runtime = FakeRuntime()
        self.options = FakeOptions()
        self.node = base_pb2.Node(id="n")
        self.message = ParseDict(CONFIG, bootstrap_pb2.Bootstrap())
        self.levels = {"admin": "info", "main": "info"}
        self.calls = []
        self.version_info = ""
        self.dynamic = []
        self.secrets = [], []
        self.contexts = []
        self.unready = []
        self.xds_record = XdsRecord()
        self.routes, self.scopes, self.extensions, self.refusals = [], [], [], {}
        self.clusters_of_cds = DynamicClusters("", [], [])
        self.now_state = LIVE
        self.refreshed = 0

    def refresh_stats(self):
        self.refreshed += 1

    def state(self):
        return self.now_state

    def uptime_s(self):
        return 7

    def uptime_all_epochs_s(self):
        return 9

    def memory(self):
        return MemoryUsage(1, 2, 3)

    def listeners(self):
        return [ListenerStatus("l", [FakeAddress("127.0.0.1", 80), FakeAddress("", 0)])]

    def clusters(self, matches=None):
        limits = CircuitBreakerStatus(1024, 1024, 1024, 3)
        hosts = [
            host("127.0.0.1", 1),
            host("::1", 1, "/failed_eds_health", hostname="x", zone="z", priority=1),
            host("/tmp/up", PIPE),
        ]
        found = [ClusterStatus("c", "alt", False, (limits, limits), hosts), ClusterStatus("d", "d", True, (), [])]
        return [cluster for cluster in found if matches is None or matches(cluster.name)]

    def endpoints(self, matches, dynamic):
        found = self.clusters(None)
        return [one for one in found if one.added_via_api is dynamic and matches(one.eds_service_name or one.name)]

    def bootstrap(self):
        return Resource(self.message, LOADED)

    def static_clusters(self):
        return [Resource(cluster, LOADED) for cluster in self.message.static_resources.clusters]

    def dynamic_clusters(self):
        return self.clusters_of_cds

    def static_listeners(self):
        return [Resource(listener, LOADED) for listener in self.message.static_resources.listeners]

    def listeners_version(self):
        return self.version_info

    def dynamic_listeners(self):
        return self.dynamic

    def dynamic_routes(self):
        return self.routes

    def scoped_routes(self):
        return self.scopes

    def extension_configs(self):
        return self.extensions

    def refused(self, type_name):
        return self.refusals.get(type_name.rpartition(".")[2], {})

    def unready_targets(self):
        return self.unready

    def static_secrets(self):
        return self.secrets[0]

    def dynamic_secrets(self):
        return self.secrets[1]

    def certificates(self):
        return self.contexts

    def log_levels(self):
        return self.levels

    def set_log_level(self, component, level):
        for name in [component] if component else list(self.levels):
            self.levels[name] = level

    def shutdown(self):
        self.calls.append("shutdown")

    def fail_health_check(self, fail):
        self.now_state = DRAINING if fail else LIVE

    def reopen_logs(self):
        self.calls.append("reopen_logs")

    def drain_listeners(self, graceful, skip_exit, inbound_only):
        self.calls.append(("drain", graceful, skip_exit, inbound_only))


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture
def get(server):
    """GET a path: (status, body as text)."""
    handler = AdminHandler(server)

    def call(path, method=b"GET", body=b""):
        response = handler.run(method, path.encode("utf-8", "surrogateescape"), body)
        body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
        return response.status, body.decode("utf-8", "surrogateescape")

    return call


@pytest.fixture
def post(get):
    """POST to a path, likewise."""
    return lambda path, body=b"": get(path, b"POST", body)
