"""The iteration over filters, without a connection: a recording stream stands for the codec."""

from __future__ import annotations

from typing import Any

import pytest

from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.http.filter_chain import FilterChain
from proxeny.http.filter_manager import FilterManager
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

H = FilterHeadersStatus
D = FilterDataStatus
ADDRESS = ip_address("127.0.0.1", 80)


def answer() -> HeaderMap:
    """A response's head."""
    return HeaderMap([(b":status", b"200")])


class Factory:
    is_terminal = False

    def __init__(self, name: str, filter_: StreamFilter) -> None:
        self.name = name
        self.filter_class = type(filter_)
        self.filter = filter_

    def create(self) -> StreamFilter:
        return self.filter


class Recorder(StreamFilter):
    """Answers hooks from a script, remembers what it saw."""

    def __init__(self, headers: Any = H.CONTINUE, data: Any = D.CONTINUE, trailers: Any = None) -> None:
        self.script = {"headers": headers, "data": data, "trailers": trailers or FilterTrailersStatus.CONTINUE}
        self.seen: list[Any] = []

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        self.seen.append(("headers", end_stream))
        status = self.script["headers"]
        return status(self) if callable(status) else status

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        self.seen.append(("data", data.peek(), end_stream))
        status = self.script["data"]
        return status(self) if callable(status) else status

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        self.seen.append(("trailers",))
        return self.script["trailers"]


class EncodeRecorder(StreamFilter):
    def __init__(self, headers: Any = H.CONTINUE, data: Any = D.CONTINUE) -> None:
        self.script = (headers, data)
        self.seen: list[Any] = []

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        self.seen.append(("headers", end_stream))
        return self.script[0]

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        self.seen.append(("data", data.peek(), end_stream))
        return self.script[1]


class Stream(FilterManager):
    def __init__(self, *filters: StreamFilter) -> None:
        self.connection = self.dispatcher = None
        self.stream_info = StreamInfo(ConnectionInfo(ADDRESS, ADDRESS, 0), 0.0, 0)
        self.terminal = self.decode_path = self.encode_path = None
        self.request_headers = self.response_headers = self.request_trailers = self.response_trailers = None
        self.remote_complete = self.local_complete = False
        self.decoder_limit = self.encoder_limit = 10
        self.out: list[Any] = []
        self.create_filters(FilterChain([Factory(f"f{i}", f) for i, f in enumerate(filters)]))

    def encode_headers_out(self, headers: HeaderMap, end_stream: bool) -> None:
        self.out.append(("headers", end_stream))

    def encode_data_out(self, data: Buffer, end_stream: bool) -> None:
        self.out.append(("data", data.take(), end_stream))

    def encode_trailers_out(self, trailers: HeaderMap) -> None:
        self.out.append(("trailers",))

    def send_local_reply(self, code: int, body: bytes, modify: Any, grpc_status: Any, details: str) -> None:
        self.out.append((code, body, details))

    def request_too_large(self) -> None:
        self.out.append("413")

    def response_too_large(self) -> None:
        self.out.append("500")

    def request_data_too_large(self) -> None:
        self.out.append("pause")

    def request_data_drained(self) -> None:
        self.out.append("resume")


def buffer(data: bytes) -> Buffer:
    made = Buffer()
    made.append(data)
    return made


def terminal() -> Recorder:
    return Recorder(headers=H.STOP_ITERATION, data=D.STOP_ITERATION_NO_BUFFER)


def test_headers_and_data_reach_every_filter() -> None:
    first, last = Recorder(), terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"ab"), False)
    stream.filter_data(buffer(b"c"), True)
    assert first.seen == last.seen == [("headers", False), ("data", b"ab", False), ("data", b"c", True)]


def test_a_lone_terminal_filter_is_called_directly() -> None:
    last = terminal()
    stream = Stream(last)
    assert stream.terminal is last and stream.decode_path is None
    stream.filter_headers(HeaderMap(), True)
    assert last.seen == [("headers", True)]


def test_stopped_headers_wait_for_continue() -> None:
    first = Recorder(headers=H.STOP_ITERATION, data=D.STOP_ITERATION_AND_BUFFER)
    last = terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"ab"), True)
    assert last.seen == []
    first.decoder_callbacks.continue_decoding()
    assert last.seen == [("headers", False), ("data", b"ab", True)]


def test_stop_all_shows_held_data_to_the_filter_itself_on_continue() -> None:
    first = Recorder(headers=H.STOP_ALL_ITERATION_AND_BUFFER)
    last = terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"ab"), True)
    assert first.seen == [("headers", False)]
    first.decoder_callbacks.continue_decoding()
    assert first.seen == [("headers", False), ("data", b"ab", True)]
    assert last.seen == [("headers", False), ("data", b"ab", True)]


def test_continue_without_body_ends_the_stream() -> None:
    first = Recorder(headers=H.STOP_ITERATION)
    last = terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), True)
    first.decoder_callbacks.continue_decoding()
    assert last.seen == [("headers", True)]


def test_body_added_to_a_message_without_one() -> None:
    def add(recorder: Recorder) -> FilterHeadersStatus:
        recorder.decoder_callbacks.add_decoded_data(buffer(b"new"), False)
        return H.CONTINUE

    first, last = Recorder(headers=add), terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), True)
    assert last.seen == [("headers", False), ("data", b"new", True)]


def test_buffering_above_the_limit_is_too_large() -> None:
    first = Recorder(headers=H.STOP_ITERATION, data=D.STOP_ITERATION_AND_BUFFER)
    stream = Stream(first, terminal())
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"x" * 11), False)
    assert stream.out == ["413"]


def test_watermark_buffering_pauses_and_resumes() -> None:
    first = Recorder(headers=H.STOP_ALL_ITERATION_AND_WATERMARK)
    last = terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"x" * 11), False)
    first.decoder_callbacks.continue_decoding()
    assert stream.out == ["pause", "resume"]
    assert last.seen[-1] == ("data", b"x" * 11, False)


def test_trailers_end_the_request() -> None:
    first, last = Recorder(), terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"a"), False)
    stream.filter_trailers(HeaderMap())
    assert last.seen == [("headers", False), ("data", b"a", False), ("trailers",)]


def test_trailers_resume_a_filter_that_buffered() -> None:
    first = Recorder(headers=H.STOP_ITERATION, data=D.STOP_ITERATION_AND_BUFFER)
    last = terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"a"), False)
    stream.filter_trailers(HeaderMap())
    assert last.seen == [("headers", False), ("data", b"a", False), ("trailers",)]


@pytest.mark.parametrize("end_stream", [True, False])
def test_encode_path_runs_in_reverse(end_stream: bool) -> None:
    order: list[str] = []

    class Named(StreamFilter):
        def __init__(self, name: str) -> None:
            self.name = name

        def encode_headers(self, headers: HeaderMap, end: bool) -> FilterHeadersStatus:
            order.append(self.name)
            return H.CONTINUE

    stream = Stream(Named("a"), Named("b"), terminal())
    stream.encode_headers(answer(), end_stream, "via_upstream")
    assert order == ["b", "a"]
    assert stream.out == [("headers", end_stream)]


def test_encode_filter_may_hold_the_response() -> None:
    holder = EncodeRecorder(headers=H.STOP_ITERATION, data=D.STOP_ITERATION_AND_BUFFER)
    stream = Stream(holder, terminal())
    stream.encode_headers(answer(), False, "via_upstream")
    stream.encode_data(buffer(b"abc"), True)
    assert stream.out == []
    holder.encoder_callbacks.continue_encoding()
    assert stream.out == [("headers", False), ("data", b"abc", True)]


def test_nothing_runs_after_abort() -> None:
    def reply(recorder: Recorder) -> FilterHeadersStatus:
        stream.abort_iteration()
        return H.CONTINUE

    last = terminal()
    stream = Stream(Recorder(headers=reply), last)
    stream.filter_headers(HeaderMap(), True)
    assert last.seen == []


def test_inject_passes_the_headers_first() -> None:
    first, last = Recorder(headers=H.STOP_ITERATION), terminal()
    stream = Stream(first, last)
    stream.filter_headers(HeaderMap(), False)
    first.decoder_callbacks.inject_decoded_data(buffer(b"x"), False)
    first.decoder_callbacks.inject_decoded_data(buffer(b"y"), True)
    assert last.seen == [("headers", False), ("data", b"x", False), ("data", b"y", True)]


def test_filters_of_headers_only_are_called_directly() -> None:
    class Looks(StreamFilter):
        def __init__(self, status: Any = H.CONTINUE) -> None:
            self.status = status

        def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
            return self.status  # type: ignore[no-any-return]

        def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
            return self.status  # type: ignore[no-any-return]

    last = terminal()
    stream = Stream(Looks(), Looks(), last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"ab"), True)
    stream.encode_headers(answer(), False, "")
    stream.encode_data(buffer(b"c"), True)
    assert last.seen == [("headers", False), ("data", b"ab", True)]
    assert stream.out == [("headers", False), ("data", b"c", True)]
    assert stream.decode_path is None and stream.encode_path is None

    stops, last = Looks(H.STOP_ALL_ITERATION_AND_BUFFER), terminal()
    stream = Stream(Looks(), stops, last)
    stream.filter_headers(HeaderMap(), False)
    stream.filter_data(buffer(b"ab"), True)
    assert last.seen == []
    stops.decoder_callbacks.continue_decoding()
    assert last.seen == [("headers", False), ("data", b"ab", True)]
    stream.encode_headers(answer(), True, "")
    assert stream.out == []
    stops.encoder_callbacks.continue_encoding()
    assert stream.out == [("headers", True)]


def test_a_directly_called_filter_may_add_a_body() -> None:
    class Adds(StreamFilter):
        def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
            self.decoder_callbacks.add_decoded_data(buffer(b"new"), False)
            return H.CONTINUE

        def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
            self.encoder_callbacks.add_encoded_data(buffer(b"too"), False)
            return H.CONTINUE

    last = terminal()
    stream = Stream(Adds(), last)
    stream.filter_headers(HeaderMap(), True)
    assert last.seen == [("headers", False), ("data", b"new", True)]
    stream.encode_headers(answer(), True, "")
    assert stream.out == [("headers", False), ("data", b"too", True)]


@pytest.mark.parametrize("held", [False, True])
def test_a_response_whose_status_is_gone_is_replaced(held: bool) -> None:
    filter_ = EncodeRecorder(headers=H.STOP_ITERATION if held else H.CONTINUE)
    stream = Stream(filter_)
    stream.encode_headers(HeaderMap(), False, "via_upstream")
    if held:
        filter_.encoder_callbacks.continue_encoding()
    details = "filter_removed_required_response_headers{missing_required_header:_:status}"
    assert stream.out == [(502, b"missing required header: :status", details)]


class AddsTrailers(StreamFilter):
    """Adds trailers once it sees the end of the body; holds what comes before, if it is to."""

    def __init__(self, holds: bool = False) -> None:
        self.holds = holds

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        if end_stream:
            self.encoder_callbacks.add_encoded_trailers().set(b"a", b"b")
        elif self.holds:
            return D.STOP_ITERATION_AND_BUFFER
        return D.CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        if end_stream:
            self.encoder_callbacks.add_encoded_data(buffer(b"made"), False)
            self.encoder_callbacks.add_encoded_trailers().set(b"a", b"b")
        return H.STOP_ITERATION if self.holds and not end_stream else H.CONTINUE


class SeesTrailers(EncodeRecorder):
    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        self.seen.append(("trailers", trailers.get(b"a")))
        return FilterTrailersStatus.CONTINUE


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("data", [D.CONTINUE, D.STOP_ITERATION_AND_BUFFER])
def test_trailers_may_be_added_at_the_end_of_the_body(holds: bool, data: FilterDataStatus) -> None:
    seeing = SeesTrailers(headers=H.CONTINUE if data is D.CONTINUE else H.STOP_ITERATION, data=data)
    stream = Stream(seeing, AddsTrailers(holds))
    stream.encode_headers(answer(), False, "")
    stream.encode_data(buffer(b"ab"), False)
    stream.encode_data(buffer(b"c"), True)
    assert seeing.seen[0] == ("headers", False)
    assert all(not seen[-1] for seen in seeing.seen[1:-1])
    assert b"".join(seen[1] for seen in seeing.seen[1:-1])[-1:] == b"c"
    assert seeing.seen.count(("trailers", b"b")) == 1 and seeing.seen[-1] == ("trailers", b"b")
    assert stream.out[0] == ("headers", False) and stream.out[-1] == ("trailers",)
    assert b"".join(out[1] for out in stream.out[1:-1]) == b"abc"
    assert not any(out[-1] is True for out in stream.out)
    assert stream.response_trailers is not None


def test_trailers_may_be_added_with_a_body_to_headers_alone() -> None:
    seeing = SeesTrailers()
    stream = Stream(seeing, AddsTrailers())
    stream.encode_headers(answer(), True, "")
    assert seeing.seen == [("headers", False), ("data", b"made", False), ("trailers", b"b")]
    assert stream.out == [("headers", False), ("data", b"made", False), ("trailers",)]


def test_what_comes_after_the_end_of_the_iteration_is_nobodys() -> None:
    seeing = SeesTrailers()
    stream = Stream(seeing)
    stream.encode_headers(answer(), False, "")
    assert stream.encode_path is not None
    stream.encode_path.aborted = True
    stream.encode_data(buffer(b"late"), False)
    stream.encode_trailers(HeaderMap())
    assert seeing.seen == [("headers", False)]
    assert stream.out == [("headers", False)]
