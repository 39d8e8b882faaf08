"""A real gRPC server for tests of proxies: one service of all four kinds of calls, health and reflection.

Messages are plain bytes. What a call does is said in its metadata. ``do: fail`` ends it with the status that ``code``
and ``details`` (percent-encoded) tell; ``do: wait`` holds it until it is cancelled; ``do: flaky`` fails the first
``count`` calls of a ``key`` with UNAVAILABLE. A server stream has ``count`` messages of ``size`` bytes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

SERVICE = "test.Echo"
WAIT_SECONDS = 20.0
UNLIMITED = ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)
OWN_METADATA = frozenset(
    ("user-agent", "grpc-accept-encoding", "accept-encoding", "x-request-id", "x-envoy-expected-rq-timeout-ms")
)
"""What the client's library says of itself, or a proxy of the call; it differs from call to call."""


@dataclass
class Call:
    """What the server saw of one call."""

    method: str
    metadata: list[tuple[str, str | bytes]]
    has_deadline: bool
    messages: list[bytes] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def said(self, name: str, default: str = "") -> str:
        return next((str(value) for key, value in self.metadata if key == name), default)


class GrpcService:
    """Listens on 127.0.0.1, at a free port unless one is given; keeps its calls."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None, **options: Any) -> None:
        self.calls: list[Call] = []
        self._failures: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(20)
        self._server = grpc.server(self._pool, options=[*UNLIMITED, *options.items()])
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self._server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self._client_stream),
            "Bidi": grpc.stream_stream_rpc_method_handler(self._bidi),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, kinds),))
        self.health = health.HealthServicer()
        self.health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port: int = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait(WAIT_SECONDS)
        self._pool.shutdown()

    def forget(self) -> None:
        """Calls from now on are kept anew."""
        with self._changed:
            self.calls = []

    def wait_for_calls(self, count: int) -> list[Call]:
        """The calls, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= count, WAIT_SECONDS), self.calls
            return list(self.calls)

    def _begin(self, method: str, context: grpc.ServicerContext) -> Call:
        metadata = [(key, value) for key, value in context.invocation_metadata() if key not in OWN_METADATA]
        # Far away: grpcio's word for none.
        remaining = context.time_remaining()
        call = Call(method, sorted(metadata), remaining is not None and remaining < 1e6)
        context.add_callback(call.ended.set)
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        if initial := call.said("initial"):
            context.send_initial_metadata((("initial", initial), ("initial-bin", initial.encode())))
        if trailing := call.said("trailing"):
            context.set_trailing_metadata((("trailing", trailing), ("trailing-bin", b"\x00\xff")))
        return call

    def _act(self, call: Call, context: grpc.ServicerContext) -> None:
        """What the metadata asks for, before the call answers."""
        action = call.said("do")
        if action == "fail":
            code = next(code for code in grpc.StatusCode if code.value[0] == int(call.said("code")))
            context.abort(code, unquote(call.said("details")))
        elif action == "wait":
            call.ended.wait(WAIT_SECONDS)
            call.cancelled.set()
        elif action == "flaky":
            with self._changed:
                self._failures[call.said("key")] += 1
                fails = self._failures[call.said("key")] <= int(call.said("count"))
            if fails:
                context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")

    def _unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        call = self._begin("Unary", context)
        call.messages.append(request)
        self._act(call, context)
        return request

    def _server_stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        call = self._begin("ServerStream", context)
        call.messages.append(request)
        size = int(call.said("size", "1"))
        for number in range(int(call.said("count", "0"))):
            yield bytes((number & 0xFF,)) * size
        self._act(call, context)

    def _client_stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        call = self._begin("ClientStream", context)
        call.messages.extend(requests)
        self._act(call, context)
        return str(sum(map(len, call.messages))).encode()

    def _bidi(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        call = self._begin("Bidi", context)
        try:
            for request in requests:
                call.messages.append(request)
                if request == b"enough":
                    break
                yield request
        except grpc.RpcError:
            call.cancelled.set()
            raise
        self._act(call, context)


class GrpcClient:
    """Calls of the service through a proxy at ``port``."""

    def __init__(self, port: int, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> None:
        own = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
        every = [*UNLIMITED, *own, *options.items()]
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=every)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=every)
        path = f"/{SERVICE}/"
        self.unary = self.channel.unary_unary(f"{path}Unary")
        self.server_stream = self.channel.unary_stream(f"{path}ServerStream")
        self.client_stream = self.channel.stream_unary(f"{path}ClientStream")
        self.bidi = self.channel.stream_stream(f"{path}Bidi")

    def close(self) -> None:
        self.channel.close()
