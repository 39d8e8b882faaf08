"""Scoped routes: keys out of headers, the last scope of a name or key; asked of Envoy 1.40."""

from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.scoped_routes import ScopedRouteTable, compile_fragment

BY_ELEMENT = {"name": "X-Scope", "element_separator": ";", "element": {"separator": "=", "key": "k"}}
BY_INDEX = {"name": "x-two", "element_separator": ",", "index": 1}


def scope(name: str, *keys: str, table: str = "", **more: Any) -> dict[str, Any]:
    host = {"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}
    return {
        "name": name,
        "key": {"fragments": [{"string_key": key} for key in keys]},
        "route_configuration": {"name": table or name, "virtual_hosts": [host], **more},
    }


def compile_scopes(*scopes: dict[str, Any]) -> ScopedRouteTable:
    config = {
        "name": "scopes",
        "scope_key_builder": {"fragments": [{"header_value_extractor": one} for one in (BY_ELEMENT, BY_INDEX)]},
        "scoped_route_configurations_list": {"scoped_route_configurations": list(scopes)},
    }
    message = ParseDict(config, http_connection_manager_pb2.ScopedRoutes())
    return ScopedRouteTable.compile(message, FactoryContext(role="worker", stats=None))  # type: ignore[arg-type]


def table_of(table: ScopedRouteTable, *fields: tuple[bytes, bytes]) -> str | None:
    found = table.table_of(HeaderMap(fields))
    return None if found is None else found.name


def test_keys() -> None:
    table = compile_scopes(scope("a", "one", "x"), scope("empty", "", "x"), scope("short", "one"))
    two = (b"x-two", b"q,x,y")
    assert table_of(table, (b"x-scope", b"z=1;k=one"), two) == "a"
    assert table_of(table, (b"x-scope", b"z=1; k=one"), two) is None
    assert table_of(table, (b"x-scope", b"k"), two) == "empty"
    assert table_of(table, (b"x-scope", b"k=one;k=two"), (b"x-scope", b"k=three"), two) == "a"
    assert table_of(table, (b"x-scope", b"k=one"), (b"x-two", b"q")) is None
    assert table_of(table, (b"x-scope", b"k=one"), (b"x-two", b"q, x")) is None
    assert table_of(table, two) is None


def test_the_last_scope_of_a_name_or_a_key_counts() -> None:
    table = compile_scopes(
        scope("a", "one", "x", table="first"),
        scope("a", "two", "x", table="second"),
        scope("b", "two", "x", table="third"),
    )
    two = (b"x-two", b"q,x")
    assert table_of(table, (b"x-scope", b"k=one"), two) is None
    assert table_of(table, (b"x-scope", b"k=two"), two) == "third"


def test_internal_only_headers_are_those_of_the_scope() -> None:
    table = compile_scopes(scope("a", "one", "x", internal_only_headers=["X-In"]), scope("b", "two", "x"))
    assert table.has_internal_only_headers
    fields = [(b"x-two", b"q,x")]
    assert table.internal_only_headers_of(HeaderMap([(b"x-scope", b"k=one"), *fields])) == (b"x-in",)
    assert table.internal_only_headers_of(HeaderMap([(b"x-scope", b"k=two"), *fields])) == ()
    assert table.internal_only_headers_of(HeaderMap(fields)) == ()


def test_a_long_header_costs_one_split() -> None:
    extractor = {"header_value_extractor": {"name": "x", "element_separator": ",", "index": 2}}
    builder = http_connection_manager_pb2.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder
    fragment = compile_fragment(ParseDict(extractor, builder()))
    assert fragment.of(HeaderMap([(b"x", b"," * 60_000)])) == b""


@pytest.mark.parametrize(
    ("extractor", "words"),
    [
        ({"name": "x"}, "extract_type not set"),
        ({"name": "x", "index": 1}, "Index > 0 for empty string element separator"),
    ],
)
def test_fragments_that_are_refused(extractor: dict[str, Any], words: str) -> None:
    builder = http_connection_manager_pb2.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder
    with pytest.raises(ConfigError, match=words):
        compile_fragment(ParseDict({"header_value_extractor": extractor}, builder()))


def test_scopes_that_are_refused() -> None:
    without = scope("a", "one", "x")
    del without["route_configuration"]
    with pytest.raises(ConfigError, match="You must specify a route_configuration with inline scoped routes"):
        compile_scopes(without)
    with pytest.raises(ConfigError, match="Fetching routes via RDS"):
        compile_scopes({**without, "route_configuration_name": "r"})
