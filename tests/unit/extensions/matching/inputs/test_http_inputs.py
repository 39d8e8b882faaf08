"""Data inputs of the unified matcher over requests and responses."""

from typing import Any

from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.type.matcher.v3 import http_inputs_pb2

from proxeny.extensions.matching.inputs import http
from proxeny.http.matching import HttpMatchingData
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.inputs import NOT_AVAILABLE
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

CONTEXT: Any = None


def data(path: bytes = b"/", **more: Any) -> HttpMatchingData:
    fields = [(b":path", path), (b"x-a", b"1"), (b"x-a", b"2")]
    info = StreamInfo(ConnectionInfo(ip_address("127.0.0.1", 1), ip_address("127.0.0.1", 2), 1), 0.0, 0)
    return HttpMatchingData(HeaderMap(fields), info, **more)


def test_headers() -> None:
    message = http_inputs_pb2.HttpRequestHeaderMatchInput(header_name="X-A")
    assert http.REQUEST_HEADER.create_input(message, CONTEXT).get(data()) == b"1,2"
    message = http_inputs_pb2.HttpRequestHeaderMatchInput(header_name="x-b")
    assert http.REQUEST_HEADER.create_input(message, CONTEXT).get(data()) is None
    for factory, name in (
        (http.REQUEST_TRAILER, "request_trailers"),
        (http.RESPONSE_HEADER, "response_headers"),
        (http.RESPONSE_TRAILER, "response_trailers"),
    ):
        made = factory.create_input(http_inputs_pb2.HttpResponseHeaderMatchInput(header_name="t"), CONTEXT)
        assert made.get(data()) is NOT_AVAILABLE
        assert made.get(data(**{name: HeaderMap([(b"t", b"v")])})) == b"v"


def test_query_parameters_are_decoded() -> None:
    made = http.QUERY_PARAMETER.create_input(
        http_inputs_pb2.HttpRequestQueryParamMatchInput(query_param="a b"), CONTEXT
    )
    assert made.get(data(b"/?x=1&a%20b=%41&a%20b=2")) == b"A"
    assert made.get(data(b"/?x=1")) is None
    assert made.get(HttpMatchingData(HeaderMap(), None)) is NOT_AVAILABLE


def test_status_codes() -> None:
    response = HeaderMap([(b":status", b"404")])
    assert http.STATUS_CODE.get(data()) is NOT_AVAILABLE
    assert http.STATUS_CODE.get(data(response_headers=response)) == b"404"
    assert http.STATUS_CODE_CLASS.get(data(response_headers=response)) == b"4xx"
    assert http.STATUS_CODE_CLASS.get(data(response_headers=HeaderMap([(b":status", b"99")]))) is None


def test_dynamic_metadata() -> None:
    message = network_inputs_pb2.DynamicMetadataInput(filter="f")
    message.path.add(key="a")
    made = http.DYNAMIC_METADATA.create_input(message, CONTEXT)
    request = data()
    assert made.get(request).value is None
    assert request.stream_info is not None
    request.stream_info.dynamic_metadata["f"] = {"a": 5}
    assert made.get(request).value == 5
