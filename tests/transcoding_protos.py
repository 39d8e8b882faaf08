"""Descriptor sets for tests of the gRPC-JSON transcoder: services written down as data, no generated code.

`descriptor_set()` is what `protoc --descriptor_set_out --include_imports` would write for the library of this file.
"""

from functools import cache

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import Message

F = descriptor_pb2.FieldDescriptorProto
SCALARS = ("double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes", "uint32",
           "sfixed32", "sfixed64", "sint32", "sint64")  # fmt: skip
IMPORTS = (any_pb2, descriptor_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2,
           http_pb2, annotations_pb2, httpbody_pb2)  # fmt: skip


def field(name: str, number: int, kind: str, *, many: bool = False, oneof: int | None = None) -> F:
    """One field; `kind` is a scalar's name, or the full name of a message or (with a leading `enum `) an enum."""
    made = F(name=name, number=number, label=F.LABEL_REPEATED if many else F.LABEL_OPTIONAL)
    if kind in SCALARS:
        made.type = getattr(F, f"TYPE_{kind.upper()}")
    elif kind.startswith("enum "):
        made.type, made.type_name = F.TYPE_ENUM, f".{kind.removeprefix('enum ')}"
    else:
        made.type, made.type_name = F.TYPE_MESSAGE, f".{kind}"
    if oneof is not None:
        made.oneof_index = oneof
    return made


def message(name: str, *fields: F, oneofs: tuple[str, ...] = ()) -> descriptor_pb2.DescriptorProto:
    made = descriptor_pb2.DescriptorProto(name=name, field=fields)
    for oneof in oneofs:
        made.oneof_decl.add(name=oneof)
    return made


def map_entry(name: str, key: str, value: str) -> descriptor_pb2.DescriptorProto:
    made = message(name, field("key", 1, key), field("value", 2, value))
    made.options.map_entry = True
    return made


def rpc(
    name: str, takes: str, gives: str, rule: http_pb2.HttpRule | None = None, *, streams: str = ""
) -> descriptor_pb2.MethodDescriptorProto:
    """A method; `streams` names the sides that stream: `in`, `out`, `in out`."""
    made = descriptor_pb2.MethodDescriptorProto(
        name=name,
        input_type=f".{takes}",
        output_type=f".{gives}",
        client_streaming="in" in streams.split(),
        server_streaming="out" in streams.split(),
    )
    if rule is not None:
        made.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    return made


def rule(also: tuple[http_pb2.HttpRule, ...] = (), **fields: str) -> http_pb2.HttpRule:
    made = http_pb2.HttpRule(**fields, additional_bindings=also)  # type: ignore[arg-type]
    return made


def custom(kind: str, path: str) -> http_pb2.HttpRule:
    return http_pb2.HttpRule(custom=http_pb2.CustomHttpPattern(kind=kind, path=path))


GOOGLE = "google.protobuf"
_WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")


def _everything() -> descriptor_pb2.DescriptorProto:
    fields = [field(f"a_{kind}", number, kind) for number, kind in enumerate(SCALARS, 1)]
    fields += [field(f"many_{kind}", number, kind, many=True) for number, kind in enumerate(SCALARS, 21)]
    fields += [
        field("color", 41, "enum lib.Color"),
        field("many_color", 42, "enum lib.Color", many=True),
        field("shelf", 43, "lib.Shelf"),
        field("many_shelf", 44, "lib.Shelf", many=True),
        field("one_text", 45, "string", oneof=0),
        field("one_number", 46, "int32", oneof=0),
        field("one_shelf", 47, "lib.Shelf", oneof=0),
        field("maybe", 48, "int32", oneof=1),
        field("by_name", 51, "lib.Everything.ByNameEntry", many=True),
        field("by_number", 52, "lib.Everything.ByNumberEntry", many=True),
        field("by_flag", 53, "lib.Everything.ByFlagEntry", many=True),
        field("values", 54, "lib.Everything.ValuesEntry", many=True),
        field("any", 61, f"{GOOGLE}.Any"),
        field("many_any", 62, f"{GOOGLE}.Any", many=True),
        field("when", 63, f"{GOOGLE}.Timestamp"),
        field("lasts", 64, f"{GOOGLE}.Duration"),
        field("mask", 65, f"{GOOGLE}.FieldMask"),
        field("struct", 66, f"{GOOGLE}.Struct"),
        field("value", 67, f"{GOOGLE}.Value"),
        field("list", 68, f"{GOOGLE}.ListValue"),
        field("many_value", 69, f"{GOOGLE}.Value", many=True),
        field("nothing", 70, f"enum {GOOGLE}.NullValue"),
        field("empty", 71, f"{GOOGLE}.Empty"),
        field("many_when", 72, f"{GOOGLE}.Timestamp", many=True),
        field("many_list", 73, f"{GOOGLE}.ListValue", many=True),
        field("self", 74, "lib.Everything"),
        field("Capital", 75, "string"),
        field("lower_camelCase_9x", 76, "string"),
        F(name="renamed", number=77, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL, json_name='other "name"'),
    ]
    fields += [field(f"box_{kind.lower()}", n, f"{GOOGLE}.{kind}Value") for n, kind in enumerate(_WRAPPERS, 81)]
    fields[[made.name for made in fields].index("maybe")].proto3_optional = True
    made = message("Everything", *fields, oneofs=("one", "_maybe"))
    made.nested_type.extend([
        map_entry("ByNameEntry", "string", "lib.Shelf"),
        map_entry("ByNumberEntry", "int32", "string"),
        map_entry("ByFlagEntry", "bool", "int64"),
        map_entry("ValuesEntry", "string", f"{GOOGLE}.Value"),
    ])  # fmt: skip
    return made


def _library() -> descriptor_pb2.ServiceDescriptorProto:
    shelf, everything, http = "lib.Shelf", "lib.Everything", "google.api.HttpBody"
    return descriptor_pb2.ServiceDescriptorProto(
        name="Library",
        method=[
            rpc("GetShelf", "lib.ShelfRequest", shelf, rule(get="/shelves/{id}")),
            rpc("CreateShelf", "lib.ShelfRequest", shelf, rule(
                (rule(put="/v2/shelves/{id}", body="*"), rule(post="/deep/{shelf.theme}", body="shelf.inner")),
                post="/shelves", body="shelf")),
            rpc("DeleteShelf", "lib.ShelfRequest", f"{GOOGLE}.Empty", rule(delete="/shelves/{id}")),
            rpc("PatchShelf", "lib.ShelfRequest", shelf, rule(patch="/shelves/{shelf.id}", body="shelf")),
            rpc("Reserve", "lib.ShelfRequest", shelf, rule(post="/shelves/{id}:reserve", body="*")),
            rpc("Search", "lib.ShelfRequest", shelf, rule((custom("SEARCH", "/find"), custom("*", "/any")),
                get="/shelves:search")),
            rpc("ListBooks", "lib.NameRequest", shelf, rule(get="/{name=shelves/*}/books")),
            rpc("GetBook", "lib.NameRequest", shelf, rule(get="/{name=shelves/*/books/**}")),
            rpc("Tail", "lib.NameRequest", shelf, rule(get="/tail/{name=**}/end")),
            rpc("Literal", "lib.NameRequest", shelf, rule((rule(get="/order/*/{name}"),), get="/order/first/{name}")),
            rpc("Doubled", "lib.NameRequest", shelf, rule((rule(get="/doubled"),), get="/doubled")),
            rpc("Echo", everything, everything, rule((rule(get="/echo"),), post="/echo", body="*")),
            rpc("EchoPart", everything, everything, rule(
                (rule(post="/many", body="many_shelf"), rule(post="/text", body="a_string"),
                 rule(post="/numbers", body="many_int32"), rule(post="/map", body="by_number"),
                 rule(post="/value", body="value"), rule(post="/when", body="when")),
                post="/part", body="self")),
            rpc("Flag", "google.protobuf.BoolValue", "google.protobuf.Value", rule(post="/flag", body="*")),
            rpc("Time", "google.protobuf.Timestamp", "google.protobuf.Duration", rule(post="/time", body="*")),
            rpc("AnyValue", "google.protobuf.Value", "google.protobuf.Any", rule(post="/anything", body="*")),
            rpc("Unbound", "lib.ShelfRequest", shelf),
            rpc("Watch", "lib.ShelfRequest", shelf, rule(get="/watch"), streams="out"),
            rpc("Upload", "lib.ShelfRequest", shelf, rule(
                (rule(post="/upload/{id}", body="shelf"), rule(get="/upload")), post="/upload", body="*"),
                streams="in"),
            rpc("Chat", shelf, shelf, rule(post="/chat", body="*"), streams="in out"),
            rpc("Store", "lib.FileRequest", shelf, rule(post="/files/{name}", body="file")),
            rpc("Raw", http, http, rule((rule(get="/raw"),), post="/raw", body="*")),
            rpc("StoreAll", "lib.FileRequest", shelf, rule(put="/files/{name}", body="file"), streams="in"),
            rpc("Load", "lib.NameRequest", http, rule(get="/files/{name}")),
            rpc("LoadPart", "lib.NameRequest", "lib.FileRequest", rule(get="/parts/{name}", response_body="file")),
            rpc("LoadAll", "lib.NameRequest", http, rule(get="/all/{name}"), streams="out"),
        ],
    )  # fmt: skip


@cache
def library_file() -> descriptor_pb2.FileDescriptorProto:
    made = descriptor_pb2.FileDescriptorProto(
        name="library.proto",
        package="lib",
        syntax="proto3",
        dependency=[imported.DESCRIPTOR.name for imported in IMPORTS],
        message_type=[
            message("Shelf", field("id", 1, "int64"), field("theme", 2, "string"),
                    field("tags", 3, "string", many=True), field("inner", 4, "lib.Shelf"),
                    field("color", 5, "enum lib.Color")),
            message("ShelfRequest", field("id", 1, "int64"), field("shelf", 2, "lib.Shelf"), field("sizes", 3, "int32",
                    many=True), field("color", 4, "enum lib.Color"), field("open", 5, "bool"),
                    field("page_size", 6, "int32"), field("ratio", 7, "double"), field("half", 8, "float"),
                    field("key", 9, "bytes"), field("lasts", 10, f"{GOOGLE}.Duration"),
                    field("title", 11, f"{GOOGLE}.StringValue"), field("mask", 12, f"{GOOGLE}.FieldMask")),
            message("NameRequest", field("name", 1, "string"), field("kind", 2, "string")),
            message("FileRequest", field("name", 1, "string"), field("file", 2, "google.api.HttpBody"),
                    field("note", 3, "string")),
            _everything(),
        ],
        service=[_library()],
    )  # fmt: skip
    color = made.enum_type.add(name="Color")
    for name, number in (("COLOR_UNKNOWN", 0), ("RED", 1), ("DARK_BLUE", 2), ("MINUS", -1), ("CRIMSON", 1)):
        color.value.add(name=name, number=number)
    color.options.allow_alias = True
    return made


@cache
def older_file() -> descriptor_pb2.FileDescriptorProto:
    """The same in proto2: required and default values."""
    made = descriptor_pb2.FileDescriptorProto(
        name="older.proto",
        package="old",
        syntax="proto2",
        dependency=[annotations_pb2.DESCRIPTOR.name],
        message_type=[
            message("Item", field("id", 1, "int32"), field("text", 2, "string"), field("item", 3, "old.Item"),
                    field("numbers", 4, "int32", many=True), field("rest", 5, "old.Rest"),
                    field("items", 6, "old.Item", many=True)),
            message("Rest", field("text", 1, "string")),
        ],
        service=[
            descriptor_pb2.ServiceDescriptorProto(
                name="Older", method=[rpc("Echo", "old.Item", "old.Item", rule(post="/older", body="*"))]
            )
        ],
    )  # fmt: skip
    item = made.message_type[0]
    item.field[0].label = F.LABEL_REQUIRED
    item.field[1].default_value = "none"
    return made


@cache
def descriptor_set() -> bytes:
    """The library, the older file and all they import, in an order in which they can be built."""
    files = descriptor_pb2.FileDescriptorSet()
    for imported in IMPORTS:
        imported.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.extend((library_file(), older_file()))
    return files.SerializeToString()


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        pool.Add(file)
    return pool


def new(name: str, /, **fields: object) -> Message:
    """A message of the library by its full name."""
    made: Message = message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))(**fields)
    return made


def frame(message: bytes | Message, flags: int = 0) -> bytes:
    """A gRPC message with its prefix."""
    data = message if isinstance(message, bytes) else message.SerializeToString(deterministic=True)
    return bytes((flags,)) + len(data).to_bytes(4, "big") + data
