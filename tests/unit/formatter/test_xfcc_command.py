"""Values of x-forwarded-client-cert: quotes, escapes, several elements."""

import pytest

from proxeny.formatter.xfcc_command import xfcc_value


@pytest.mark.parametrize(
    ("header", "key", "expected"),
    [
        (None, b"uri", None),
        (b"", b"uri", None),
        (b"By=b;URI=u", b"uri", b"u"),
        (b"URI = u ;By=b", b"uri", b"u"),
        (b"By=a,By=b", b"by", b"a"),
        (b"By=a,URI=u", b"uri", b"u"),
        (b'Subject="CN=a,b;c";URI=u', b"subject", b"CN=a,b;c"),
        (b'Subject="CN=\\"q\\"\\\\";URI=u', b"subject", b'CN="q"\\'),
        (b'Subject="open;URI=u', b"uri", None),
        (b'URI=u,Subject="open', b"uri", b"u"),
        (b"URI=;By=b", b"uri", b""),
        (b"Hash=a=b", b"hash", b"a=b"),
    ],
)
def test_xfcc_values(header: bytes | None, key: bytes, expected: bytes | None) -> None:
    assert xfcc_value(header, key) == expected
