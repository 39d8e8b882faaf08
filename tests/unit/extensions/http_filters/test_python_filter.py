"""User filters over the real filter manager; a recording stream stands for the connection manager."""

import asyncio
import contextvars
import sys
import types
from typing import Any

import pytest

import proxeny
from proxeny.api.python_filter import Python, PythonPerRoute
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.http_filters.python import PythonExtension
from proxeny.extensions.http_filters.python.stats import PYTHON_FILTER
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, StreamFilter
from proxeny.http.filter_chain import FilterChain
from proxeny.http.filter_manager import FilterManager
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore

MODULE = "python_filters_under_test"
ADDRESS = ip_address("10.0.0.1", 1234)
current: contextvars.ContextVar[str] = contextvars.ContextVar("current", default="")


class Terminal(StreamFilter):
    """Stands for the router."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        self.seen.append((dict(headers.items()), end_stream))
        return FilterHeadersStatus.STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        if data.length or end_stream:
            self.seen.append((data.take(), end_stream))
        return FilterDataStatus.STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> Any:
        self.seen.append("trailers")
        return super().decode_trailers(trailers)


class TerminalFactory:
    """Its factory."""

    name = "terminal"
    is_terminal = True
    filter_class = Terminal

    def __init__(self) -> None:
        self.made: list[Terminal] = []

    def create(self) -> Terminal:
        self.made.append(Terminal())
        return self.made[-1]


class Route:
    """A matched route with a per-route config."""

    name = "the-route"

    def __init__(self, config: Any) -> None:
        self.config = config

    def per_filter_config(self, name: str) -> Any:
        return self.config


class Stream(FilterManager):
    """One request; records what leaves."""

    def __init__(self, chain: FilterChain, dispatcher: Dispatcher, route: Any = None) -> None:
        self.connection = None
        self.dispatcher = dispatcher
        self.stream_info = StreamInfo(ConnectionInfo(ADDRESS, ADDRESS, 1), 0.0, 0)
        self.terminal = self.decode_path = self.encode_path = None
        self.request_headers = self.response_headers = self.request_trailers = self.response_trailers = None
        self.remote_complete = self.local_complete = False
        self.decoder_limit = self.encoder_limit = 1000
        self.out: list[Any] = []
        self.reply: tuple[int, bytes, dict[bytes, bytes], str] | None = None
        self.route = route
        self.route_cleared = 0
        self.create_filters(chain)

    def get_route(self) -> Any:
        return self.route

    def clear_route_cache(self) -> None:
        self.route_cleared += 1

    def send_local_reply(self, code: int, body: bytes, modify: Any, grpc_status: int | None, details: str) -> None:
        self.abort_iteration()
        headers = HeaderMap()
        if modify is not None:
            modify(headers)
        self.reply = (code, body, dict(headers.items()), details)

    def encode_headers_out(self, headers: HeaderMap, end_stream: bool) -> None:
        self.out.append((dict(headers.items()), end_stream))

    def encode_data_out(self, data: Buffer, end_stream: bool) -> None:
        if data.length or end_stream:
            self.out.append((data.take(), end_stream))

    def encode_trailers_out(self, trailers: HeaderMap) -> None:
        self.out.append("trailers")

    def request_too_large(self) -> None:
        self.send_local_reply(413, b"", None, None, "request_payload_too_large")

    def request_data_too_large(self) -> None:
        self.out.append("pause")

    def request_data_drained(self) -> None:
        self.out.append("resume")

    def response_data_too_large(self) -> None:
        self.out.append("pause response")

    def response_data_drained(self) -> None:
        self.out.append("resume response")


class Bench:
    """A configured user filter in front of a terminal one."""

    def __init__(self, user_class: type, config: str = "{}", budget_ms: int = 0) -> None:
        from google.protobuf import json_format

        module = types.ModuleType(MODULE)
        module.Filter = user_class  # type: ignore[attr-defined]
        sys.modules[MODULE] = module
        self.dispatcher = Dispatcher()
        self.store = MainStore()
        self.context = FactoryContext(role="worker", stats=self.store, dispatcher=self.dispatcher)
        self.extension = PythonExtension()
        message = Python(filter=f"{MODULE}:Filter")
        json_format.Parse(config, message.config)
        if budget_ms:
            message.time_budget.FromMilliseconds(budget_ms)
        self.factory = self.extension.create_filter_factory(message, "http.h.", self.context)
        self.terminals = TerminalFactory()
        self.chain = FilterChain([self.factory, self.terminals])

    def stream(self, route: Any = None) -> Stream:
        return Stream(self.chain, self.dispatcher, route)

    def request(self, end_stream: bool = True, route: Any = None, **headers: str) -> Stream:
        stream = self.stream(route)
        pairs = [(b":method", b"GET"), (b":path", b"/p?q"), (b":authority", b"h")]
        pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        stream.request_headers = HeaderMap(pairs)
        stream.filter_headers(stream.request_headers, end_stream)
        return stream

    def respond(self, stream: Stream, end_stream: bool = True, **headers: str) -> None:
        pairs = [(b":status", b"200")]
        pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        stream.encode_headers(HeaderMap(pairs), end_stream, "via_upstream")

    def run_until(self, predicate: Any) -> None:
        self.dispatcher.run_until(predicate, 5.0)

    @property
    def upstream(self) -> list[Any]:
        return self.terminals.made[-1].seen

    def stat(self, name: str) -> int:
        block = self.store.block(PYTHON_FILTER, "http.h.python.Filter.")
        return block.count(PYTHON_FILTER.slot(name)) if name.endswith("_us") else block.get(PYTHON_FILTER.slot(name))


@pytest.fixture
def bench() -> Any:
    made: list[Bench] = []

    def make(user_class: type, *args: Any, **kwargs: Any) -> Bench:
        user_class.__name__ = "Filter"
        made.append(Bench(user_class, *args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.dispatcher.close()


def test_sync_hooks(bench: Any) -> None:
    class Sync(proxeny.HttpFilter):
        @classmethod
        def setup(cls, worker: proxeny.Worker) -> None:
            worker.seen = 0

        def on_request(self, request: proxeny.Request) -> None:
            self.worker.seen += 1
            request.headers["X-User"] = request.headers["cookie"] + self.config["suffix"]
            assert (request.method, request.path, request.authority) == ("GET", "/p?q", "h")
            assert request.remote_address == "10.0.0.1:1234"
            self.mine = request.path

        def on_response(self, response: proxeny.Response) -> None:
            response.headers["x-path"] = self.mine
            assert response.request.headers["x-user"] == "é!"
            response.status = 202

    b = bench(Sync, '{"suffix": "!"}')
    stream = b.request(cookie="é")
    assert b.upstream[0][0][b"x-user"] == "é!".encode()
    b.respond(stream)
    assert stream.out == [({b":status": b"202", b"x-path": b"/p?q"}, True)]
    assert b.factory.user_class.worker.seen == 1
    assert b.stat("on_request_us") == b.stat("on_response_us") == 1


def test_untouched_hooks_are_not_in_the_chain(bench: Any) -> None:
    class OnlyResponse(proxeny.HttpFilter):
        def on_response(self, response: proxeny.Response) -> None:
            response.headers["x-method"] = response.request.method

    b = bench(OnlyResponse)
    assert b.chain.decode_headers == (1,)
    assert b.chain.encode_data == ()
    stream = b.request()
    b.respond(stream)
    assert stream.out[0][0][b"x-method"] == b"GET"


def test_headers_mapping() -> None:
    headers = proxeny.Headers(HeaderMap([(b"a", b"1"), (b"b", b"\xff"), (b"a", b"2")]))
    assert headers["A"] == "1,2" and headers.get_all("a") == ["1", "2"]
    assert list(headers) == ["a", "b"] and len(headers) == 2
    headers["b"] = headers["b"]
    assert headers.fields()[1] == ("b", "\udcff")
    del headers["a"]
    assert "a" not in headers and headers.get("a") is None
    with pytest.raises(KeyError):
        del headers["a"]
    headers.add("c", "3")
    assert dict(headers)["c"] == "3"


def test_local_reply(bench: Any) -> None:
    class Deny(proxeny.HttpFilter):
        def on_request(self, request: proxeny.Request) -> None:
            request.respond(401, {"WWW-Authenticate": "Basic"}, "no", details="denied")

    b = bench(Deny)
    stream = b.request()
    assert stream.reply == (401, b"no", {b"www-authenticate": b"Basic"}, "denied")
    assert b.upstream == []
    assert b.stat("local_replies") == 1


def test_exceptions_are_contained(bench: Any, caplog: Any) -> None:
    class Broken(proxeny.HttpFilter):
        def on_request(self, request: proxeny.Request) -> None:
            raise ValueError("oops")

    b = bench(Broken)
    for _ in range(3):
        stream = b.request()
        assert stream.reply == (500, b"", {}, "python_filter_exception")
    assert b.stat("errors") == 3
    assert [record.exc_info[1].args for record in caplog.records] == [("oops",)]


def test_async_hook(bench: Any) -> None:
    class Async(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            current.set("mine")
            await asyncio.sleep(0)
            assert asyncio.current_task() is not None
            request.headers["x-user"] = current.get()

    b = bench(Async)
    stream = b.request(end_stream=False)
    stream.filter_data(Buffer(b"ab"), False)
    stream.filter_data(Buffer(b"c"), True)
    assert b.upstream == []
    b.run_until(lambda: len(b.upstream) == 2)
    assert b.upstream[0][0][b"x-user"] == b"mine"
    assert b.upstream[1] == (b"abc", True)
    assert current.get() == ""
    assert b.stat("on_request_us") == 1


def test_async_whole_body(bench: Any) -> None:
    class Body(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            body = await request.body()
            request.headers["x-length"] = str(len(body))
            request.set_body(body.upper())

    b = bench(Body)
    stream = b.request(end_stream=False, content_length="3")
    b.dispatcher.run_once()
    stream.filter_data(Buffer(b"ab"), False)
    stream.filter_data(Buffer(b"cd"), True)
    b.run_until(lambda: len(b.upstream) == 2)
    assert b.upstream[0][0][b"x-length"] == b"4" == b.upstream[0][0][b"content-length"]
    assert b.upstream[1] == (b"ABCD", True)


def test_async_body_of_a_request_without_one(bench: Any) -> None:
    class Body(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            assert await request.body() == b""
            request.set_body("made up")

    b = bench(Body)
    b.request()
    b.run_until(lambda: len(b.upstream) == 2)
    assert b.upstream[0][0][b"content-length"] == b"7"
    assert b.upstream == [(b.upstream[0][0], False), (b"made up", True)]


def test_async_body_ended_by_trailers(bench: Any) -> None:
    class Body(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            request.headers["x-body"] = (await request.body()).decode()

    b = bench(Body)
    stream = b.request(end_stream=False)
    b.dispatcher.run_once()
    stream.filter_data(Buffer(b"ab"), False)
    stream.filter_trailers(HeaderMap([(b"t", b"1")]))
    b.run_until(lambda: b.upstream and b.upstream[-1] == "trailers")
    assert b.upstream[0][0][b"x-body"] == b"ab"
    assert b.upstream[1:] == [(b"ab", False), "trailers"]


def test_async_exception_and_reply(bench: Any) -> None:
    class Async(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            await asyncio.sleep(0)
            if "deny" in request.headers:
                request.respond(403)
                return
            raise KeyError("x")

    b = bench(Async)
    denied, broken = b.request(deny="1"), b.request()
    b.run_until(lambda: denied.reply and broken.reply)
    assert denied.reply[0] == 403 and broken.reply == (500, b"", {}, "python_filter_exception")
    assert b.stat("errors") == 1


def test_destroyed_streams_cancel_their_tasks(bench: Any) -> None:
    seen: list[str] = []

    class Slow(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

    b = bench(Slow)
    stream = b.request()
    b.dispatcher.run_once()
    stream.destroy_filters()
    b.run_until(lambda: seen)
    assert stream.reply is None and b.stat("errors") == 0


def test_time_budget_of_async_hooks(bench: Any) -> None:
    class Slow(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            await asyncio.Event().wait()

    b = bench(Slow, budget_ms=5)
    stream = b.request()
    b.run_until(lambda: stream.reply)
    assert stream.reply[0] == 500
    assert b.stat("time_budget_exceeded") == b.stat("errors") == 1


def test_time_budget_of_sync_hooks(bench: Any) -> None:
    import time

    class Slow(proxeny.HttpFilter):
        def on_request(self, request: proxeny.Request) -> None:
            time.sleep(0.003)

    b = bench(Slow, budget_ms=1)
    stream = b.request()
    assert stream.reply is None and b.stat("time_budget_exceeded") == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_body_pieces(bench: Any, asynchronous: bool) -> None:
    class Sync(proxeny.HttpFilter):
        def on_request_body(self, request: proxeny.Request, body: bytes, end: bool) -> bytes | None:
            return body.upper() if body else None

    class Async(proxeny.HttpFilter):
        async def on_request_body(self, request: proxeny.Request, body: bytes, end: bool) -> bytes:
            await asyncio.sleep(0)
            return body.upper()

    b = bench(Async if asynchronous else Sync)
    stream = b.request(end_stream=False, content_length="4")
    stream.filter_data(Buffer(b"ab"), False)
    stream.filter_data(Buffer(b"c"), False)
    stream.filter_data(Buffer(b"d"), True)
    b.run_until(lambda: b.upstream[-1][1])
    assert b"content-length" not in b.upstream[0][0]
    assert b"".join(piece for piece, _ in b.upstream[1:]) == b"ABCD"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("trailers", [False, True])
def test_whole_response_body(bench: Any, asynchronous: bool, trailers: bool) -> None:
    class Sync(proxeny.HttpFilter):
        buffer_response_body = True

        def on_response_body(self, response: proxeny.Response, body: bytes, end: bool) -> bytes:
            assert end
            response.headers["x-rewritten"] = "1"
            return body + b"!"

    class Async(proxeny.HttpFilter):
        buffer_response_body = True

        async def on_response(self, response: proxeny.Response) -> None:
            await asyncio.sleep(0)

        async def on_response_body(self, response: proxeny.Response, body: bytes, end: bool) -> bytes:
            await asyncio.sleep(0)
            response.headers["x-rewritten"] = "1"
            return body + b"!"

    b = bench(Async if asynchronous else Sync)
    stream = b.request()
    b.respond(stream, False, content_length="4")
    stream.encode_data(Buffer(b"ab"), False)
    stream.encode_data(Buffer(b"cd"), not trailers)
    if trailers:
        stream.encode_trailers(HeaderMap([(b"t", b"1")]))
    b.run_until(lambda: stream.out and (stream.out[-1] == "trailers" or stream.out[-1][1] is True))
    headers = {b":status": b"200", b"content-length": b"5", b"x-rewritten": b"1"}
    rest: list[Any] = [(b"abcd!", False), "trailers"] if trailers else [(b"abcd!", True)]
    assert stream.out == [(headers, False), *rest]


def test_async_pieces_with_trailers_and_back_pressure(bench: Any) -> None:
    gate = asyncio.Event()

    class Async(proxeny.HttpFilter):
        async def on_request(self, request: proxeny.Request) -> None:
            await gate.wait()

        async def on_request_body(self, request: proxeny.Request, body: bytes, end: bool) -> bytes:
            await asyncio.sleep(0)
            return body

    b = bench(Async)
    stream = b.request(end_stream=False)
    stream.filter_data(Buffer(b"a" * 600), False)
    stream.filter_data(Buffer(b"b" * 600), False)
    assert stream.out == ["pause"]
    stream.filter_trailers(HeaderMap([(b"t", b"1")]))
    gate.set()
    b.run_until(lambda: b.upstream and b.upstream[-1] == "trailers")
    assert stream.out == ["pause", "resume"]
    assert b"".join(piece for piece, _ in b.upstream[1:-1]) == b"a" * 600 + b"b" * 600


def test_per_route_config(bench: Any) -> None:
    class Filter(proxeny.HttpFilter):
        def on_request(self, request: proxeny.Request) -> None:
            request.headers["x-tier"] = request.route_config["tier"]
            assert request.route_name == "the-route"

    b = bench(Filter)
    config = PythonPerRoute()
    config.config.update({"tier": "gold"})
    b.request(route=Route(b.extension.create_route_config(config, b.context)))
    assert b.upstream[0][0][b"x-tier"] == b"gold"
    b.request(route=Route(b.extension.create_route_config(PythonPerRoute(disabled=True), b.context)))
    assert b"x-tier" not in b.upstream[0][0]


def test_responses_of_others_are_seen(bench: Any) -> None:
    class Filter(proxeny.HttpFilter):
        completed: list[str] = []

        def on_request(self, request: proxeny.Request) -> None:
            raise AssertionError("the request did not come by")

        def on_response(self, response: proxeny.Response) -> None:
            response.headers["x-path"] = response.request.path

        def on_complete(self, request: proxeny.Request) -> None:
            self.completed.append(request.path)

    b = bench(Filter)
    stream = b.stream()
    stream.request_headers = HeaderMap([(b":path", b"/early")])
    b.respond(stream)
    assert stream.out[0][0][b"x-path"] == b"/early"
    for position in b.chain.on_stream_complete:
        stream.filters[position].on_stream_complete()
    assert Filter.completed == ["/early"]


def test_plain_stream_filters(bench: Any) -> None:
    class Plain(StreamFilter):
        __slots__ = ()
        config: Any

        def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
            headers.set(b"x-config", self.config["a"].encode())
            return FilterHeadersStatus.CONTINUE

    b = bench(Plain, '{"a": "b"}')
    b.request()
    assert b.upstream[0][0][b"x-config"] == b"b"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nope", "expected 'package.module:Class'"),
        ("no.such.module:X", "cannot be imported: ModuleNotFoundError"),
        ("proxeny:Nope", "cannot be imported: AttributeError"),
        ("collections:OrderedDict", "is neither a proxeny.HttpFilter nor a StreamFilter"),
    ],
)
def test_refusals(path: str, words: str) -> None:
    context = FactoryContext(role="main", stats=MainStore())
    with pytest.raises(ConfigError, match=words):
        PythonExtension().create_filter_factory(Python(filter=path), "http.h.", context)


def test_setup_failure_is_refused(bench: Any) -> None:
    class Broken(proxeny.HttpFilter):
        @classmethod
        def setup(cls, worker: proxeny.Worker) -> None:
            raise OSError("no database")

    with pytest.raises(ConfigError, match="setup failed: OSError: no database"):
        bench(Broken)


def test_a_body_hook_may_answer_or_be_skipped(bench: Any) -> None:
    class Filter(proxeny.HttpFilter):
        buffer_response_body = True

        def on_response(self, response: proxeny.Response) -> None:
            if "skip" in response.headers:
                response.skip_body()

        def on_response_body(self, response: proxeny.Response, body: bytes, end: bool) -> None:
            response.respond(502, body=b"no")

    b = bench(Filter)
    skipped = b.request()
    b.respond(skipped, False, skip="1")
    skipped.encode_data(Buffer(b"x" * 5000), True)
    assert skipped.out[1] == (b"x" * 5000, True) and skipped.reply is None
    answered = b.request()
    b.respond(answered, False)
    answered.encode_data(Buffer(b"x"), True)
    assert answered.reply[0] == 502 and answered.out == []
