"""Hosts without dot and port."""

import pytest

from proxeny.http.host_normalization import strip_port, strip_trailing_dot


@pytest.mark.parametrize(
    ("host", "stripped"),
    [
        (b"a.test.", b"a.test"),
        (b"a.test.:81", b"a.test:81"),
        (b"a.test..", b"a.test."),
        (b".", b""),
        (b"a.test", b"a.test"),
        (b"a.test:81", b"a.test:81"),
        (b"", b""),
        (b"[::1]", b"[::1]"),
    ],
)
def test_dots(host: bytes, stripped: bytes) -> None:
    assert strip_trailing_dot(host) == stripped


@pytest.mark.parametrize(
    ("host", "stripped"),
    [
        (b"a.test:81", b"a.test"),
        (b"a.test:0081", b"a.test"),
        (b"[::1]:81", b"[::1]"),
        (b"[::1]", b"[::1]"),
        (b"a.test", b"a.test"),
        (b"a.test:", b"a.test:"),
        (b"a.test:http", b"a.test:http"),
        (b"a.test:4294967295", b"a.test"),
        (b"a.test:4294967296", b"a.test:4294967296"),
        (b"a.test:" + b"9" * 5000, b"a.test:" + b"9" * 5000),
        (b":81", b""),
        (b"", b""),
    ],
)
def test_any_port(host: bytes, stripped: bytes) -> None:
    assert strip_port(host, None) == stripped


def test_the_listeners_port() -> None:
    assert strip_port(b"a:81", 81) == b"a"
    assert strip_port(b"a:81", 80) == b"a:81"
