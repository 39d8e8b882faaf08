"""Names of hosts in DNS caches."""

from __future__ import annotations

import pytest

from proxeny.upstream.dns_cache.names import Authority, has_port, parse_authority, split_port, with_port


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"a.test", b"a.test:80"),
        (b"a.test:8080", b"a.test:8080"),
        (b"[::1]", b"[::1]:80"),
        (b"[::1]:8080", b"[::1]:8080"),
        (b"a.test:", b"a.test::80"),
        (b"a.test:x", b"a.test:x:80"),
        (b"", b":80"),
    ],
)
def test_a_key_has_a_port(host: bytes, expected: bytes) -> None:
    assert with_port(host, 80) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.test", Authority("a.test", None, False)),
        ("a.test:81", Authority("a.test", 81, False)),
        ("a.test:65536", Authority("a.test:65536", None, False)),
        ("a.test:+1", Authority("a.test:+1", None, False)),
        ("a.test:\u0661", Authority("a.test:\u0661", None, False)),
        ("127.0.0.1:1", Authority("127.0.0.1", 1, True)),
        ("[::1]:1", Authority("::1", 1, True)),
        ("[::1]", Authority("::1", None, True)),
        ("[x]", Authority("[x]", None, False)),
        ("", Authority("", None, False)),
    ],
)
def test_parts(text: str, expected: Authority) -> None:
    assert parse_authority(text) == expected


def test_ports_that_are_none() -> None:
    assert not has_port(b"a.test:" + b"9" * 5000)
    assert not has_port(b"[::1]")
    assert not has_port(b"a:1]")
    assert split_port(b"a.test:80") == (b"a.test", 80)
    assert split_port(b"a.test") == (b"a.test", 0)
