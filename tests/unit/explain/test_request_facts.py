"""What may be asked about a request, and what is refused."""

import pytest

from proxeny.config.errors import ConfigError
from proxeny.explain.request_facts import host_of, parse_request_facts


def test_what_a_url_says() -> None:
    facts = parse_request_facts({"url": "HTTPS://api.test:8443/a?b=c"})
    assert (facts.scheme, facts.authority, facts.path, facts.port) == ("https", "api.test:8443", "/a?b=c", 8443)
    assert (facts.tls, facts.server_name, facts.method) == (True, "api.test", "GET")
    assert facts.url == "https://api.test:8443/a?b=c"
    facts = parse_request_facts({"url": "http://api.test?x"})
    assert (facts.path, facts.port, facts.tls, facts.server_name) == ("/?x", 80, False, "")
    assert parse_request_facts({"url": "https://[::1]:9/"}).server_name == ""
    assert parse_request_facts({"url": "http://a/", "port": "81"}).port == 81


def test_what_else_may_be_said() -> None:
    facts = parse_request_facts(
        {"url": "http://a/", "src": "10.0.0.1", "dst": "[::1]:5", "body-size": "3", "random-value": "7", "all": ""},
        ["x-a: b ", "X-C:d"],
    )
    assert facts.source.as_string() == "10.0.0.1:40000"
    assert facts.destination is not None and facts.destination.as_string() == "[::1]:5"
    assert (facts.method, facts.body_size, facts.random_value, facts.all) == ("POST", 3, 7, True)
    assert facts.headers == (("x-a", "b"), ("X-C", "d"))
    assert parse_request_facts({"url": "http://a/", "src": "2001:db8::1"}).source.as_string() == "[2001:db8::1]:40000"
    assert parse_request_facts({"url": "http://a/", "method": "PUT"}).method == "PUT"


@pytest.mark.parametrize(("authority", "host"), [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("a:", "a:")])
def test_host_of(authority: str, host: str) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "a.test/"}, "no http"),
        ({"url": "http://"}, "names no host"),
        ({"url": "http://a/\r\nx: y"}, "control characters"),
        ({"url": "http://a:99999/"}, "'99999' is no port"),
        ({"url": "http://a/", "port": "+1"}, "no number"),
        ({"url": "http://a/", "port": "\u0661"}, "no number"),
        ({"url": "http://a/", "body-size": "999999999999"}, "no number up to"),
        ({"url": "http://a/", "dst": "x"}, "dst"),
        ({"url": "http://a/", "src": "1.2.3.4.5"}, "src"),
    ],
)
def test_what_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_request_facts(given)


@pytest.mark.parametrize("text", ["x", ": v", "a: b\r\nc: d", "a\0: b"])
def test_headers_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="is not 'name: value'"):
        parse_request_facts({"url": "http://a/"}, [text])
