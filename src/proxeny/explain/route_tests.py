"""Route tests in the format of Envoy's ``router_check_tool``, YAML or JSON.

The message (``envoy.RouterCheckToolSchema.Validation``) is none of the API's: it is read here field by field, under
protobuf's rules for JSON (both spellings of a name, wrappers as their value, unknown fields refused).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict

from proxeny.config.builder import Builder
from proxeny.config.errors import ConfigError
from proxeny.config.sources import load_json
from proxeny.config.validate import inspect
from proxeny.config.yaml_loader import Tree, load_yaml

MOST_UINT64: Final = (1 << 64) - 1
LEAST_METHOD: Final = 3
"""Bytes; ``ValidationInput.method``."""

Pairs = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class RouteTestInput:
    """``ValidationInput``."""

    authority: str
    path: str
    method: str
    random_value: int = 0
    ssl: bool = False
    internal: bool = False
    runtime: str = ""
    request_headers: Pairs = ()
    response_headers: Pairs = ()
    dynamic_metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RouteTestAssert:
    """``ValidationAssert``; None: not asked."""

    cluster_name: str | None = None
    virtual_cluster_name: str | None = None
    virtual_host_name: str | None = None
    host_rewrite: str | None = None
    path_rewrite: str | None = None
    path_redirect: str | None = None
    code_redirect: int | None = None
    request_header_fields: Pairs = ()
    response_header_fields: Pairs = ()
    request_header_matches: tuple[Any, ...] = ()
    response_header_matches: tuple[Any, ...] = ()


@dataclass(slots=True)
class RouteTest:
    """``ValidationItem``."""

    name: str
    input: RouteTestInput
    validate: RouteTestAssert


@dataclass(slots=True)
class RouteTests:
    """A file of tests; ``runtime``: values that hold for all of them."""

    tests: list[RouteTest]
    runtime: dict[str, Any] = field(default_factory=dict)


def read_route_tests(path: str) -> RouteTests:
    """Raises ConfigError, with the file and the place in it."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Invalid path: {path} ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ConfigError("the file is not valid UTF-8", file=path) from None
    tree = load_yaml(text, path) if path.lower().endswith((".yaml", ".yml")) else load_json(text, path)
    try:
        return _file(tree)
    except ConfigError as error:
        raise error.at(file=path) from None


def _file(tree: Tree) -> RouteTests:
    values = _fields(tree, {"tests": _list, "runtime": _mapping}, "Validation")
    tests = values.get("tests") or []
    if not tests:
        raise ConfigError("Validation.Tests: value must contain at least 1 item(s)")
    found = []
    for position, item in enumerate(tests):
        try:
            found.append(_test(item))
        except ConfigError as error:
            raise error.at(f"tests[{position}]") from None
    return RouteTests(found, values.get("runtime") or {})


def _test(tree: Tree) -> RouteTest:
    values = _fields(tree, {"test_name": _string, "input": _mapping, "validate": _mapping}, "ValidationItem")
    if not values.get("test_name"):
        raise ConfigError("ValidationItem.TestName: value length must be at least 1 bytes")
    for name in ("input", "validate"):
        if values.get(name) is None:
            raise ConfigError(f"ValidationItem.{name.capitalize()}: value is required")
    return RouteTest(values["test_name"], _input(values["input"]), _assert(values["validate"]))


def _input(tree: Tree) -> RouteTestInput:
    values = _fields(tree, _INPUT, "ValidationInput")
    for name, least in (("authority", 1), ("path", 1), ("method", LEAST_METHOD)):
        if len(values.get(name, "").encode()) < least:
            raise ConfigError(f"ValidationInput.{name.capitalize()}: value length must be at least {least} bytes")
    values["request_headers"] = values.pop("additional_request_headers", ())
    values["response_headers"] = values.pop("additional_response_headers", ())
    return RouteTestInput(**values)


def _assert(tree: Tree) -> RouteTestAssert:
    return RouteTestAssert(**_fields(tree, _ASSERT, "ValidationAssert"))


def _fields(tree: Tree, known: Mapping[str, Callable[[Tree], Any]], message: str) -> dict[str, Any]:
    """The fields of a message; null means not set."""
    if not isinstance(tree, dict):
        raise ConfigError(f"{message}: not a mapping")
    names = {_camel(name): name for name in known} | {name: name for name in known}
    values: dict[str, Any] = {}
    for written, value in tree.items():
        name = names.get(written)
        if name is None:
            raise ConfigError(f"no such field: '{written}' in {message}")
        if name in values:
            raise ConfigError(f"{message}: the field {name} is there twice")
        if value is None:
            continue
        try:
            values[name] = known[name](value)
        except ConfigError as error:
            raise error.at(name) from None
    return values


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join([part.capitalize() for part in others])


# Kinds of fields.


def _list(value: Tree) -> list[Tree]:
    if not isinstance(value, list):
        raise ConfigError("expected a list")
    return value


def _mapping(value: Tree) -> dict[str, Tree]:
    if not isinstance(value, dict):
        raise ConfigError("expected a mapping")
    return value


def _string(value: Tree) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"expected a string, not {value!r}")
    return value


def _boolean(value: Tree) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    raise ConfigError(f"expected a boolean, not {value!r}")


def _number(value: Tree) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_UINT64:
        raise ConfigError(f"expected an unsigned number, not {value!r}")
    return value


def _wrapped(kind: Callable[[Tree], Any]) -> Callable[[Tree], Any]:
    """A wrapper: its value, or a mapping with it."""

    def read(value: Tree) -> Any:
        if isinstance(value, dict):
            return _fields(value, {"value": kind}, "wrapper").get("value", kind("" if kind is _string else 0))
        return kind(value)

    return read


def _pairs(value: Tree) -> Pairs:
    found = []
    for item in _list(value):
        header = _built(base_pb2.HeaderValue(), item)
        found.append((header.key.lower().encode("latin-1", "replace"), header.value.encode() or header.raw_value))
    return tuple(found)


def _matchers(value: Tree) -> tuple[Any, ...]:
    found = []
    for item in _list(value):
        matcher = _built(route_components_pb2.HeaderMatcher(), item)
        inspect(matcher)
        found.append(matcher)
    return tuple(found)


def _built(message: Any, tree: Tree) -> Any:
    Builder().build(message, _mapping(tree))
    return message


def _metadata(value: Tree) -> dict[str, Any]:
    """``dynamic_metadata``: the values by namespace; a namespace once set is only changed where that is allowed."""
    known: dict[str, Callable[[Tree], Any]] = {
        "metadata_namespace": _string,
        "value": _mapping,
        "typed_value": _mapping,
        "allow_overwrite": _boolean,
    }
    found: dict[str, Any] = {}
    for item in _list(value):
        values = _fields(item, known, "Metadata")
        namespace = values.get("metadata_namespace", "")
        if not namespace:
            raise ConfigError("Metadata.MetadataNamespace: value length must be at least 1 characters")
        if "typed_value" in values:
            raise ConfigError("typed_value is not supported: routes match plain metadata only")
        struct = _built(struct_pb2.Struct(), values.get("value", {}))
        given = MessageToDict(struct)
        if namespace not in found:
            found[namespace] = given
        elif values.get("allow_overwrite"):
            found[namespace] = {**found[namespace], **given}
    return found


_INPUT: Final[dict[str, Callable[[Tree], Any]]] = {
    "authority": _string,
    "path": _string,
    "method": _string,
    "random_value": _number,
    "ssl": _boolean,
    "internal": _boolean,
    "runtime": _string,
    "additional_request_headers": _pairs,
    "additional_response_headers": _pairs,
    "dynamic_metadata": _metadata,
}
_ASSERT: Final[dict[str, Callable[[Tree], Any]]] = {
    "cluster_name": _wrapped(_string),
    "virtual_cluster_name": _wrapped(_string),
    "virtual_host_name": _wrapped(_string),
    "host_rewrite": _wrapped(_string),
    "path_rewrite": _wrapped(_string),
    "path_redirect": _wrapped(_string),
    "code_redirect": _wrapped(_number),
    "request_header_fields": _pairs,
    "response_header_fields": _pairs,
    "request_header_matches": _matchers,
    "response_header_matches": _matchers,
}
