"""Which referers are passed on; the expectations were observed on Envoy 1.40."""

import pytest

from proxeny.http.referer import is_valid_referer


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"/",
        b"//h/p",
        b"word",
        b"a/b:c",
        b"?x",
        b"*",
        b"http://a.test",
        b"HTTP://A.Test/",
        b"http://a.test:80/",
        b"http://a.test:0/",
        b"http://a.test:65535",
        b"http://a.test:00080/",
        b"http://[::1]:80/",
        b"http://a.test?x",
        b"http://a/<x>",
        b"http://a/|",
        b"http://@a/",
        b"ws1://a",
        b"android-app://com.example/",
        b"http://a.test/,http://a.test/",
    ],
)
def test_valid(value: bytes) -> None:
    assert is_valid_referer(value)


@pytest.mark.parametrize(
    "value",
    [
        b"#",
        b"/#",
        b"http://a.test/#f",
        b"http://a.test/?q#f",
        b"http://u:p@a.test/",
        b"http://u@a.test/",
        b"about:blank",
        b"mailto:a@b",
        b"a:b",
        b"?a:b",
        b"1ws://a",
        b"+a://b",
        b"http:///x",
        b"http://a.test:/",
        b"http://a.test:99999/",
        b"http://a_b/",
        b"http://a%20b/",
        b"http://[junk/",
        b"/a b",
        b"/a[b]",
        b"/a|b",
        b"http://a.test/a b",
        b"http://a.test/\xe9",
        b"/\xe9",
        b"/\x00",
    ],
)
def test_invalid(value: bytes) -> None:
    assert not is_valid_referer(value)
