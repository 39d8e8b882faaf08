"""A control plane for tests and small installations: a gRPC server that serves resources and remembers who asked what.

Every client on every stream gets the same resources. ADS and the services of single types are served, each in the
state-of-the-world and in the incremental protocol.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from types import TracebackType
from typing import Any, Final, TypeVar

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from proxeny.testing.xds.protocol import DeltaInterest, Due, Interest, SotwInterest
from proxeny.testing.xds.records import Request, Response, Stream, delta_request, sotw_request
from proxeny.testing.xds.store import Contents, TypeStore, entries_of
from proxeny.testing.xds.types import METHODS, SHORT_NAMES, Method, short_name, type_name_of, type_url

T = TypeVar("T")

WAIT_S: Final = 20.0
_MOST_STREAMS: Final = 4096
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


class NothingCame(AssertionError):
    """What was waited for did not happen; all that did is in the text."""


class _End:
    """The last item of a stream's queue: the status that it ends with."""

    __slots__ = ("code", "details")

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code = code
        self.details = details


class _Live:
    """A stream that is open: what waits to be sent, what the client is interested in, and what it may answer."""

    __slots__ = ("interests", "outbox", "record", "sent")

    def __init__(self, record: Stream) -> None:
        self.record = record
        self.outbox: queue.SimpleQueue[bytes | _End] = queue.SimpleQueue()
        self.interests: dict[str, Interest] = {}
        self.sent: dict[str, dict[str, Response]] = {}
        """By type and nonce: the last response that was answered, and those after it."""

    def answered(self, type_name: str, nonce: str) -> Response | None:
        """The response of this nonce; those before it are forgotten."""
        sent = self.sent.get(type_name, {})
        if nonce in sent:
            for older in list(takewhile(lambda one: one != nonce, sent)):
                del sent[older]
        return sent.get(nonce)


class ControlPlane:
    """Listens on ``host``, at a free port unless one is given; serves from threads until ``close``.

    >>> with ControlPlane() as plane:
    ...     plane.set(CDS, [{"name": "one", "type": "STATIC"}], version="v1")
    ...     start_a_proxy(plane.port)
    ...     plane.wait_for_ack(CDS, "v1")

    ``log`` has everything that happened: ``Stream`` (opened), ``Request``, ``Response``. ``credentials`` make it serve
    TLS. ``identifier`` is what the responses tell of it. ``tell_missing``: an incremental subscription to a name that
    does not exist is answered by its removal.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, credentials: grpc.ServerCredentials | None = None,
        identifier: str = "", tell_missing: bool = True, options: Sequence[tuple[str, Any]] = (),
    ) -> None:  # fmt: skip
        self.host = host
        self.port = port
        self.identifier = identifier
        self.tell_missing = tell_missing
        self.delay_s = 0.0
        """How long every response waits before it leaves."""
        self.log: list[Stream | Request | Response] = []
        self._credentials = credentials
        self._options = [*_OPTIONS, *options]
        self._changed = threading.Condition(threading.RLock())
        self._stores: dict[str, TypeStore] = {}
        self._held: set[str] = set()
        self._refusal: _End | None = None
        self._live: list[_Live] = []
        self._streams = 0
        self._nonces = 0
        self._server: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self.start()

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen (again): at the same port, with the resources that there are."""
        assert self._server is None
        self._pool = ThreadPoolExecutor(_MOST_STREAMS, thread_name_prefix="control-plane")
        self._server = grpc.server(self._pool, options=self._options)
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        address = f"{self.host}:{self.port}"
        if self._credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, self._credentials)
        self._server.start()

    def stop(self) -> None:
        """End all streams and listen no more; ``start`` brings it back."""
        if self._server is not None:
            self._server.stop(None).wait(WAIT_S)
            self._server = None
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def close(self) -> None:
        """As ``stop``, for good."""
        self.stop()

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- resources ---------------------------------------------------------------------------------------------

    def set(self, type_name: str, resources: Contents, version: str | None = None) -> str:
        """Serve these resources of the type and no others; clients hear of it at once. Returns the version.

        Resources are messages, trees of them (as YAML gives), Anys, or ``discovery.v3.Resource`` for a TTL, aliases or
        a version of its own; in a mapping they go by its names. ``version``: a count when it is not given. In the
        incremental protocol a resource that did not change keeps the version that it had.
        """
        entries = entries_of(type_name, resources)
        with self._changed:
            version = self._store(type_name).replace(entries, version)
            self._serve_all(type_name)
        return version

    def update(
        self, type_name: str, resources: Contents = (), removed: Iterable[str] = (), version: str | None = None
    ) -> str:
        """Serve these resources too, in place of those of the same names, and the removed ones no more."""
        fresh = entries_of(type_name, resources)
        with self._changed:
            store = self._store(type_name)
            entries = {**store.entries, **{entry.name: entry for entry in fresh}}
            for name in removed:
                entries.pop(name, None)
            version = store.replace(entries.values(), version)
            self._serve_all(type_name)
        return version

    def served(self, type_name: str) -> tuple[str, ...]:
        """The names of the type's resources."""
        with self._changed:
            return tuple(self._store(type_name).entries)

    def hold(self, *type_names: str) -> None:
        """Answer nothing about these types (none: about all) until they are released."""
        with self._changed:
            self._held.update(type_names or SHORT_NAMES)

    def release(self, *type_names: str) -> None:
        """Answer again, what is due at once."""
        with self._changed:
            for type_name in type_names or tuple(self._held):
                self._held.discard(type_name)
                self._serve_all(type_name)

    # -- by hand -----------------------------------------------------------------------------------------------

    def send(
        self, type_name: str, resources: Contents = (), *, version: str = "", nonce: str | None = None,
        removed: Sequence[str] = (), stream: int | None = None,
    ) -> None:  # fmt: skip
        """Send one response beside the book-keeping, to every stream that asked for the type, or to one."""
        entries = tuple(entries_of(type_name, resources))
        with self._changed:
            for live in self._asking(type_name, stream):
                self._send(live, type_name, Due(version, entries, tuple(removed)), nonce)

    def send_raw(self, type_name: str, data: bytes, *, stream: int | None = None, nonce: str | None = None) -> None:
        """Send bytes as a message, to every stream that asked for the type, or to one.

        ``nonce``: the one in it, when the answer is to count as one to the last response.
        """
        with self._changed:
            for live in self._asking(type_name, stream):
                if nonce is not None:
                    live.interests[type_name].nonce = nonce
                live.outbox.put(data)

    def end_streams(
        self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "", *, type_name: str | None = None
    ) -> None:
        """End the streams that are open (those that asked for a type), with a status."""
        with self._changed:
            for live in list(self._live) if type_name is None else self._asking(type_name, None):
                live.outbox.put(_End(code, details))

    def refuse(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "") -> None:
        """End every stream from now on as soon as it is opened, until ``accept``."""
        with self._changed:
            self._refusal = _End(code, details)

    def accept(self) -> None:
        """Serve new streams again."""
        with self._changed:
            self._refusal = None

    # -- what happened -----------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[Request]:
        """All requests, in the order in which they came."""
        with self._changed:
            return [event for event in self.log if isinstance(event, Request)]

    @property
    def responses(self) -> list[Response]:
        """All responses, in the order in which they were handed over."""
        with self._changed:
            return [event for event in self.log if isinstance(event, Response)]

    @property
    def streams(self) -> list[Stream]:
        """All streams, ended ones too."""
        with self._changed:
            return [event for event in self.log if isinstance(event, Stream)]

    def requests_of(self, type_name: str, since: int = 0) -> list[Request]:
        """Requests for a type, from a ``mark`` on."""
        with self._changed:
            events = self.log[since:]
        return [event for event in events if isinstance(event, Request) and event.type_name == type_name]

    def subscribed(self, type_name: str) -> frozenset[str]:
        """The names that open streams are subscribed to now; ``*`` for everything."""
        with self._changed:
            return frozenset().union(*(live.interests[type_name].names for live in self._asking(type_name, None)))

    def mark(self) -> int:
        """The present, to wait for what comes after it."""
        with self._changed:
            return len(self.log)

    def forget(self) -> None:
        """Remember nothing of what has happened so far; streams stay open."""
        with self._changed:
            self.log.clear()

    def take(self, timeout_s: float = WAIT_S) -> list[Stream | Request | Response]:
        """What has happened, which is forgotten; waited for if it is nothing, which it may stay."""
        with self._changed:
            self._changed.wait_for(lambda: self.log, timeout_s)
            events = list(self.log)
            self.log.clear()
        return events

    def wait(self, condition: Callable[[], T], timeout_s: float = WAIT_S) -> T:
        """What ``condition`` returns, once it is true; asked again after every event. NothingCame if it never is."""
        with self._changed:
            found = self._changed.wait_for(condition, timeout_s)
            if not found:
                raise NothingCame("\n".join(["waited in vain; this happened:", *map(str, self.log)]))
        return found

    def wait_for(
        self, type_name: str, matches: Callable[[Request], bool] = lambda request: True, *, since: int = 0,
        count: int = 1, timeout_s: float = WAIT_S,
    ) -> Request:  # fmt: skip
        """The first request for the type that matches (or the ``count``-th), from a ``mark`` on."""

        def found() -> Request | None:
            those = [request for request in self.requests_of(type_name, since) if matches(request)]
            return those[count - 1] if len(those) >= count else None

        request = self.wait(found, timeout_s)
        assert request is not None
        return request

    def wait_for_ack(self, type_name: str, version: str, *, since: int = 0) -> Request:
        """The request that takes a response of that version."""
        return self.wait_for(type_name, lambda request: request.is_ack and _answers(request, version), since=since)

    def wait_for_nack(self, type_name: str, version: str, *, since: int = 0) -> Request:
        """The request that refuses a response of that version."""
        return self.wait_for(type_name, lambda request: request.is_nack and _answers(request, version), since=since)

    def wait_for_streams(self, count: int) -> list[Stream]:
        """All streams, once there were so many."""
        return self.wait(lambda: self.streams if len(self.streams) >= count else [])

    def wait_until_closed(self) -> None:
        """Wait until no stream is open."""
        self.wait(lambda: not self._live)

    # -- the server's side -------------------------------------------------------------------------------------

    def _opened(self, method: Method, context: Any) -> _Live:
        with self._changed:
            self._streams += 1
            metadata = tuple((item.key, item.value) for item in context.invocation_metadata())
            live = _Live(Stream(self._streams, method, metadata))
            if self._refusal is not None:
                live.outbox.put(self._refusal)
            self._live.append(live)
            self.log.append(live.record)
            self._changed.notify_all()
        if not context.add_callback(lambda: self._ended(live)):
            self._ended(live)
        return live

    def _ended(self, live: _Live) -> None:
        with self._changed:
            live.record.ended = True
            if live in self._live:
                self._live.remove(live)
            live.outbox.put(_End(grpc.StatusCode.OK, ""))
            self._changed.notify_all()

    def _received(self, live: _Live, data: bytes) -> None:
        method = live.record.method
        message: Any = discovery_pb2.DeltaDiscoveryRequest() if method.delta else discovery_pb2.DiscoveryRequest()
        try:
            message.ParseFromString(data)
        except DecodeError:
            live.outbox.put(_End(grpc.StatusCode.INVALID_ARGUMENT, "a request that is none"))
            return
        with self._changed:
            record = delta_request if method.delta else sotw_request
            type_name = type_name_of(message.type_url) or method.type_name
            answers = live.answered(type_name, message.response_nonce)
            request = record(live.record.number, message, type_name, answers)
            if request.node is not None and live.record.node is None:
                live.record.node = request.node
            self.log.append(request)
            interest = live.interests.get(request.type_name)
            if interest is None:
                interest = self._new_interest(method, request.type_name)
                live.interests[request.type_name] = interest
            interest.on_request(request)
            self._serve(live, request.type_name)
            self._changed.notify_all()

    def _new_interest(self, method: Method, type_name: str) -> Interest:
        store = self._store(type_name)
        return DeltaInterest(store, self.tell_missing) if method.delta else SotwInterest(store)

    def _store(self, type_name: str) -> TypeStore:
        if type_name not in self._stores:
            self._stores[type_name] = TypeStore(type_name)
        return self._stores[type_name]

    def _asking(self, type_name: str, stream: int | None) -> list[_Live]:
        return [live for live in self._live if type_name in live.interests and stream in (None, live.record.number)]

    def _serve_all(self, type_name: str) -> None:
        for live in self._asking(type_name, None):
            self._serve(live, type_name)

    def _serve(self, live: _Live, type_name: str) -> None:
        if type_name in self._held:
            return
        due = live.interests[type_name].due()
        if due is not None:
            self._send(live, type_name, due, None)

    def _send(self, live: _Live, type_name: str, due: Due, nonce: str | None) -> None:
        self._nonces += 1
        nonce = f"n{self._nonces}" if nonce is None else nonce
        live.interests[type_name].nonce = nonce
        names = tuple(entry.name for entry in due.entries)
        response = Response(live.record.number, type_name, due.version, nonce, names, due.removed)
        if nonce:
            sent = live.sent.setdefault(type_name, {})
            sent.pop(nonce, None)
            sent[nonce] = response
        self.log.append(response)
        live.outbox.put(self._bytes(live.record.method, type_name, due, nonce))
        self._changed.notify_all()

    def _bytes(self, method: Method, type_name: str, due: Due, nonce: str) -> bytes:
        message: Any
        if method.delta:
            message = discovery_pb2.DeltaDiscoveryResponse(
                type_url=type_url(type_name), system_version_info=due.version, nonce=nonce,
                removed_resources=due.removed, resources=[entry.resource for entry in due.entries],
            )  # fmt: skip
        else:
            message = discovery_pb2.DiscoveryResponse(
                type_url=type_url(type_name), version_info=due.version, nonce=nonce,
                resources=[entry.in_response() for entry in due.entries],
            )  # fmt: skip
        if self.identifier:
            message.control_plane.identifier = self.identifier
        return bytes(message.SerializeToString())

    def __repr__(self) -> str:
        held = f", holds {', '.join(sorted(map(short_name, self._held)))}" if self._held else ""
        return f"<ControlPlane {self.host}:{self.port}, {len(self._live)} streams{held}>"


def _answers(request: Request, version: str) -> bool:
    return request.answers is not None and request.answers.version == version


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the method; messages stay bytes, so that tests may send what no message is."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def service(self, handler_call_details: Any) -> Any:
        method = METHODS.get(handler_call_details.method)
        if method is None:
            return None
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: self._run(method, requests, context))

    def _run(self, method: Method, requests: Any, context: Any) -> Any:
        live = self._plane._opened(method, context)
        threading.Thread(target=self._read, args=(live, requests), daemon=True).start()
        while not isinstance(item := live.outbox.get(), _End):
            if self._plane.delay_s:
                time.sleep(self._plane.delay_s)
            yield item
        context.set_code(item.code)
        context.set_details(item.details)

    def _read(self, live: _Live, requests: Any) -> None:
        try:
            for data in requests:
                self._plane._received(live, data)
        except grpc.RpcError:
            return  # it was reset
        live.outbox.put(_End(grpc.StatusCode.OK, ""))
