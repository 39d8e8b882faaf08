"""A service of grpcio in this process, clients for it, and what they told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import grpc_service_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf import json_format

from proxeny import extensions
from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.randomness import RandomGenerator
from proxeny.network.factory_context import FactoryContext
from proxeny.rpc.client_manager import GrpcClientManager
from proxeny.rpc.google_client import GOOGLE_GRPC
from proxeny.stats.store import MainStore
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import CLUSTER


class EchoService(grpc.GenericRpcHandler):
    """``/echo/*``: sends back what comes; a message that begins with "fail" ends the stream with an error."""

    def __init__(self) -> None:
        self.metadata: list[tuple[str, Any]] = []

    def service(self, details: Any) -> Any:
        self.metadata = [(key, value) for key, value in details.invocation_metadata]
        return grpc.stream_stream_rpc_method_handler(self._echo)

    def _echo(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for message in messages:
            if message.startswith(b"fail"):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
            if message.startswith(b"big"):
                yield bytes(int(message[3:]) << 20)
            yield message


class Recorder:
    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    def on_message(self, data: bytes) -> None:
        self.events.put_nowait(data)

    def on_close(self, status: int, message: str) -> None:
        self.events.put_nowait((status, message))

    def on_success(self, data: bytes) -> None:
        self.events.put_nowait(("success", data))

    def on_failure(self, status: int, message: str) -> None:
        self.events.put_nowait(("failure", status, message))

    async def next(self) -> Any:
        return await asyncio.wait_for(self.events.get(), 20)


class World:
    """``kind``: of the clients that ``client`` makes; ``call`` runs a coroutine in main's loop."""

    def __init__(self, kind: str) -> None:
        extensions.install()
        self.kind = kind
        self.service = EchoService()
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((self.service,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.loop = Dispatcher(name="test")
        asyncio.set_event_loop(self.loop)
        self.store = MainStore()
        self.context = FactoryContext(role="main", stats=self.store, dispatcher=self.loop, random=RandomGenerator())
        self.clusters = MainClusterManager(self.context)
        self.clusters.health.on_change = self.clusters.own.update_health
        self.manager = GrpcClientManager(self.context)
        self.stats = self.store.block(GOOGLE_GRPC, "grpc.test.")
        self.clusters.initialize(lambda: None)
        self.add_cluster("echo", self.port)

    def add_cluster(self, name: str, *ports: int, **fields: Any) -> None:
        self.clusters.add_or_update(self.cluster_message(name, *ports, **fields))

    def cluster_message(self, name: str, *ports: int, **fields: Any) -> Any:
        hosts = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in ports
        ]
        cluster = {
            "name": name,
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            },
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
            **fields,
        }
        return json_format.ParseDict(cluster, cluster_pb2.Cluster())

    def config(self, **fields: Any) -> Any:
        """A service: the fields are those of its kind."""
        service = grpc_service_pb2.GrpcService()
        if self.kind == "google":
            fields = {"target_uri": f"127.0.0.1:{self.port}", "stat_prefix": "test", **fields}
            json_format.ParseDict(fields, service.google_grpc)
        else:
            json_format.ParseDict({"cluster_name": "echo", **fields}, service.envoy_grpc)
        return service

    def unreachable(self) -> Any:
        if self.kind == "google":
            return self.config(target_uri="127.0.0.1:1")
        self.add_cluster("nobody", 1)
        return self.config(cluster_name="nobody")

    def stat(self, name: str) -> int:
        return self.stats.get(GOOGLE_GRPC.slot(name))

    def cluster_stat(self, name: str, cluster: str = "echo") -> int:
        return self.store.block(CLUSTER, f"cluster.{cluster}.").get(CLUSTER.slot(name))

    def call(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    async def until(self, condition: Any) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)

    def close(self) -> None:
        self.manager.close()
        self.clusters.close()
        self.call(asyncio.sleep(0))
        self.server.stop(None).wait()
        self.loop.close()
        asyncio.set_event_loop(None)


@pytest.fixture
def make_world() -> Iterator[Any]:
    made: list[World] = []

    def make(kind: str) -> World:
        made.append(World(kind))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder
