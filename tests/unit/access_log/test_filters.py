"""Access log filters."""

import pytest
from envoy.config.accesslog.v3 import accesslog_pb2
from google.protobuf.json_format import ParseDict

from proxeny.access_log.filters import compile_filter
from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo
from proxeny.stats.store import MainStore


class FakeRuntime:
    def get_integer(self, key, default):
        return {"over": 500}.get(key, default)

    def feature_enabled(self, key, numerator, denominator, random_value):
        return random_value < numerator


@pytest.fixture
def info():
    class Address:
        def as_string(self):
            return ""

    return StreamInfo(ConnectionInfo(Address(), Address(), 1), 0.0, 1)


def passes(config, info, request=None, response=None, trailers=None, log_type=b"NotSet"):
    message = ParseDict(config, accesslog_pb2.AccessLogFilter())
    context = FactoryContext("worker", MainStore(), runtime=FakeRuntime())
    return compile_filter(message, context).evaluate(request, response, trailers, info, log_type)


def compare(operator, value, key="x"):
    return {"comparison": {"op": operator, "value": {"default_value": value, "runtime_key": key}}}


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [("GE", 400, True), ("GE", 405, False), ("EQ", 404, True), ("LE", 403, False), ("NE", 404, False)],
)
def test_status_codes(info, operator, value, expected):
    info.response_code = 404
    assert passes({"status_code_filter": compare(operator, value)}, info) is expected


def test_runtime_overrides_a_comparison(info):
    info.response_code = 404
    assert not passes({"status_code_filter": compare("GE", 400, "over")}, info)


def test_durations(info):
    info.start_ns, info.end_ns = 1_000_000, 6_900_000
    assert passes({"duration_filter": compare("EQ", 5)}, info)


def test_health_checks_and_traces(info):
    assert passes({"not_health_check_filter": {}}, info)
    info.health_check = True
    assert not passes({"not_health_check_filter": {}}, info)
    assert not passes({"traceable_filter": {}}, info)


def test_flags(info):
    assert not passes({"response_flag_filter": {}}, info)
    info.set_flag(ResponseFlag.NO_ROUTE_FOUND)
    assert passes({"response_flag_filter": {}}, info)
    assert passes({"response_flag_filter": {"flags": ["UH", "NR"]}}, info)
    assert not passes({"response_flag_filter": {"flags": ["UH"]}}, info)


def test_headers(info):
    config = {"header_filter": {"header": {"name": "X-A", "string_match": {"exact": "1"}}}}
    assert passes(config, info, HeaderMap([(b"x-a", b"1")]))
    assert not passes(config, info, HeaderMap([(b"x-a", b"2")]))
    assert not passes(config, info)


def test_combinations(info):
    yes, no = {"not_health_check_filter": {}}, {"traceable_filter": {}}
    assert passes({"and_filter": {"filters": [yes, yes]}}, info)
    assert not passes({"and_filter": {"filters": [yes, no]}}, info)
    assert passes({"or_filter": {"filters": [no, yes]}}, info)
    assert not passes({"or_filter": {"filters": [no, no]}}, info)


def test_log_types(info):
    config = {"log_type_filter": {"types": ["DownstreamEnd"]}}
    assert not passes(config, info, HeaderMap())
    assert passes(config, info, log_type=b"DownstreamEnd")
    config["log_type_filter"]["exclude"] = True
    assert passes(config, info)


def test_grpc_status(info):
    config = {"grpc_status_filter": {"statuses": ["UNKNOWN"]}}
    assert passes(config, info)
    assert not passes(config, info, trailers=HeaderMap([(b"grpc-status", b"0")]))
    assert not passes(config, info, trailers=HeaderMap([(b"grpc-status", b"77")]))


def test_samples_follow_the_request_id(info):
    config = {"runtime_filter": {"runtime_key": "k", "percent_sampled": {"numerator": 10}}}
    one = HeaderMap([(b"x-request-id", b"00000009-1111-4111-8111-111111111111")])
    other = HeaderMap([(b"x-request-id", b"0000000a-1111-4111-8111-111111111111")])
    assert passes(config, info, one)
    assert not passes(config, info, other)
    config["runtime_filter"].update(use_independent_randomness=True, percent_sampled={"numerator": 100})
    assert passes(config, info, other)


def test_metadata(info):
    match = {"filter": "ns", "path": [{"key": "a"}], "value": {"string_match": {"exact": "x"}}}
    assert passes({"metadata_filter": {"matcher": match}}, info)
    assert not passes({"metadata_filter": {"matcher": match, "match_if_key_not_found": False}}, info)
    info.dynamic_metadata["ns"] = {"a": "x"}
    assert passes({"metadata_filter": {"matcher": match}}, info)
    info.dynamic_metadata["ns"] = {"a": 3.5}
    assert not passes({"metadata_filter": {"matcher": match}}, info)
    match["value"] = {"or_match": {"value_matchers": [{"bool_match": True}, {"double_match": {"exact": 3.5}}]}}
    assert passes({"metadata_filter": {"matcher": match}}, info)


def test_unknown_extensions_are_refused(info):
    with pytest.raises(ConfigError, match="Didn't find a registered implementation for 'x'"):
        passes({"extension_filter": {"name": "x"}}, info)
