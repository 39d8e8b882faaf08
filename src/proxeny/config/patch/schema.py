"""The EnvoyFilter resource as messages (Istio: ``networking/v1alpha3/envoy_filter.proto``), so that the configuration
loader's own builder reads it: its scalar rules, its names of fields, its words for what is unknown.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

PACKAGE: Final = "istio.networking.v1alpha3"


class ApplyTo(IntEnum):
    """The kind of object that a patch is for."""

    INVALID = 0
    LISTENER = 1
    FILTER_CHAIN = 2
    NETWORK_FILTER = 3
    HTTP_FILTER = 4
    ROUTE_CONFIGURATION = 5
    VIRTUAL_HOST = 6
    HTTP_ROUTE = 7
    CLUSTER = 8
    EXTENSION_CONFIG = 9
    BOOTSTRAP = 10
    LISTENER_FILTER = 11


class Operation(IntEnum):
    """What a patch does with what it matches."""

    INVALID = 0
    MERGE = 1
    ADD = 2
    REMOVE = 3
    INSERT_BEFORE = 4
    INSERT_AFTER = 5
    INSERT_FIRST = 6
    REPLACE = 7
    MERGE_AND_REPLACE_LIST = 8


class Context(IntEnum):
    """Whose traffic an object is for."""

    ANY = 0
    SIDECAR_INBOUND = 1
    SIDECAR_OUTBOUND = 2
    GATEWAY = 3
    WAYPOINT = 4


class FilterClass(IntEnum):
    """Where a control plane with filters of its own would put an added one."""

    UNSPECIFIED = 0
    AUTHN = 1
    AUTHZ = 2
    STATS = 3


class RouteAction(IntEnum):
    """What a route does."""

    ANY = 0
    ROUTE = 1
    REDIRECT = 2
    DIRECT_RESPONSE = 3


_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {"string": _Field.TYPE_STRING, "uint32": _Field.TYPE_UINT32, "int32": _Field.TYPE_INT32}
_ENUMS: Final = {kind.__name__: kind for kind in (ApplyTo, Operation, Context, FilterClass, RouteAction)}
_STRUCT: Final = "google.protobuf.Struct"

# Message -> fields by name. A type in brackets is repeated, "map" is a map of strings.
_MESSAGES: Final[dict[str, dict[str, str]]] = {
    "EnvoyFilter": {
        "workload_selector": "WorkloadSelector",
        "config_patches": "[ConfigPatch]",
        "priority": "int32",
        "target_refs": "[TargetRef]",
    },
    "WorkloadSelector": {"labels": "map"},
    "TargetRef": {"group": "string", "kind": "string", "name": "string", "namespace": "string"},
    "ConfigPatch": {"apply_to": "ApplyTo", "match": "ObjectMatch", "patch": "Patch"},
    "Patch": {"operation": "Operation", "value": _STRUCT, "filter_class": "FilterClass"},
    "ObjectMatch": {
        "context": "Context",
        "proxy": "ProxyMatch",
        "listener": "ListenerMatch",
        "route_configuration": "RouteConfigurationMatch",
        "cluster": "ClusterMatch",
        "waypoint": _STRUCT,
    },
    "ProxyMatch": {"proxy_version": "string", "metadata": "map"},
    "ListenerMatch": {
        "port_number": "uint32",
        "port_name": "string",
        "filter_chain": "FilterChainMatch",
        "listener_filter": "string",
        "name": "string",
    },
    "FilterChainMatch": {
        "name": "string",
        "sni": "string",
        "transport_protocol": "string",
        "application_protocols": "string",
        "filter": "FilterMatch",
        "destination_port": "uint32",
        "transport_socket": "string",
    },
    "FilterMatch": {"name": "string", "sub_filter": "SubFilterMatch"},
    "SubFilterMatch": {"name": "string"},
    "RouteConfigurationMatch": {
        "port_number": "uint32",
        "port_name": "string",
        "gateway": "string",
        "vhost": "VirtualHostMatch",
        "name": "string",
    },
    "VirtualHostMatch": {"name": "string", "domain_name": "string", "route": "RouteMatch"},
    "RouteMatch": {"name": "string", "action": "RouteAction"},
    "ClusterMatch": {"port_number": "uint32", "service": "string", "subset": "string", "name": "string"},
}


def _scope(enum: str) -> str:
    return f"{enum}Scope"


def _add_field(message: Any, name: str, kind: str) -> None:
    field = message.field.add(name=name, number=len(message.field) + 1, label=_Field.LABEL_OPTIONAL)
    if kind == "map" or kind.startswith("["):
        field.label = _Field.LABEL_REPEATED
        kind = kind.strip("[]")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    elif kind in _ENUMS:
        field.type, field.type_name = _Field.TYPE_ENUM, f".{PACKAGE}.{_scope(kind)}.{kind}"
    elif kind == "map":
        entry = name.capitalize() + "Entry"
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry}"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, "key", "string")
        _add_field(nested, "value", "string")
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{kind}" if "." in kind else f".{PACKAGE}.{kind}"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="proxeny/config/patch/envoy_filter.proto", package=PACKAGE)
    file.syntax = "proto3"
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    for name, values in _ENUMS.items():
        # The values of an enum are names of the scope around it, and some occur twice: each has a scope of its own.
        enum = file.message_type.add(name=_scope(name)).enum_type.add(name=name)
        for value in values:
            enum.value.add(name=value.name, number=value.value)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, kind in fields.items():
            _add_field(message, field, kind)
    return file


def _message() -> Any:
    pool = descriptor_pool.DescriptorPool()  # of our own: Istio's modules may be installed too
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    file: Any = pool.AddSerializedFile(_file().SerializeToString())
    return message_factory.GetMessageClass(file.message_types_by_name["EnvoyFilter"])


EnvoyFilter: Final[Any] = _message()
