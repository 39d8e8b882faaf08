"""The query as header_mutation reads and writes it; its levels."""

from typing import Any

import pytest
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from google.protobuf import text_format

from proxeny.config.errors import ConfigError
from proxeny.extensions.http_filters.header_mutation import FACTORY, join_query, split_query
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

ADDRESS = ip_address("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("path", "again"),
    [
        (b"/x", b"/x"),
        (b"/x?", b"/x"),
        (b"/x?b=1&a=2&b=3", b"/x?a=2&b=1&b=3"),
        (b"/x?a", b"/x?a="),
        (b"/x?&a=1&", b"/x?=&a=1"),
        (b"/x?%61=%2", b"/x?a=%2"),
    ],
)
def test_queries(path: bytes, again: bytes) -> None:
    assert join_query(path, split_query(path)) == again


class Route:
    def __init__(self, levels: list[Any]) -> None:
        self.levels = levels

    def per_filter_configs(self, name: str) -> list[Any]:
        return list(self.levels)


class Callbacks:
    def __init__(self, route: Any) -> None:
        self.route = route
        self.stream_info = StreamInfo(ConnectionInfo(ADDRESS, ADDRESS, 1), 0.0, 0)


def set_to(value: str) -> str:
    return f'request_mutations {{ append {{ header {{ key: "x" value: "{value}" }} }} }}'


def run(own: str, *levels: str, path: bytes = b"/") -> HeaderMap:
    config = text_format.Parse(own, header_mutation_pb2.HeaderMutation())
    per_route = [
        FACTORY.create_route_config(
            text_format.Parse(f"mutations {{ {text} }}", header_mutation_pb2.HeaderMutationPerRoute()), None
        )
        for text in levels
    ]
    one = FACTORY.create_filter_factory(config, "", None).create()
    one.decoder_callbacks = Callbacks(Route(per_route))  # type: ignore[assignment]
    headers = HeaderMap([(b":path", path)])
    one.decode_headers(headers, True)
    return headers


def test_the_least_specific_level_is_last() -> None:
    headers = run(f"mutations {{ {set_to('own')} }}", set_to("host"), set_to("route"))
    assert headers.get_all(b"x") == [b"own", b"route", b"host"]


def test_or_the_most_specific_one() -> None:
    own = f"mutations {{ {set_to('own')} }} most_specific_header_mutations_wins: true"
    assert run(own, set_to("host"), set_to("route")).get_all(b"x") == [b"own", b"host", b"route"]


def test_query_parameters() -> None:
    text = """mutations {
      query_parameter_mutations { append { record { key: "a" value { string_value: "%REQ(:path)%" } } } }
      query_parameter_mutations { remove: "b" } }"""
    assert run(text, path=b"/x?b=1").get(b":path") == b"/x?a=%2Fx%3Fb%3D1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("query_parameter_mutations {}", "One of 'append'/'remove' must be specified."),
        ('query_parameter_mutations { append { entry { key: "a" } } }', "No record specified for append mutation."),
        (
            'query_parameter_mutations { append { record { key: "a" value { number_value: 1 } } } }',
            "Only string value is allowed for record value.",
        ),
    ],
)
def test_refusals(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(f"mutations {{ {text} }}")
