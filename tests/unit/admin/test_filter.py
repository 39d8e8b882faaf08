"""The filter that serves the pages."""

import pytest

from proxeny.admin.filter import MAX_BODY, AdminFilterFactory
from proxeny.admin.handler import AdminHandler
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap


class FakeCallbacks:
    def __init__(self):
        self.status = None
        self.body = b""
        self.ended = False
        self.local_reply = None

    def encode_headers(self, headers, end_stream, details):
        self.status, self.ended = headers.get(b":status"), end_stream

    def encode_data(self, data, end_stream):
        self.body += data.take()
        self.ended = end_stream

    def send_local_reply(self, code, body, modify, grpc_status, details):
        self.local_reply = code


@pytest.fixture
def admin_filter(server):
    made = AdminFilterFactory(AdminHandler(server)).create()
    made.decoder_callbacks = FakeCallbacks()
    return made


def buffer(data):
    made = Buffer()
    made.append(data)
    return made


def request(method, path):
    return HeaderMap([(b":method", method), (b":path", path)])


def test_a_request_without_body(admin_filter):
    assert admin_filter.decode_headers(request(b"GET", b"/ready"), True) == FilterHeadersStatus.STOP_ITERATION
    callbacks = admin_filter.decoder_callbacks
    assert (callbacks.status, callbacks.body, callbacks.ended) == (b"200", b"LIVE\n", True)


def test_a_form_in_pieces(admin_filter, server):
    admin_filter.decode_headers(request(b"POST", b"/runtime_modify"), False)
    assert admin_filter.decoder_callbacks.status is None
    assert admin_filter.decode_data(buffer(b"a=1&"), False) == FilterDataStatus.STOP_ITERATION_NO_BUFFER
    admin_filter.decode_data(buffer(b"b=2"), True)
    assert admin_filter.decoder_callbacks.status == b"200"
    assert server.runtime.admin == {"a": "1", "b": "2"}


def test_a_page_that_fails_is_a_500_and_a_log_line(admin_filter, monkeypatch, caplog):
    monkeypatch.setattr(admin_filter._handler, "run", None)
    admin_filter.decode_headers(request(b"GET", b"/ready"), True)
    callbacks = admin_filter.decoder_callbacks
    assert (callbacks.status, callbacks.body, callbacks.ended) == (b"500", b"Internal Server Error\n", True)
    assert "b'/ready' failed" in caplog.text


def test_trailers_end_a_request(admin_filter):
    admin_filter.decode_headers(request(b"POST", b"/reopen_logs"), False)
    assert admin_filter.decode_trailers(HeaderMap()) == FilterTrailersStatus.STOP_ITERATION
    assert admin_filter.decoder_callbacks.body == b"OK\n"


def test_an_empty_page_has_an_empty_body(admin_filter):
    admin_filter.decode_headers(request(b"GET", b"/stats?filter=nothing"), True)
    assert (admin_filter.decoder_callbacks.status, admin_filter.decoder_callbacks.ended) == (b"200", True)


def test_a_huge_body_is_refused(admin_filter):
    admin_filter.decode_headers(request(b"POST", b"/runtime_modify"), False)
    admin_filter.decode_data(buffer(b"x" * (MAX_BODY + 1)), False)
    assert admin_filter.decoder_callbacks.local_reply == 413
    admin_filter.decode_data(buffer(b"x"), True)
    assert admin_filter.decoder_callbacks.status is None
