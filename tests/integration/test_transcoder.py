"""JSON through the transcoder to a real gRPC server over HTTP/2, of all four kinds of calls."""

import base64
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2
from tests.transcoding_protos import descriptor_set, new

from proxeny.testing import RunningProxy

TYPE = "type.googleapis.com"
TRANSCODER = f"{TYPE}/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"
CONFIG = f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPE}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: envoy.filters.http.grpc_json_transcoder
            typed_config: {{"@type": {TRANSCODER}, proto_descriptor_bin: {base64.b64encode(descriptor_set()).decode()}, services: [lib.Library], convert_grpc_status: true}}
          - name: envoy.filters.http.router
            typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: library}}}}]}}]
  clusters:
  - name: library
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {TYPE}/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment: {{cluster_name: library, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: PORT}}}}}}}}]}}]}}
"""  # noqa: E501


def _get_shelf(request: Any, context: grpc.ServicerContext) -> Any:
    if request.id == 404:
        context.abort(grpc.StatusCode.NOT_FOUND, "no shelf ü")
    if request.id == 9:
        detail = any_pb2.Any()
        detail.Pack(new("lib.Shelf", id=9))
        status = status_pb2.Status(code=9, message="closed", details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "closed")
    return new("lib.Shelf", id=request.id, theme=request.shelf.theme or "poems")


def _watch(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    for number in range(request.page_size):
        yield new("lib.Shelf", id=number)


def _upload(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    return new("lib.Shelf", tags=[str(request.id) for request in requests])


def _chat(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    for shelf in requests:
        yield new("lib.Shelf", id=shelf.id * 2)


def _store(request: Any, context: grpc.ServicerContext) -> Any:
    return new("lib.Shelf", theme=f"{request.name} {request.file.content_type} {len(request.file.data)}")


def _load(request: Any, context: grpc.ServicerContext) -> Any:
    return new("google.api.HttpBody", content_type="text/x", data=b"\x00" * 100_000)


def _handlers() -> grpc.GenericRpcHandler:
    def read(name: str) -> Callable[[bytes], Any]:
        return lambda data: type(new(name)).FromString(data)

    def write(message: Any) -> bytes:
        return bytes(message.SerializeToString())

    shelf, request = read("lib.Shelf"), read("lib.ShelfRequest")
    name, file = read("lib.NameRequest"), read("lib.FileRequest")
    return grpc.method_handlers_generic_handler(
        "lib.Library",
        {
            "GetShelf": grpc.unary_unary_rpc_method_handler(_get_shelf, request, write),
            "Watch": grpc.unary_stream_rpc_method_handler(_watch, request, write),
            "Upload": grpc.stream_unary_rpc_method_handler(_upload, request, write),
            "Chat": grpc.stream_stream_rpc_method_handler(_chat, shelf, write),
            "Store": grpc.unary_unary_rpc_method_handler(_store, file, write),
            "Load": grpc.unary_unary_rpc_method_handler(_load, name, write),
        },
    )


@pytest.fixture
def port(proxy: Callable[..., RunningProxy]) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((_handlers(),))
    upstream = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield proxy(CONFIG.replace("PORT", str(upstream))).port("web")
    finally:
        server.stop(None).wait()


class Client:
    """Asks for JSON on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, Any]:
        self._connection.request(method, path, body, {} if body is None else {"content-type": kind})
        response = self._connection.getresponse()
        data = response.read()
        is_json = response.getheader("content-type") == "application/json"
        return response.status, json.loads(data) if is_json else data

    def close(self) -> None:
        self._connection.close()


def test_calls_of_all_kinds(port: int) -> None:
    client = Client(port)
    assert client.ask("GET", "/shelves/7?shelf.theme=a%20b") == (200, {"id": "7", "theme": "a b"})
    assert client.ask("GET", "/shelves/404") == (404, {"code": 5, "message": "no shelf ü"})
    status, body = client.ask("GET", "/shelves/9")
    assert (status, body["details"]) == (400, [{"@type": "type.googleapis.com/lib.Shelf", "id": "9"}])
    assert client.ask("DELETE", "/shelves/1")[0] == 501
    assert client.ask("GET", "/watch?page_size=3") == (200, [{}, {"id": "1"}, {"id": "2"}])
    assert client.ask("GET", "/watch") == (200, [])
    assert client.ask("POST", "/upload", b'[{"id":1},{"id":2}]') == (200, {"tags": ["1", "2"]})
    assert client.ask("POST", "/chat", b'[{"id":1},{"id":2}]') == (200, [{"id": "2"}, {"id": "4"}])
    assert client.ask("POST", "/files/a", b"\xff" * 200_000, "image/x") == (200, {"theme": "a image/x 200000"})
    assert client.ask("GET", "/files/a") == (200, b"\x00" * 100_000)
    many = json.dumps([{"id": number} for number in range(2000)]).encode()
    assert client.ask("POST", "/upload", many) == (200, {"tags": [str(number) for number in range(2000)]})
    client.close()


def _read_to(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


def test_a_chat_goes_both_ways_at_once(port: int) -> None:
    """An answer comes before the list that asks ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(b'POST /chat HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\nb\r\n[{"id":21},\r\n')
        assert _read_to(sock, b'[{"id":"42"}\r\n').startswith(b"HTTP/1.1 200 OK\r\n")
        sock.sendall(b'9\r\n{"id":1}]\r\n')
        _read_to(sock, b',{"id":"2"}\r\n')
        sock.sendall(b"0\r\n\r\n")
        _read_to(sock, b"1\r\n]\r\n0\r\n\r\n")


def test_a_request_is_explained_with_what_it_becomes(tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(CONFIG.replace("PORT", "8080").replace("port_value: 0", "port_value: 10000", 2))
    command = [str(Path(sys.executable).parent / "proxeny"), "explain", "request", "-c", str(file), "--port", "10000"]
    asked = subprocess.run(
        [*command, "--url", "http://a/shelves/7"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ":path becomes '/lib.Library/GetShelf'" in asked.stdout
    assert "forwarded to cluster 'library'" in asked.stdout
