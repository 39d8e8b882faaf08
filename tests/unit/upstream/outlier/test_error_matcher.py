"""Which responses are errors to outlier detection; the verdicts are those of Envoy 1.40."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.common.matcher.v3 import matcher_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.upstream.outlier import error_matcher

ANY: dict[str, Any] = {"any_match": True}
NOT_FOUND = {"http_response_headers_match": {"headers": [{"name": ":status", "string_match": {"exact": "404"}}]}}
EMPTY: dict[str, Any] = {"http_response_headers_match": {}}
REQUEST = {"http_request_headers_match": {"headers": [{"name": ":method", "present_match": True}]}}
TRAILERS = {"http_response_trailers_match": {"headers": [{"name": "a", "present_match": False}]}}
BODY = {"http_response_generic_body_match": {"patterns": [{"string_match": "a"}]}}


@pytest.mark.parametrize(
    ("predicate", "is_error"),
    [
        (ANY, True),
        ({"not_match": ANY}, False),
        (NOT_FOUND, True),
        ({"not_match": NOT_FOUND}, False),
        (EMPTY, True),
        (REQUEST, False),
        ({"not_match": REQUEST}, True),
        (TRAILERS, False),
        (BODY, False),
        ({"not_match": BODY}, True),
        ({"and_match": {"rules": [NOT_FOUND, REQUEST]}}, False),
        ({"and_match": {"rules": [NOT_FOUND, EMPTY]}}, True),
        ({"and_match": {"rules": [NOT_FOUND, {"not_match": REQUEST}]}}, True),
        ({"or_match": {"rules": [REQUEST, NOT_FOUND]}}, True),
        ({"or_match": {"rules": [REQUEST, {"not_match": NOT_FOUND}]}}, False),
    ],
)
def test_verdicts(predicate: dict[str, Any], is_error: bool) -> None:
    message = json_format.ParseDict(predicate, matcher_pb2.MatchPredicate())
    assert error_matcher.compile(message).matches(HeaderMap(((b":status", b"404"),))) is is_error


def test_what_cannot_be_compiled() -> None:
    with pytest.raises(ConfigError):
        error_matcher.compile(matcher_pb2.MatchPredicate())
    bad = {"http_request_headers_match": {"headers": [{"name": "a", "safe_regex_match": {"regex": "("}}]}}
    with pytest.raises(ConfigError):
        error_matcher.compile(json_format.ParseDict(bad, matcher_pb2.MatchPredicate()))
