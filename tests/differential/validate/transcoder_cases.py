"""The gRPC-JSON transcoder."""
# ruff: noqa: E501 - a case is a line

import base64

from google.protobuf import descriptor_pb2
from tests.differential.validate.corpus import ROUTER_FILTER, TYPE, manager
from tests.transcoding_protos import descriptor_set, library_file, message, rpc, rule

_TYPE = f"{TYPE}/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"


def _encoded(data: bytes) -> str:
    return f"proto_descriptor_bin: {base64.b64encode(data).decode()}"


LIBRARY = _encoded(descriptor_set())


def _transcoder(name: str, fields: str, stricter: str = "") -> object:
    return manager(
        f"transcoder-{name}",
        f'http_filters: [{{name: t, typed_config: {{"@type": {_TYPE}, {fields}}}}}, {ROUTER_FILTER}]',
        stricter,
    )


def _rules(name: str, *rules: dict[str, str], response: str = "Shelf") -> object:
    """A service with a method per rule."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set())
    made = files.file.add(name="rules.proto", package="rules", syntax="proto3")
    made.dependency.extend(("library.proto", "google/api/annotations.proto"))
    made.service.add(name="S", method=[
        rpc(f"M{number}", "lib.ShelfRequest", f"lib.{response}", rule(**fields)) for number, fields in enumerate(rules)
    ])  # fmt: skip
    return _transcoder(f"rule-{name}", f"{_encoded(files.SerializeToString())}, services: [rules.S]")


def _files(name: str, *files: descriptor_pb2.FileDescriptorProto, services: str = "[a.S]") -> object:
    made = descriptor_pb2.FileDescriptorSet(file=files)
    return _transcoder(f"files-{name}", f"{_encoded(made.SerializeToString())}, services: {services}")


def _file(name: str, **fields: object) -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto(
        name=name, package="a", syntax="proto3", message_type=[message("M")],
        service=[descriptor_pb2.ServiceDescriptorProto(name="S", method=[rpc("C", "a.M", "a.M")])], **fields,  # type: ignore[arg-type]
    )  # fmt: skip


CASES = [
    _transcoder("plain", f"{LIBRARY}, services: [lib.Library, old.Older]"),
    _transcoder("empty", ""),
    _transcoder("without-services", LIBRARY),
    _transcoder("without-services-or-descriptors", 'proto_descriptor_bin: ""'),
    _transcoder("services-without-descriptors", "services: [lib.Library]"),
    _transcoder("empty-descriptors", 'proto_descriptor_bin: "", services: [lib.Library]'),
    _transcoder("unknown-service", f"{LIBRARY}, services: [lib.Nobody]"),
    _transcoder("message-as-service", f"{LIBRARY}, services: [lib.Shelf]"),
    _transcoder("service-twice", f"{LIBRARY}, services: [lib.Library, lib.Library]"),
    _transcoder("no-file", "proto_descriptor: /nowhere/at.all, services: [lib.Library]"),
    _transcoder("no-file-but-off", "proto_descriptor: /nowhere/at.all"),
    _transcoder("garbage", f"{_encoded(b'garbage')}, services: [lib.Library]"),
    _transcoder("both-sources", f"{LIBRARY}, proto_descriptor: /x, services: [lib.Library]"),
    _transcoder("no-limits", f"{LIBRARY}, services: [lib.Library], max_request_body_size: 0"),
    _transcoder("no-response-limit", f"{LIBRARY}, services: [lib.Library], max_response_body_size: 0"),
    _transcoder(
        "limits", f"{LIBRARY}, services: [lib.Library], max_request_body_size: 1, max_response_body_size: 4294967295"
    ),
    _transcoder("unescape-spec", f"{LIBRARY}, services: [lib.Library], url_unescape_spec: ALL_CHARACTERS"),
    _transcoder("unknown-unescape-spec", f"{LIBRARY}, services: [lib.Library], url_unescape_spec: 7"),
    _transcoder(
        "all-options",
        f"{LIBRARY}, services: [lib.Library], auto_mapping: true, convert_grpc_status: true, match_incoming_request_route: true, ignored_query_parameters: [a, a], print_options: {{stream_newline_delimited: true, stream_sse_style_delimited: true}}",
    ),
    _transcoder("unknown-option", f"{LIBRARY}, services: [lib.Library], print_options: {{nothing: true}}"),
    _files("plain", _file("a.proto")),
    _files("twice", _file("a.proto"), _file("a.proto")),
    _files("same-names", _file("a.proto"), _file("b.proto")),
    _files("without-imports", _file("a.proto", dependency=["b.proto"])),
    _files("unordered", _file("a.proto", dependency=["b.proto"]), descriptor_pb2.FileDescriptorProto(name="b.proto")),
    _files("status-without-imports", _file("a.proto"), services="[a.S], convert_grpc_status: true, auto_mapping: true"),
    _files(
        "unknown-type",
        descriptor_pb2.FileDescriptorProto(
            name="a.proto",
            package="a",
            service=[descriptor_pb2.ServiceDescriptorProto(name="S", method=[rpc("C", "a.Nobody", "a.Nobody")])],
        ),
    ),
    _files("library-alone", library_file(), services="[lib.Library]"),
    _rules(
        "paths",
        {"get": "/"},
        {"get": "/a/*/b/**"},
        {"get": "/{id}/{page_size=*}:verb"},
        {"get": "/{shelf.theme=a/*/b/**}/c"},
    ),
    _rules("no-slash", {"get": "a"}),
    _rules("no-path", {"get": ""}),
    _rules("empty-segment", {"get": "/a//b"}),
    _rules("trailing-slash", {"get": "/a/"}),
    _rules("two-rests", {"get": "/**/**"}),
    _rules("wildcard-behind-the-rest", {"get": "/**/*"}),
    _rules("nested-variables", {"get": "/{id={page_size}}"}),
    _rules("unclosed", {"get": "/{id"}),
    _rules("no-name", {"get": "/{}"}),
    _rules("empty-name", {"get": "/{a..b}"}),
    _rules("unknown-field", {"get": "/{nobody}"}),
    _rules("half-wildcard", {"get": "/*a"}),
    _rules("wildcard-inside", {"get": "/a*b"}),
    _rules("empty-verb", {"get": "/a:"}),
    _rules("two-verbs", {"get": "/a:b:c"}),
    _rules("verb-in-the-middle", {"get": "/a:b/c"}),
    _rules("brace-inside", {"get": "/a{id}"}),
    _rules("query", {"get": "/a?b=c"}),
    _rules("unknown-body", {"post": "/a", "body": "nobody"}),
    _rules("scalar-on-the-way", {"post": "/a", "body": "id.x"}),
    _rules("body-inside", {"post": "/a", "body": "shelf.inner.inner"}),
    _rules("odd-body", {"post": "/a", "body": "..shelf.."}),
    _rules("body-of-everything", {"post": "/a", "body": "*.shelf"}),
    _rules("response-body", {"get": "/a", "response_body": "theme"}),
    _rules("response-body-unknown", {"get": "/a", "response_body": "nobody"}),
    _rules("response-body-all", {"get": "/a", "response_body": "*"}),
    _rules("response-body-http", {"get": "/a", "response_body": "file"}, response="FileRequest"),
    _rules("body-without-a-path", {"body": "*"}),
]
