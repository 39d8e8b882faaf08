"""Wire and header bytes as Envoy's meter counts them."""

from types import SimpleNamespace

from proxeny.formatter.byte_counts import (
    downstream_decompressed_received,
    downstream_header_received,
    downstream_header_sent,
    upstream_counts,
)
from proxeny.kernel.headers import HeaderMap

REQUEST = HeaderMap([(b":method", b"GET"), (b":path", b"/a"), (b":authority", b"h"), (b":scheme", b"http")])


def downstream(**facts: object) -> SimpleNamespace:
    stream = {"extra_header_bytes": 0, "head_bytes": 0, "status": 0, "field_bytes": 0, "trailer_bytes": 0}
    return SimpleNamespace(downstream_stream=SimpleNamespace(**{**stream, "head_seen": True, **facts}))


def upstream(**facts: object) -> SimpleNamespace:
    stream = {"bytes_sent": 0, "bytes_received": 0, "extra_header_bytes": 0, "head_bytes": 0, "connect": False}
    more = {
        "framed": False,
        "interim_bytes": 0,
        "field_bytes": 0,
        "trailer_bytes": 0,
        "codec": SimpleNamespace(absolute_form=False),
    }
    return SimpleNamespace(**{**stream, **more, **facts})


def test_downstream() -> None:
    head = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    info = downstream(head_bytes=len(head), status=404, extra_header_bytes=6, field_bytes=10, trailer_bytes=7)
    assert downstream_header_sent(info) == len(b"content-length: 0\r\n") + 6
    assert downstream_header_received(info) == 17
    assert downstream_decompressed_received(info) == 10


def test_a_head_without_fields_and_no_head_at_all() -> None:
    assert downstream_header_received(downstream()) == 3
    assert downstream_header_received(downstream(head_seen=False)) == 0
    nothing = SimpleNamespace(downstream_stream=None)
    assert (downstream_header_sent(nothing), downstream_header_received(nothing)) == (0, 0)


def test_attempts_add_up() -> None:
    head = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n"
    first = upstream(bytes_sent=len(head), bytes_received=50, head_bytes=len(head), field_bytes=20)
    second = upstream(bytes_sent=len(head), bytes_received=60, head_bytes=len(head), interim_bytes=5, field_bytes=18)
    info = SimpleNamespace(earlier_attempts=[(first, REQUEST)], upstream_stream=second)
    counts = upstream_counts(info, REQUEST)
    assert (counts.wire_sent, counts.wire_received) == (2 * len(head), 110)
    assert counts.header_sent == 2 * len(b"host: h\r\n")
    assert counts.header_received == 43
    assert counts.decompressed_received == 20 + 25 + 43


def test_the_request_line_of_proxies_and_tunnels() -> None:
    info = SimpleNamespace(earlier_attempts=None, upstream_stream=upstream(head_bytes=100, connect=True))
    assert upstream_counts(info, REQUEST).header_sent == 100 - len("GET h HTTP/1.1\r\n") - 2
    info.upstream_stream = upstream(head_bytes=100, codec=SimpleNamespace(absolute_form=True))
    assert upstream_counts(info, REQUEST).header_sent == 100 - len("GET http://h/a HTTP/1.1\r\n") - 2
