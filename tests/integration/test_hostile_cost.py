"""A hostile request must not cost more than three times a normal one of its size.

Cost is the time that the worker's process ran on a CPU (/proc/PID/schedstat, in nanoseconds), never the clock on the
wall; the smallest of several rounds counts, so that what else the machine does is not charged to the request.
"""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.configs import ADMIN

from proxeny.testing import RunningProxy

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
SIZE = 50_000
ROUNDS = 4
PER_ROUND = 12
MOST = 3.0
SLACK_NS = 200_000
"""What a request may cost in any case: below it the ratio of two small numbers says little."""

CONFIG = f"""{ADMIN}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {HCM}
          stat_prefix: web
          use_remote_address: true
          xff_num_trusted_hops: 1
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD
          strip_any_host_port: true
          internal_address_config: {{cidr_ranges: [{{address_prefix: 10.0.0.0, prefix_len: 8}}]}}
          http_filters: [{{name: r, typed_config: {{"@type": {ROUTER}}}}}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{safe_regex: {{regex: "/(a+)+b"}}}}
                direct_response: {{status: 200}}
              - match: {{prefix: /, query_parameters: [{{name: wanted, string_match: {{exact: "y"}}}}]}}
                direct_response: {{status: 200}}
              - match:
                  prefix: /
                  headers: [{{name: cookie, string_match: {{safe_regex: {{regex: "(.*;)*x=1.*"}}}}}}]
                direct_response: {{status: 200}}
              - match: {{prefix: /}}
                direct_response: {{status: 200}}
"""


def get(path: bytes = b"/", *lines: bytes) -> bytes:
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: a.test", *lines]) + b"\r\n\r\n"


def chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def filled(unit: bytes) -> bytes:
    return unit * (SIZE // len(unit))


NORMAL = get(b"/", b"X-A: " + b"v" * SIZE)
NORMAL_PATH = get(b"/" + b"p" * SIZE)
"""As large where the hostile one is large: the routes' regular expressions read it, too."""
NORMAL_BODY = chunked(b"%x\r\n" % SIZE + b"v" * SIZE + b"\r\n0\r\n\r\n")
HOSTILE = {
    "many_headers": get(b"/", *[b"X-%d: " % number + b"v" * (SIZE // 95) for number in range(90)]),
    "long_path": get(b"/" + b"p" * SIZE),
    "path_dots": get(b"/" + filled(b"../")),
    "path_down_and_up": get(b"/" + filled(b"a/../")),
    "path_one_up_at_the_end": get(b"/" + filled(b"a/") + b".."),
    "path_escaped_dots": get(b"/" + filled(b"%2e%2E/")),
    "path_escapes": get(b"/" + filled(b"%41")),
    "path_bad_escapes": get(b"/" + filled(b"%4")),
    "path_escaped_slashes": get(b"/" + filled(b"%2F%5c")),
    "path_slashes": get(filled(b"/")),
    "path_backslashes": get(b"/" + filled(b"\\")),
    "path_params": get(b"/" + filled(b"..;/")),
    "path_for_a_regex": get(b"/" + filled(b"a") + b"!"),
    "query_parameters": get(b"/?" + filled(b"a=1&")),
    "query_parameters_all_different": get(b"/?" + b"&".join(b"a%d=1" % number for number in range(6000))),
    "query_separators": get(b"/?" + filled(b"&")),
    "cookie_crumbs": get(b"/", b"Cookie: " + filled(b"a=1; ")),
    "cookie_fields": get(b"/", *[b"Cookie: " + b"a=1; " * 100 for _ in range(90)]),
    "forwarded_for": get(b"/", b"X-Forwarded-For: " + filled(b"1.2.3.4, ")),
    "forwarded_for_commas": get(b"/", b"X-Forwarded-For: " + filled(b",")),
    "forwarded_for_fields": get(b"/", *[b"X-Forwarded-For: " + b"1.2.3.4," * 60 for _ in range(90)]),
    "te_list": get(b"/", b"TE: " + filled(b"gzip, ")),
    "expect_list": get(b"/", b"Expect: " + filled(b"x,")),
    "folds": get(b"/", b"X-A: a" + filled(b"\r\n b")),
    "folds_of_many_fields": get(b"/", *[b"X-%d: a" % number + b"\r\n b" * 130 for number in range(90)]),
    "blank_values": get(b"/", b"X-A:" + b" " * SIZE),
    "connection_fields": get(b"/", b"Connection: keep-alive" + b" " * (SIZE - 2000), *[b"Connection:"] * 90),
    "host_fields": get(b"/", *[b"Host: a.test"] * 90),
    "host_port": get(b"/", b"X: 1").replace(b"a.test", b"a.test:" + b"0" * SIZE),
    "nominated_fields": get(b"/", b"Connection: x-a", *[b"X-A: " + b"v" * 500] * 90),
    "request_id": get(b"/", b"X-Request-Id: " + b"-" * SIZE),
}  # fmt: skip
HOSTILE_BODIES = {
    "chunks_of_100_bytes": chunked((b"64\r\n" + b"v" * 100 + b"\r\n") * (SIZE // 106) + b"0\r\n\r\n"),
    "chunk_extensions": chunked((b"1;" + b"x" * 10_000 + b"\r\nv\r\n") * 5 + b"0\r\n\r\n"),
    "trailer_fields": chunked(b"0\r\n" + b"".join(b"t%d: v\r\n" % number for number in range(4000)) + b"\r\n"),
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[RunningProxy]:
    with RunningProxy(CONFIG) as proxy:
        yield proxy


class Client:
    """One keep-alive connection, opened again where a request ended it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> int:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=20)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = self._socket.recv(65536)
            assert more, "closed without an answer"
            answer += more
        if b"connection: close" in answer:
            self.close()
        return int(answer[9:12])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def cost_ns(running: RunningProxy, client: Client, request: bytes) -> float:
    """CPU time of one request, the mean of a round."""
    schedstat = Path(f"/proc/{running.worker_pids()[0]}/schedstat")
    before = int(schedstat.read_text().split()[0])
    for _ in range(PER_ROUND):
        client.ask(request)
    return (int(schedstat.read_text().split()[0]) - before) / PER_ROUND


def compare(running: RunningProxy, normal: bytes, hostile: bytes) -> tuple[float, float]:
    client = Client(running.port("web"))
    client.ask(normal)
    client.ask(hostile)
    rounds = [(cost_ns(running, client, normal), cost_ns(running, client, hostile)) for _ in range(ROUNDS)]
    client.close()
    return min(one for one, _ in rounds), min(other for _, other in rounds)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_head_costs_as_a_normal_one(name: str, running: RunningProxy) -> None:
    ordinary = NORMAL_PATH if name.startswith(("path", "query")) else NORMAL
    normal, hostile = compare(running, ordinary, HOSTILE[name])
    assert hostile <= MOST * normal + SLACK_NS, f"{hostile / 1000:.0f} us, a normal one {normal / 1000:.0f} us"


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_costs_as_a_normal_one(name: str, running: RunningProxy) -> None:
    normal, hostile = compare(running, NORMAL_BODY, HOSTILE_BODIES[name])
    assert hostile <= MOST * normal + SLACK_NS, f"{hostile / 1000:.0f} us, a normal one {normal / 1000:.0f} us"


def growth(running: RunningProxy, build: Callable[[int], bytes]) -> float:
    """How much more four times as much costs."""
    small, large = compare(running, build(SIZE // 4), build(SIZE))
    return large / small


def test_tiny_chunks_cost_in_proportion_to_their_number(running: RunningProxy) -> None:
    """A chunk of one byte is six bytes on the wire and a turn of the parser: dearer than bulk, but linear."""
    assert growth(running, lambda size: chunked(b"1\r\nv\r\n" * (size // 6) + b"0\r\n\r\n")) < 8


def test_thousands_of_connection_options_are_refused_cheaply(running: RunningProxy) -> None:
    normal, hostile = compare(
        running, get(b"/", b"Connection: close", b"X: " + b"v" * SIZE), get(b"/", b"Connection: " + filled(b"x-a,"))
    )
    assert hostile <= MOST * normal + SLACK_NS, f"{hostile / 1000:.0f} us, a normal one {normal / 1000:.0f} us"
