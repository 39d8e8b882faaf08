"""A plain tree (from YAML or JSON) to real protobuf messages, planned once per message type.

A plan maps each name a field may be written under (snake_case, camelCase, json_name) to a setter that converts and
stores in one call. Leniencies are those of protobuf's C++ JSON reader in its legacy mode, through which Envoy reads:
one value where a list is expected, lists in lists (flattened), `null` for anything, `{seconds: 5}` for a duration,
`{value: 7}` for a wrapper. One field under two of its names is refused (Envoy keeps a random one).
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

from proxeny.config import field_path
from proxeny.config.errors import ConfigError, UnknownFieldError
from proxeny.config.message_types import message_class, type_name_of
from proxeny.config.scalars import UnknownEnumValueError, converter, duration, json_error, unexpected
from proxeny.config.yaml_loader import MAX_DEPTH, Tree

Fill = Callable[["Builder", Any, Tree], None]
Setter = Callable[["Builder", Any, Tree], None]

_WRAPPERS: Final = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TEXT_FORMS: Final = frozenset(("google.protobuf.Timestamp", "google.protobuf.FieldMask"))
_WELL_KNOWN: Final = (
    _WRAPPERS
    | _TEXT_FORMS
    | {f"google.protobuf.{kind}" for kind in ("Any", "Duration", "Struct", "Value", "ListValue")}
)


class Builder:
    """Fills messages from trees. `unknown` collects fields that the message lacks; None makes them errors."""

    __slots__ = ("depth", "unknown")

    def __init__(self, unknown: list[str] | None = None) -> None:
        self.unknown = unknown
        self.depth = 0

    def build(self, message: Any, tree: Tree) -> None:
        """Fill `message` from `tree`; raises ConfigError with the field path."""
        plan_of(message.DESCRIPTOR).fill(self, message, tree)

    def on_unknown(self, reason: str, type_name: str) -> None:
        """An unknown field or enum value: refused, or noted when unknown fields are allowed."""
        text = f"type {type_name} reason INVALID_ARGUMENT: {reason}"
        if self.unknown is None:
            raise UnknownFieldError(f"Protobuf message ({text}) has unknown fields")
        self.unknown.append(text)


class MessagePlan:
    """How one message type is filled: `fill` is the entry; `setters` are made at the first use."""

    __slots__ = ("_aliases", "_descriptor", "_nullable", "_setters", "fill", "name")

    def __init__(self, descriptor: Any) -> None:
        self.name: str = descriptor.full_name
        self._descriptor = descriptor
        self._setters: dict[str, Setter] = {}
        self._aliases: dict[str, str] = {}
        self._nullable: frozenset[str] = frozenset()
        self.fill: Fill = self._first_fill
        special = _FILLS.get(self.name)
        if special is not None:
            self.fill = special
        elif self.name in _WRAPPERS:
            self.fill = self._wrapper_fill()

    def _first_fill(self, builder: Builder, message: Any, tree: Tree) -> None:
        self.compile()
        self.fill = self.fill_fields
        self.fill_fields(builder, message, tree)

    def compile(self) -> None:
        """Make the setters of every field (their message types are planned when first met)."""
        if self._setters:
            return
        fields = self._descriptor.fields
        self._setters = {field.name: _setter(field) for field in fields}
        for field in fields:
            for alias in (field.camelcase_name, field.json_name):
                if alias != field.name:
                    self._aliases.setdefault(alias, field.name)
        self._nullable = frozenset(
            field.name
            for field in fields
            if not field.is_repeated
            and field.message_type is not None
            and field.message_type.full_name == "google.protobuf.Value"
        )

    def fill_fields(self, builder: Builder, message: Any, tree: Tree) -> None:
        """Fill from a mapping of field names."""
        if type(tree) is not dict:
            raise unexpected(tree, "{")
        if builder.depth > MAX_DEPTH:
            raise json_error("message is too deeply nested")
        builder.depth += 1
        setters = self._setters
        for key, value in tree.items():
            try:
                setter = setters.get(key)
                if setter is None:
                    setter = self._other_name(builder, key, tree)
                if setter is not None and (value is not None or key in self._nullable):
                    setter(builder, message, value)
            except ConfigError as error:
                error.path = field_path.join(field_path.key(key), error.path or "")
                raise
            except (ValueError, UnicodeError) as error:
                raise json_error(str(error)).at(path=field_path.key(key)) from error
        builder.depth -= 1

    def _other_name(self, builder: Builder, key: str, tree: dict[str, Tree]) -> Setter | None:
        name = self._aliases.get(key)
        if name is None:
            builder.on_unknown(f"no such field: '{key}'", self.name)
            return None
        if name in tree and tree[name] is not None:
            raise json_error(f"'{key}' has already been set as '{name}'")
        return self._setters[name]

    def _wrapper_fill(self) -> Fill:
        convert = converter(self._descriptor.fields_by_name["value"])

        def fill(builder: Builder, message: Any, tree: Tree) -> None:
            if type(tree) is dict:
                self.compile()
                self.fill_fields(builder, message, tree)
            elif tree is not None:
                message.value = convert(tree)

        return fill


_PLANS: Final[dict[str, MessagePlan]] = {}


def plan_of(descriptor: Any) -> MessagePlan:
    """The plan of a message type."""
    name = descriptor.full_name
    plan = _PLANS.get(name)
    if plan is None:
        plan = _PLANS[name] = MessagePlan(descriptor)
    return plan


def _setter(field: Any) -> Setter:
    """The setter of one field, by its shape."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_setter(field)
    if field.message_type is not None:
        setter = _repeated_message_setter(field) if field.is_repeated else _message_setter(field)
    else:
        setter = _repeated_scalar_setter(field) if field.is_repeated else _scalar_setter(field)
    oneof = field.containing_oneof
    return _oneof_setter(setter, field.name, oneof.name) if oneof is not None and len(oneof.fields) > 1 else setter


def _oneof_setter(setter: Setter, name: str, oneof: str) -> Setter:
    def set_member(builder: Builder, message: Any, value: Tree) -> None:
        if message.WhichOneof(oneof) is not None:
            raise json_error(f"'{name}' has already been set (either directly or as part of a oneof)")
        setter(builder, message, value)

    return set_member


def _scalar_setter(field: Any) -> Setter:
    name, convert, type_name = field.name, converter(field), field.containing_type.full_name

    def set_scalar(builder: Builder, message: Any, value: Tree) -> None:
        setattr(message, name, convert(value))

    def set_enum(builder: Builder, message: Any, value: Tree) -> None:
        try:
            setattr(message, name, convert(value))
        except UnknownEnumValueError as error:
            builder.on_unknown(error.message, type_name)

    def set_string(builder: Builder, message: Any, value: Tree) -> None:
        if type(value) is not str:
            raise unexpected(value, '"')
        setattr(message, name, value)

    if field.enum_type is not None:
        return set_enum
    return set_string if field.type == field.TYPE_STRING else set_scalar


def _flat(values: list[Tree]) -> list[Tree]:
    """Lists inside of a list become part of it."""
    if not any(type(value) is list for value in values):
        return values
    flat: list[Tree] = []
    for value in values:
        flat.extend(_flat(value) if type(value) is list else (value,))
    return flat


def _at_index(error: ConfigError, index: int) -> ConfigError:
    error.path = field_path.join(f"[{index}]", error.path or "")
    return error


class _IgnoredValue(Exception):
    """An unknown enum value that was noted and leaves no trace."""


def _converted(builder: Builder, convert: Callable[[Any], Any], value: Tree, type_name: str) -> Any:
    """`value` converted; an unknown enum value is an error or, where these are allowed, _IgnoredValue."""
    try:
        return convert(value)
    except UnknownEnumValueError as error:
        builder.on_unknown(error.message, type_name)
        raise _IgnoredValue from None


def _repeated_scalar_setter(field: Any) -> Setter:
    name, convert, type_name = field.name, converter(field), field.containing_type.full_name
    default = _zero(field)

    def set_scalars(builder: Builder, message: Any, value: Tree) -> None:
        append = getattr(message, name).append
        for index, item in enumerate(_flat(value) if type(value) is list else (value,)):
            try:
                append(default if item is None else _converted(builder, convert, item, type_name))
            except _IgnoredValue:
                continue
            except ConfigError as error:
                raise _at_index(error, index) from None

    return set_scalars


def _zero(field: Any) -> Any:
    """The zero of a scalar type (a null in a list or map stands for it)."""
    if field.cpp_type == field.CPPTYPE_STRING:
        return b"" if field.type == field.TYPE_BYTES else ""
    return False if field.cpp_type == field.CPPTYPE_BOOL else 0


def _message_setter(field: Any) -> Setter:
    name, child = field.name, plan_of(field.message_type)

    def set_message(builder: Builder, message: Any, value: Tree) -> None:
        target = getattr(message, name)
        target.SetInParent()  # a tree that sets nothing (`{}`, `{a: null}`) still makes the message present
        child.fill(builder, target, value)

    return set_message


def _repeated_message_setter(field: Any) -> Setter:
    name, child = field.name, plan_of(field.message_type)
    nests = child.name in ("google.protobuf.Value", "google.protobuf.ListValue")

    def set_messages(builder: Builder, message: Any, value: Tree) -> None:
        target = getattr(message, name)
        values = value if type(value) is list else (value,)
        for index, item in enumerate(values if nests or type(value) is not list else _flat(value)):
            element = target.add()
            if item is None and not nests:
                continue
            try:
                child.fill(builder, element, item)
            except ConfigError as error:
                raise _at_index(error, index) from None

    return set_messages


def _map_key(field: Any) -> Callable[[str], Any]:
    """The converter of a map's keys, which are always strings in a tree."""
    if field.type == field.TYPE_STRING:
        return str
    convert = converter(field)

    def to_bool_key(key: str) -> bool:
        if key not in ("true", "false"):
            raise json_error(f"expected bool string, got '{key}'")
        return key == "true"

    def to_number_key(key: str) -> Any:
        if not key.strip().lstrip("+-").isdecimal():
            raise json_error("non-number characters in quoted number")
        return convert(key)

    return to_bool_key if field.type == field.TYPE_BOOL else to_number_key


def _map_setter(field: Any) -> Setter:
    name = field.name
    to_key = _map_key(field.message_type.fields_by_name["key"])
    value_field = field.message_type.fields_by_name["value"]
    child = plan_of(value_field.message_type) if value_field.message_type is not None else None
    convert: Callable[[Any], Any] = converter(value_field) if child is None else lambda value: value
    default, owner = _zero(value_field), field.containing_type.full_name

    def set_entry(builder: Builder, target: Any, key: str, item: Tree) -> None:
        if child is None:
            target[to_key(key)] = default if item is None else _converted(builder, convert, item, owner)
            return
        entry = target[to_key(key)]
        if item is not None or child.name == "google.protobuf.Value":
            child.fill(builder, entry, item)

    def set_map(builder: Builder, message: Any, value: Tree) -> None:
        if type(value) is not dict:
            raise unexpected(value, "{")
        target = getattr(message, name)
        for key, item in value.items():
            try:
                set_entry(builder, target, key, item)
            except _IgnoredValue:
                continue
            except ConfigError as error:
                error.path = field_path.join(field_path.key(key), error.path or "")
                raise

    return set_map


def _fill_duration(builder: Builder, message: Any, tree: Tree) -> None:
    if type(tree) is dict:
        _fill_ordinary(builder, message, tree)
    else:
        message.seconds, message.nanos = duration(tree)


def _fill_ordinary(builder: Builder, message: Any, tree: Tree) -> None:
    plan = plan_of(message.DESCRIPTOR)
    plan.compile()
    plan.fill_fields(builder, message, tree)


def _fill_text_form(builder: Builder, message: Any, tree: Tree) -> None:
    """Timestamps and field masks: rare, so protobuf's own reader does them."""
    if type(tree) is dict:
        _fill_ordinary(builder, message, tree)
        return
    if type(tree) is not str:
        raise unexpected(tree, '"')
    try:
        message.FromJsonString(tree)
    except (ValueError, json_format.ParseError) as error:
        raise json_error(str(error)) from error


def _fill_value(builder: Builder, message: Any, tree: Tree) -> None:
    kind = type(tree)
    if kind is str:
        message.string_value = tree
    elif kind is bool:
        message.bool_value = tree
    elif kind is int or kind is float:
        message.number_value = tree
    elif tree is None:
        message.null_value = 0
    elif kind is dict:
        message.struct_value.SetInParent()
        _fill_struct(builder, message.struct_value, tree)
    else:
        message.list_value.SetInParent()
        _fill_list(builder, message.list_value, tree)


def _fill_struct(builder: Builder, message: Any, tree: Tree) -> None:
    if type(tree) is not dict:
        raise unexpected(tree, "{")
    if builder.depth > MAX_DEPTH:
        raise json_error("message is too deeply nested")
    builder.depth += 1
    fields = message.fields
    for key, value in tree.items():
        _fill_value(builder, fields[key], value)
    builder.depth -= 1


def _fill_list(builder: Builder, message: Any, tree: Tree) -> None:
    if type(tree) is dict:
        _fill_ordinary(builder, message, tree)
        return
    if type(tree) is not list:
        raise unexpected(tree, "[")
    if builder.depth > MAX_DEPTH:
        raise json_error("message is too deeply nested")
    builder.depth += 1
    for value in tree:
        _fill_value(builder, message.values.add(), value)
    builder.depth -= 1


def _fill_any(builder: Builder, message: Any, tree: Tree) -> None:
    if type(tree) is not dict:
        raise unexpected(tree, "{")
    if not tree:
        return
    type_url = tree.get("@type")
    if "@type" not in tree:
        raise json_error("in legacy mode, missing @type in Any is only allowed for an empty object")
    if type(type_url) is not str:
        raise unexpected(type_url, '"').at(path="@type")
    if type_url.find("/") < 1:
        raise json_error(f"@type must contain at least one / and a nonempty host; got: {type_url}").at(path="@type")
    try:
        inner = message_class(type_name_of(type_url))()
    except KeyError:
        raise json_error(f"invalid value in Any: could not find @type '{type_url}'").at(path="@type") from None
    _fill_any_content(builder, inner, {key: value for key, value in tree.items() if key != "@type"})
    message.type_url = type_url
    message.value = inner.SerializeToString(deterministic=True)


def _fill_any_content(builder: Builder, inner: Message, rest: dict[str, Tree]) -> None:
    """The message inside an Any; the well-known types stand under `value` there."""
    if inner.DESCRIPTOR.full_name not in _WELL_KNOWN:
        builder.build(inner, rest)
        return
    for key, value in rest.items():
        if key != "value":
            raise json_error("fields in a well-known-typed Any must be @type or value").at(path=field_path.key(key))
        try:
            builder.build(inner, value)
        except ConfigError as error:
            error.path = field_path.join("value", error.path or "")
            raise


_FILLS: Final[dict[str, Fill]] = {
    "google.protobuf.Any": _fill_any,
    "google.protobuf.Duration": _fill_duration,
    "google.protobuf.Struct": _fill_struct,
    "google.protobuf.Value": _fill_value,
    "google.protobuf.ListValue": _fill_list,
    **dict.fromkeys(_TEXT_FORMS, _fill_text_form),
}
