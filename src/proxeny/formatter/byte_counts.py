"""Wire and header bytes of a request, as Envoy's ``BytesMeter`` counts them; worked out when a log asks.

Sent: the fields of a head as they go out, without the first line and the empty one. Received: name, value and three
bytes for each field. Decompressed, received: what was counted up to the end of each head, again for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.kernel.http1_encode import reason_phrase

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo


def downstream_header_sent(info: StreamInfo) -> int:
    """Header bytes of the responses to the client."""
    stream = info.downstream_stream
    if stream is None:
        return 0
    total: int = stream.extra_header_bytes
    if stream.head_bytes:
        # HTTP/1.1 200 OK, with the blanks between, its line end and the empty line.
        total += stream.head_bytes - len(str(stream.status)) - len(reason_phrase(stream.status)) - 14
    return total


def downstream_header_received(info: StreamInfo) -> int:
    """Header bytes of the request, trailers among them."""
    stream = info.downstream_stream
    return 0 if stream is None else _at_least_one_field(stream) + stream.trailer_bytes


def downstream_decompressed_received(info: StreamInfo) -> int:
    """Header bytes of the request's head."""
    stream = info.downstream_stream
    return 0 if stream is None else _at_least_one_field(stream)


def _at_least_one_field(stream: Any) -> int:
    # A head without fields ends an empty one, in Envoy's parser.
    return stream.field_bytes or (3 if stream.head_seen else 0)


class UpstreamCounts:
    """Bytes exchanged with the upstreams of a request."""

    __slots__ = (
        "decompressed_received",
        "decompressed_sent",
        "header_received",
        "header_sent",
        "wire_received",
        "wire_sent",
    )

    def __init__(self) -> None:
        self.wire_sent = 0
        self.wire_received = 0
        self.header_sent = 0
        self.header_received = 0
        self.decompressed_sent = 0
        self.decompressed_received = 0

    def add(self, stream: Any, request: HeaderMap) -> None:
        """Add one attempt; ``request`` is what it sent."""
        self.wire_sent += stream.bytes_sent
        self.wire_received += stream.bytes_received
        if stream.framed:
            # HTTP/2: the frames of header blocks, and what is in them.
            self.header_sent += stream.header_bytes_sent
            self.header_received += stream.header_bytes_received
            self.decompressed_sent += stream.decompressed_sent
            self.decompressed_received += stream.decompressed_received
            return
        sent = stream.extra_header_bytes
        if stream.head_bytes:
            sent += stream.head_bytes - _request_line(stream, request) - 2
        self.header_sent += sent
        self.decompressed_sent += sent
        for count in (stream.interim_bytes, stream.field_bytes):
            if count:
                self.header_received += count
                self.decompressed_received += self.header_received
        self.header_received += stream.trailer_bytes


def _request_line(stream: Any, request: HeaderMap) -> int:
    host = len(request.get(b":authority") or b"")
    if stream.connect:
        target = host
    else:
        target = len(request.get(b":path") or b"")
        if stream.codec.absolute_form:
            target += len(request.get(b":scheme") or b"") + 3 + host
    # Two blanks, HTTP/1.1 and the line end.
    return len(request.get(b":method") or b"") + target + 12


def upstream_counts(info: StreamInfo, request: HeaderMap) -> UpstreamCounts:
    """All attempts together."""
    counts = UpstreamCounts()
    for stream, sent in info.earlier_attempts or ():
        counts.add(stream, sent)
    if info.upstream_stream is not None:
        counts.add(info.upstream_stream, request)
    return counts
