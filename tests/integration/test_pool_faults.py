"""An upstream that ends its idle connections in bursts, under load: no request fails for it."""

import http.client
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.integration.configs import http as http_config

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CLIENTS = 8
REQUESTS = 50
BURST = 40
"""Answers between two bursts."""


class FickleUpstream:
    """Answers at once; now and then ends every connection on which it owes no answer, by FIN or by RST."""

    def __init__(self, reset: bool) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.ended = 0
        self._reset = reset
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        answers = 0
        while not self._stopped:
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self.listener:
                    self._selector.register(self.listener.accept()[0], selectors.EVENT_READ)
                else:
                    answers += self._serve(key.fileobj)
            if answers >= BURST:
                answers = 0
                self._end_idle()

    def _serve(self, connection: socket.socket) -> int:
        try:
            data = connection.recv(65536)
        except ConnectionError:
            data = b""
        if data:
            connection.sendall(OK)
            return 1
        self._forget(connection)
        return 0

    def _end_idle(self) -> None:
        for key in list(self._selector.get_map().values()):
            connection = key.fileobj
            if connection is self.listener or not self._is_idle(connection):
                continue
            if self._reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._forget(connection)
            self.ended += 1

    def _is_idle(self, connection: socket.socket) -> bool:
        """No request has come. One may be on its way: the proxy then retries it, for nothing was answered."""
        connection.setblocking(False)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        finally:
            connection.setblocking(True)
        return False

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        self._stopped = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


@pytest.fixture(params=["fin", "rst"])
def fickle(request: pytest.FixtureRequest) -> Iterator[FickleUpstream]:
    made = FickleUpstream(reset=request.param == "rst")
    yield made
    made.close()


def ask(port: int, statuses: list[int]) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(REQUESTS):
        client.request("GET", "/")
        answer = client.getresponse()
        answer.read()
        statuses.append(answer.status)
    client.close()


def test_idle_connections_that_end_in_bursts(proxy: Start, fickle: FickleUpstream) -> None:
    retries = "route: {cluster: service, retry_policy: {retry_on: reset, num_retries: 5}}"
    config = http_config(fickle.port).replace("route: {cluster: service}", retries)
    # A burst strikes many at a time, more than may be retried at once by default.
    config = config.replace("connect_timeout: 1s", "circuit_breakers: {thresholds: [{max_retries: 100}]}")
    assert retries in config and "max_retries" in config
    running = proxy(config, concurrency=2)
    statuses: list[int] = []
    threads = [threading.Thread(target=ask, args=(running.port("web"), statuses)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * (CLIENTS * REQUESTS)
    assert fickle.ended
    assert running.stat("server.worker_restarts") == 0
    assert running.stat("cluster.service.upstream_rq_active") == 0
    assert running.stat("cluster.service.upstream_rq_pending_active") == 0


def test_connections_that_end_between_requests_are_never_used(proxy: Start, fickle: FickleUpstream) -> None:
    """One client that waits for each end to arrive: without any retry nothing fails."""
    running = proxy(http_config(fickle.port), concurrency=2)
    client = http.client.HTTPConnection("127.0.0.1", running.port("web"), timeout=60)
    for _ in range(5):
        before = fickle.ended
        for _ in range(BURST):
            client.request("GET", "/")
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200
        deadline = time.monotonic() + 30
        while fickle.ended == before or running.stat("cluster.service.upstream_cx_active"):
            assert time.monotonic() < deadline
            time.sleep(0.002)
    client.close()
    assert fickle.ended == 5
    assert running.stat("cluster.service.upstream_cx_destroy_with_active_rq") == 0
