"""The messages of a gRPC health check on the wire."""

import pytest

from proxeny.extensions.health_checkers.grpc_messages import encode_request, is_serving

SERVING = b"\0\0\0\0\x02\x08\x01"
EMPTY = b"\0\0\0\0\0"


def test_requests() -> None:
    assert encode_request("") == EMPTY
    assert encode_request("a.B") == b"\0\0\0\0\x05\n\x03a.B"


@pytest.mark.parametrize(
    ("body", "serving"),
    [
        (SERVING, True),
        (EMPTY + SERVING, True),
        (b"", False),
        (EMPTY, False),
        (b"\0\0\0\0\x02\x08\x02", False),
        (b"\0\0\0\0\x02\x08\x63", False),
        (SERVING * 2, False),
        (b"\x01" + SERVING[1:], False),
        (SERVING[:-1], False),
        (SERVING[:4], False),
        (b"\0\0\0\0\x02\x08\xff", False),
        (b"\0\xff\xff\xff\xff\x08\x01", False),
        (b"\0\0\0\0\x04\x10\x05\x08\x01", True),
    ],
)
def test_responses(body: bytes, serving: bool) -> None:
    assert is_serving(body) is serving
