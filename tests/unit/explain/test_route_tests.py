"""The format of Envoy's router_check_tool: what is read, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxeny.config.errors import ConfigError
from proxeny.explain.route_tests import read_route_tests

INPUT = {"authority": "a.test", "path": "/", "method": "GET"}


def read(tmp_path: Path, value: Any) -> Any:
    path = tmp_path / "tests.json"
    path.write_text(json.dumps(value))
    return read_route_tests(str(path))


def one(**parts: Any) -> dict[str, Any]:
    return {"tests": [{"test_name": "t", "input": INPUT, "validate": {}, **parts}]}


def test_all_fields_in_both_spellings(tmp_path: Path) -> None:
    given = {
        **INPUT,
        "randomValue": "18446744073709551615",
        "ssl": "true",
        "internal": True,
        "runtime": "key",
        "additional_request_headers": [{"key": "X-A", "value": "1"}],
        "additionalResponseHeaders": [{"key": "x-b", "value": "2"}],
        "dynamic_metadata": [{"metadata_namespace": "n", "value": {"k": {"d": 1.5}}}],
    }
    wanted = {
        "clusterName": "c",
        "virtual_cluster_name": {"value": "vc"},
        "virtual_host_name": "",
        "host_rewrite": None,
        "code_redirect": 302,
        "request_header_fields": [{"key": "x-a", "value": "1"}],
        "response_header_matches": [{"name": "x-b", "string_match": {"exact": "2"}}],
    }
    read_back = read(tmp_path, one(input=given, validate=wanted) | {"runtime": {"a.b": 3}})
    (test,) = read_back.tests
    assert (test.input.random_value, test.input.ssl, test.input.internal) == (2**64 - 1, True, True)
    assert test.input.request_headers == ((b"x-a", b"1"),)
    assert test.input.response_headers == ((b"x-b", b"2"),)
    assert test.input.dynamic_metadata == {"n": {"k": {"d": 1.5}}}
    assert (test.validate.cluster_name, test.validate.virtual_cluster_name) == ("c", "vc")
    assert (test.validate.virtual_host_name, test.validate.host_rewrite) == ("", None)
    assert (test.validate.code_redirect, test.validate.path_redirect) == (302, None)
    assert test.validate.response_header_matches[0].string_match.exact == "2"
    assert read_back.runtime == {"a.b": 3}


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "tests.yaml"
    path.write_text(
        "tests:\n- test_name: t\n  input: {authority: a, path: /, method: GET}\n  validate: {cluster_name: c}\n"
    )
    assert read_route_tests(str(path)).tests[0].validate.cluster_name == "c"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "not a mapping"),
        ({"tests": []}, "at least 1 item"),
        ({"tests": [{}]}, "TestName"),
        ({"tests": [{"test_name": "t", "validate": {}}]}, "Input: value is required"),
        ({"tests": [{"test_name": "t", "input": INPUT}]}, "Validate: value is required"),
        (one(input={**INPUT, "authority": ""}), "Authority: value length must be at least 1"),
        (one(input={**INPUT, "method": "GE"}), "Method: value length must be at least 3"),
        (one(input={**INPUT, "extra": 1}), "no such field: 'extra'"),
        (one(input={**INPUT, "random_value": -1}), "unsigned number"),
        (one(input={**INPUT, "random_value": "+1"}), "unsigned number"),
        (one(input={**INPUT, "ssl": "yes"}), "expected a boolean"),
        (one(input={**INPUT, "randomValue": 1, "random_value": 1}), "there twice"),
        (one(input={**INPUT, "dynamic_metadata": [{"metadata_namespace": ""}]}), "MetadataNamespace"),
        (one(validate={"cluster_name": 5}), "expected a string"),
        (one(validate={"cluster": "c"}), "no such field: 'cluster'"),
        (one(validate={"request_header_matches": [{"string_match": {"exact": "x"}}]}), "at least 1"),
        (one(validate={"request_header_matches": [{"name": "x", "bogus": 1}]}), "bogus"),
    ],
)
def test_what_is_refused(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, value)
    assert words in str(refused.value)
    assert "tests.json" in str(refused.value)


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Invalid path"):
        read_route_tests(str(tmp_path / "none.yaml"))
    (tmp_path / "bad.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not valid UTF-8"):
        read_route_tests(str(tmp_path / "bad.json"))
