"""The messages of the Python filter, as a .proto file would define them:

package proxeny.filters.http.python.v3;
message Python {
  string filter = 1;                          // "package.module:Class"
  google.protobuf.Struct config = 2;          // the filter's ``config``
  google.protobuf.Duration time_budget = 3;   // for one call of a hook; unset: none
  repeated string python_path = 4;            // folders to import from, before all others
}
message PythonPerRoute {
  bool disabled = 1;
  google.protobuf.Struct config = 2;          // the filter's ``request.route_config``
}
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, struct_pb2

PACKAGE: Final = "proxeny.filters.http.python.v3"

_Field = descriptor_pb2.FieldDescriptorProto


def _add_field(message: Any, name: str, kind: int, type_name: str = "", repeated: bool = False) -> None:
    field = message.field.add(name=name, number=len(message.field) + 1, type=kind)
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if type_name:
        field.type_name = type_name


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="proxeny/filters/http/python/v3/python.proto", package=PACKAGE)
    file.syntax = "proto3"
    file.dependency.extend([struct_pb2.DESCRIPTOR.name, duration_pb2.DESCRIPTOR.name])
    python = file.message_type.add(name="Python")
    _add_field(python, "filter", _Field.TYPE_STRING)
    _add_field(python, "config", _Field.TYPE_MESSAGE, ".google.protobuf.Struct")
    _add_field(python, "time_budget", _Field.TYPE_MESSAGE, ".google.protobuf.Duration")
    _add_field(python, "python_path", _Field.TYPE_STRING, repeated=True)
    per_route = file.message_type.add(name="PythonPerRoute")
    _add_field(per_route, "disabled", _Field.TYPE_BOOL)
    _add_field(per_route, "config", _Field.TYPE_MESSAGE, ".google.protobuf.Struct")
    return file


DESCRIPTOR: Final[Any] = descriptor_pool.Default().AddSerializedFile(_file().SerializeToString())
Python: Final[Any] = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["Python"])
PythonPerRoute: Final[Any] = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["PythonPerRoute"])
