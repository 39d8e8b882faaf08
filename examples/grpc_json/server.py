"""The greeter of ``greeter.proto`` on port 8080: ``python server.py greeter.pb`` also writes its descriptor set.

With protoc at hand the set comes from ``protoc -I. -I<googleapis> --include_imports --descriptor_set_out=greeter.pb
greeter.proto``; here the few descriptors are put together by hand, so that the example needs nothing but grpcio.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto


def file() -> descriptor_pb2.FileDescriptorProto:
    """``greeter.proto``."""
    made = descriptor_pb2.FileDescriptorProto(name="greeter.proto", package="greeter", syntax="proto3")
    made.dependency.append("google/api/annotations.proto")
    for message, fields in (
        ("HelloRequest", (("name", FIELD.TYPE_STRING), ("times", FIELD.TYPE_INT32))),
        ("HelloReply", (("text", FIELD.TYPE_STRING), ("number", FIELD.TYPE_INT64))),
    ):
        described = made.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields, 1):
            described.field.add(name=name, number=number, type=kind, label=FIELD.LABEL_OPTIONAL)
    service = made.service.add(name="Greeter")
    for method, streams, rule in (
        (
            "Hello",
            False,
            http_pb2.HttpRule(get="/hello/{name}", additional_bindings=[http_pb2.HttpRule(post="/hello", body="*")]),
        ),
        ("Count", True, http_pb2.HttpRule(get="/hello/{name}/count")),
    ):
        declared = service.method.add(
            name=method, input_type=".greeter.HelloRequest", output_type=".greeter.HelloReply", server_streaming=streams
        )
        declared.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    return made


def descriptor_set() -> bytes:
    """The file and what it imports, the imported ones first."""
    files = descriptor_pb2.FileDescriptorSet()
    for imported in (descriptor_pb2, http_pb2, annotations_pb2):
        imported.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(file())
    return files.SerializeToString()


POOL = descriptor_pool.Default()
POOL.AddSerializedFile(file().SerializeToString())
REQUEST: Any = message_factory.GetMessageClass(POOL.FindMessageTypeByName("greeter.HelloRequest"))
REPLY: Any = message_factory.GetMessageClass(POOL.FindMessageTypeByName("greeter.HelloReply"))


def hello(request: Any, context: grpc.ServicerContext) -> Any:
    """One greeting."""
    if request.name == "nobody":
        context.abort(grpc.StatusCode.NOT_FOUND, "there is nobody")
    return REPLY(text=f"Hello, {request.name}!", number=request.times)


def count(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    """As many as were asked for."""
    for number in range(1, request.times + 1):
        yield REPLY(text=f"Hello, {request.name}!", number=number)


def serve(address: str) -> tuple[grpc.Server, int]:
    """A running server and its port."""
    server = grpc.server(ThreadPoolExecutor(4))
    how = {"request_deserializer": REQUEST.FromString, "response_serializer": REPLY.SerializeToString}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "greeter.Greeter",
                {
                    "Hello": grpc.unary_unary_rpc_method_handler(hello, **how),
                    "Count": grpc.unary_stream_rpc_method_handler(count, **how),
                },
            ),
        )
    )
    port = server.add_insecure_port(address)
    server.start()
    return server, port


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(descriptor_set())
    serve("127.0.0.1:8080")[0].wait_for_termination()
