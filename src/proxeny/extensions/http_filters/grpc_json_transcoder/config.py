"""The filter's configuration, compiled: descriptor sets to types, ``google.api.http`` rules to a tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from google.api import annotations_pb2, http_pb2
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from proxeny.config.errors import ConfigError
from proxeny.extensions.http_filters.grpc_json_transcoder.http_body import HTTP_BODY
from proxeny.extensions.http_filters.grpc_json_transcoder.path_matcher import PathMatcher
from proxeny.extensions.http_filters.grpc_json_transcoder.response_translator import ResponseOptions
from proxeny.extensions.http_filters.grpc_json_transcoder.types import TypeRegistry
from proxeny.extensions.http_filters.grpc_json_transcoder.unescape import ALL

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

    from proxeny.extensions.http_filters.grpc_json_transcoder.path_matcher import Binding, Rule
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import FieldType, MessageType
    from proxeny.extensions.http_filters.grpc_json_transcoder.weaver import FieldPath

WORDS: Final = "transcoding_filter: "
BUILT_IN: Final = frozenset(("google/protobuf/any.proto", "google/rpc/status.proto"))
"""Files that Envoy brings along; of proto3."""
_VERBS: Final = (("get", b"GET"), ("put", b"PUT"), ("post", b"POST"), ("delete", b"DELETE"), ("patch", b"PATCH"))


class FieldPathError(Exception):
    """A field path leads nowhere."""

    def __init__(self, message: bytes) -> None:
        super().__init__(message)
        self.message = message


class Method:
    """A method of a service, and where bodies go in its messages."""

    __slots__ = ("body_path", "client_streaming", "path", "request", "request_is_http_body", "response",
                 "response_body_path", "response_is_http_body", "server_streaming")  # fmt: skip

    def __init__(self, config: TranscoderConfig, descriptor: MethodDescriptor, rule: http_pb2.HttpRule) -> None:
        self.path = f"/{descriptor.containing_service.full_name}/{descriptor.name}".encode()
        self.client_streaming: bool = descriptor.client_streaming
        self.server_streaming: bool = descriptor.server_streaming
        self.request = config.type_of(descriptor.input_type.full_name)
        self.response = config.type_of(descriptor.output_type.full_name)
        self.body_path, self.request_is_http_body = config.resolve_body(self.request, rule.body)
        self.response_body_path, self.response_is_http_body = config.resolve_body(self.response, rule.response_body)
        if self.response_body_path and not self.response_is_http_body:
            raise FieldPathError(
                b'Setting "response_body" is not supported yet for non-HttpBody fields: '
                + descriptor.full_name.encode()
            )


class TranscoderConfig:
    """A ``GrpcJsonTranscoder``, of the filter or of a route."""

    __slots__ = (
        "_captures_unknown", "_ignores_unknown", "_matcher", "_proto3_files", "any_case", "convert_status", "disabled",
        "keeps_route", "max_request_body", "max_response_body", "options", "refuse_collisions", "registry",
        "reject_unknown_method", "reject_unknown_parameters", "status_type",
    )  # fmt: skip

    registry: TypeRegistry

    def __init__(self, config: Any) -> None:
        self.disabled = not config.services
        if self.disabled:
            return
        validation = config.request_validation_options
        self.refuse_collisions: bool = validation.reject_binding_body_field_collisions
        self.reject_unknown_method: bool = validation.reject_unknown_method
        self.reject_unknown_parameters: bool = validation.reject_unknown_query_parameters
        self.any_case: bool = config.case_insensitive_enum_parsing
        self.keeps_route: bool = config.match_incoming_request_route
        self.convert_status: bool = config.convert_grpc_status
        self._ignores_unknown: bool = config.ignore_unknown_query_parameters
        self._captures_unknown: bool = config.capture_unknown_query_parameters
        self.max_request_body: int | None = _value(config, "max_request_body_size")
        self.max_response_body: int | None = _value(config, "max_response_body_size")
        self.options = ResponseOptions(config.print_options)
        self._matcher = PathMatcher(
            config.url_unescape_spec,
            config.query_param_unescape_plus,
            config.match_unregistered_custom_verb,
            frozenset(name.encode() for name in config.ignored_query_parameters),
        )
        files = _descriptor_set(config)
        pool = _build_pool(files, self.convert_status)
        self.registry = TypeRegistry(pool, BUILT_IN | {file.name for file in files.file if file.syntax == "proto3"})
        self.status_type: MessageType | None = None
        if self.convert_status:
            self.status_type = self.registry.message("google.rpc.Status")
        rules = {
            f"{file.package}.{service.name}.{method.name}".lstrip("."): method.options.Extensions[annotations_pb2.http]
            for file in files.file
            for service in file.service
            for method in service.method
            if method.options.HasExtension(annotations_pb2.http)
        }
        for name in config.services:
            self._register_service(pool, name, rules, config.auto_mapping)

    def type_of(self, name: str) -> MessageType:
        """A message type that a method names."""
        self.registry.compile_all(name)
        found = self.registry.message(name)
        assert found is not None
        return found

    def _register_service(
        self, pool: descriptor_pool.DescriptorPool, name: str, rules: dict[str, http_pb2.HttpRule], auto: bool
    ) -> None:
        try:
            service = pool.FindServiceByName(name)
        except KeyError:
            raise ConfigError(f"{WORDS}Could not find '{name}' in the proto descriptor") from None
        for descriptor in service.methods:
            rule = rules.get(descriptor.full_name)
            if rule is None:
                rule = http_pb2.HttpRule()
                if auto:
                    rule.post, rule.body = f"/{service.full_name}/{descriptor.name}", "*"
            try:
                method = Method(self, descriptor, rule)
            except FieldPathError as error:
                words = error.message.decode("utf-8", "replace")
                raise ConfigError(f"{WORDS}Cannot register '{descriptor.full_name}': {words}") from None
            if not self._register(rule, method):
                raise ConfigError(f"{WORDS}Cannot register '{descriptor.full_name}' to path matcher")

    def _register(self, rule: http_pb2.HttpRule, method: Method) -> bool:
        """The rule and its additional bindings; False when a path is malformed."""
        pattern = rule.WhichOneof("pattern")
        body = body_names(rule.body)
        if pattern == "custom":
            if not self._matcher.register(rule.custom.kind.encode(), rule.custom.path.encode(), body, method):
                return False
        elif pattern is not None:
            verb = dict(_VERBS)[pattern]
            if not self._matcher.register(verb, getattr(rule, pattern).encode(), body, method):
                return False
        return all(self._register(binding, method) for binding in rule.additional_bindings)

    def resolve_body(self, type_: MessageType, path: str) -> tuple[FieldPath, bool]:
        """The fields of a body's path, and whether an ``HttpBody`` is there; FieldPathError."""
        fields = self.resolve(type_, body_names(path))
        return fields, (fields[-1].message_name if fields else type_.name) == HTTP_BODY

    def resolve(self, type_: MessageType, names: tuple[bytes, ...]) -> FieldPath:
        """The fields that the names lead over; FieldPathError."""
        fields: list[FieldType] = []
        last = len(names) - 1
        for position, name in enumerate(names):
            field = type_.find(name) or (type_.find(ALL(name)) if name.find(b"%") >= 0 else None)
            if field is None:
                raise FieldPathError(
                    b'Could not find field "' + name + b'" in the type "' + type_.name.encode() + b'".'
                )
            fields.append(field)
            if position < last:
                inner = self.registry.message(field.message_name) if field.message_name else None
                if inner is None:
                    raise FieldPathError(
                        b'Encountered a non-leaf field "' + field.name
                        + b'" that is not a message while parsing a field path'
                    )  # fmt: skip
                type_ = inner
        return tuple(fields)

    def lookup(self, http_method: bytes, path: bytes, query: bytes) -> tuple[Rule, list[Binding]] | None:
        """The rule for a request and what its URL binds."""
        return self._matcher.lookup(http_method, path, query)

    def resolve_bindings(
        self, method: Method, bindings: list[Binding], unknown: dict[bytes, list[bytes]]
    ) -> list[tuple[FieldPath, bytes]]:
        """Which fields are bound; what is inside an ``HttpBody`` is left to the body. FieldPathError."""
        resolved: list[tuple[FieldPath, bytes]] = []
        within = len(method.body_path)
        for names, value in bindings:
            try:
                fields = self.resolve(method.request, names)
            except FieldPathError:
                if self._captures_unknown:
                    unknown.setdefault(b".".join(names), []).append(value)
                elif not self._ignores_unknown:
                    raise
                continue
            if not method.request_is_http_body or fields[:within] != method.body_path:
                resolved.append((fields, value))
        return resolved


def body_names(path: str) -> tuple[bytes, ...]:
    """The fields that lead to a body; none when it is the message itself."""
    return () if path == "*" else tuple(name.encode() for name in path.split(".") if name)


def _value(config: Any, name: str) -> int | None:
    return getattr(config, name).value if config.HasField(name) else None


def _descriptor_set(config: Any) -> descriptor_pb2.FileDescriptorSet:
    source = config.WhichOneof("descriptor_set")
    if source == "proto_descriptor":
        try:
            data = Path(config.proto_descriptor).read_bytes()
        except OSError:
            raise ConfigError(f"Invalid path: {config.proto_descriptor}") from None
    else:
        data = config.proto_descriptor_bin
    files = descriptor_pb2.FileDescriptorSet()
    try:
        files.ParseFromString(data)
    except DecodeError:
        raise ConfigError(f"{WORDS}Unable to parse proto descriptor") from None
    return files


def _build_pool(files: descriptor_pb2.FileDescriptorSet, with_status: bool) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in files.file:
            pool.Add(file)
        if with_status:
            for symbol, module in (("google.protobuf.Any", any_pb2), ("google.rpc.Status", status_pb2)):
                if not _knows(pool, symbol):
                    pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    except (TypeError, ValueError):
        raise ConfigError(f"{WORDS}Unable to build proto descriptor pool") from None
    return pool


def _knows(pool: descriptor_pool.DescriptorPool, symbol: str) -> bool:
    try:
        pool.FindMessageTypeByName(symbol)
    except KeyError:
        return False
    return True
