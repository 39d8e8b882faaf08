"""Which protocol a cluster's options lead to."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.upstream.http_protocol_options import NAME, HttpProtocolOptions, UpstreamProtocol, compile, speaks_http2

HTTP1, HTTP2 = UpstreamProtocol.HTTP1, UpstreamProtocol.HTTP2
DOWNSTREAM, AUTO = UpstreamProtocol.DOWNSTREAM, UpstreamProtocol.AUTO


def cluster(fields: dict[str, Any], typed: dict[str, Any] | None) -> Any:
    message = json_format.ParseDict({"name": "c", **fields}, cluster_pb2.Cluster())
    if typed is not None:
        options = json_format.ParseDict(typed, http_protocol_options_pb2.HttpProtocolOptions())
        message.typed_extension_protocol_options[NAME].Pack(options)
    return message


def compiled(fields: dict[str, Any], typed: dict[str, Any] | None = None) -> HttpProtocolOptions:
    message = cluster(fields, typed)
    return compile(message, {field.name: value for field, value in message.ListFields()})


@pytest.mark.parametrize(
    ("fields", "typed", "protocol", "http2"),
    [
        ({}, None, HTTP1, False),
        ({}, {"explicit_http_config": {"http_protocol_options": {}}}, HTTP1, False),
        ({}, {"explicit_http_config": {"http2_protocol_options": {}}}, HTTP2, True),
        ({"http2_protocol_options": {}}, {"explicit_http_config": {"http_protocol_options": {}}}, HTTP1, False),
        ({"http2_protocol_options": {}}, None, HTTP2, True),
        ({"protocol_selection": "USE_DOWNSTREAM_PROTOCOL"}, None, DOWNSTREAM, False),
        ({}, {"use_downstream_protocol_config": {}}, DOWNSTREAM, False),
        ({}, {"use_downstream_protocol_config": {"http2_protocol_options": {}}}, DOWNSTREAM, True),
        ({}, {"auto_config": {}}, AUTO, False),
    ],
)
def test_protocols(fields: dict[str, Any], typed: Any, protocol: UpstreamProtocol, http2: bool) -> None:
    options = compiled(fields, typed)
    assert options.protocol is protocol
    assert options.http2_configured is http2
    assert options.may_speak_http2 is (protocol is not HTTP1)
    assert speaks_http2(cluster(fields, typed)) is (http2 or protocol is AUTO)


@pytest.mark.parametrize(
    ("came_by", "http2", "spoken"),
    [
        ("HTTP/1.0", True, HTTP1),
        ("HTTP/1.1", True, HTTP1),
        ("HTTP/2", False, HTTP2),
        ("HTTP/3", False, HTTP2),
        (None, True, HTTP2),
        (None, False, HTTP1),
    ],
)
def test_what_the_client_speaks(came_by: str | None, http2: bool, spoken: UpstreamProtocol) -> None:
    config = {"http2_protocol_options": {}} if http2 else {}
    assert compiled({}, {"use_downstream_protocol_config": config}).spoken_for(came_by) is spoken
    assert compiled({}, {"auto_config": {}}).spoken_for(came_by) is AUTO


def test_equal_options_are_shared() -> None:
    first = compiled({"http2_protocol_options": {"max_concurrent_streams": 5}})
    assert first is compiled({"http2_protocol_options": {"max_concurrent_streams": 5}})
    assert first is not compiled({"http2_protocol_options": {"max_concurrent_streams": 6}})


def test_http3_is_refused_by_name() -> None:
    for typed in (
        {"explicit_http_config": {"http3_protocol_options": {}}},
        {"use_downstream_protocol_config": {"http3_protocol_options": {}}},
        {"auto_config": {"http3_protocol_options": {}, "alternate_protocols_cache_options": {"name": "x"}}},
    ):
        with pytest.raises(UnsupportedFieldError, match="http3_protocol_options"):
            compiled({}, typed)
    with pytest.raises(ConfigError, match="alternate protocols cache must be configured"):
        compiled({}, {"auto_config": {"http3_protocol_options": {}}})
