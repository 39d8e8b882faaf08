"""Request ids and the trace reason in them."""

import pytest

from proxeny.http.request_id import TraceReason, UuidRequestId
from proxeny.kernel.headers import HeaderMap

ID = b"a1b2c3d4-0000-4000-8000-00000000000a"


def with_id(value: bytes) -> HeaderMap:
    return HeaderMap(((b"x-request-id", value),))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (ID, 0xA1B2C3D4),
        (b"0000000F", 15),
        (b"1234567", None),
        (b"", None),
        (b"+1234567", None),
        (b"1_000_00", None),
        (b"0x123456", None),
        (b"zzzzzzzz-0000-4000-8000-00000000000a", None),
    ],
)
def test_the_integer(value: bytes, number: int | None) -> None:
    assert UuidRequestId().integer(with_id(value)) == number


def test_no_id_has_no_integer() -> None:
    assert UuidRequestId().integer(HeaderMap()) is None


@pytest.mark.parametrize("reason", [TraceReason.SAMPLING, TraceReason.SERVICE_FORCED, TraceReason.CLIENT_FORCED])
def test_a_reason_is_written_and_read(reason: TraceReason) -> None:
    headers = with_id(ID)
    UuidRequestId().set_trace_reason(headers, reason)
    assert UuidRequestId().trace_reason(headers) is reason
    UuidRequestId().set_trace_reason(headers, TraceReason.NOT_TRACEABLE)
    assert headers.get(b"x-request-id") == ID


def test_other_ids_are_left_alone() -> None:
    headers = with_id(b"short")
    UuidRequestId().set_trace_reason(headers, TraceReason.SAMPLING)
    assert headers.get(b"x-request-id") == b"short"
    assert UuidRequestId().trace_reason(headers) is TraceReason.NOT_TRACEABLE


def test_without_packing_the_id_stays() -> None:
    headers = with_id(ID)
    UuidRequestId(pack=False).set_trace_reason(headers, TraceReason.SAMPLING)
    assert headers.get(b"x-request-id") == ID
