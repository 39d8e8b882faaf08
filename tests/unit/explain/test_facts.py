"""Facts from parameters."""

import pytest

from proxeny.config.errors import ConfigError
from proxeny.explain.facts import parse_facts


def test_all_of_them() -> None:
    facts = parse_facts(
        {"src": "10.0.0.9:5", "dst": "[::1]:80", "sni": "a.test", "alpn": "h2,http/1.1", "listener": "l"}
    )
    assert facts.source.as_string() == "10.0.0.9:5"
    assert facts.destination.as_string() == "[::1]:80"
    assert facts[2:] == ("a.test", ("h2", "http/1.1"), True, "l")


@pytest.mark.parametrize(("value", "expected"), [("", True), ("1", True), ("True", True), ("0", False), ("no", False)])
def test_tls_is_a_switch(value: str, expected: bool) -> None:
    assert parse_facts({"src": "1.1.1.1:1", "dst": "1.1.1.1:1", "tls": value}).tls is expected


def test_a_unix_socket_needs_no_source() -> None:
    facts = parse_facts({"dst": "/tmp/s"})
    assert facts.destination.is_pipe and facts.source == facts.destination


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "dst: '' is not IP:PORT"),
        ({"dst": "1.1.1.1:80"}, "src: '' is not IP:PORT"),
        ({"dst": "1.1.1.1", "src": "1.1.1.1:1"}, "dst: '1.1.1.1' is not IP:PORT"),
        ({"dst": "1.1.1.1:80", "src": "host:1"}, "src: 'host:1' is not IP:PORT"),
        ({"dst": "1.1.1.1:99999", "src": "1.1.1.1:1"}, "dst: '1.1.1.1:99999' is not IP:PORT"),
        ({"dst": "/" + "x" * 200}, "exceeds maximum UNIX domain socket path size"),
    ],
)
def test_what_is_malformed_is_named(parameters: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_facts(parameters)
    assert words in refused.value.message
