"""The scenarios, and the targets that they must reach (a ratio to Envoy's CPU per request in the same run)."""

from dataclasses import dataclass

from benchmarks.configs import Shape

ALL = ("proxeny", "envoy", "nginx", "haproxy")
PLAIN = Shape()
PYTHON = ("proxeny", "envoy")
"""Envoy has no Python filter: Proxeny with one is compared with Envoy's plain configuration."""

ACCEPT = ("proxeny", "envoy")
"""The peers that have these ways to balance."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table; `kind` says how it is measured: load, accept, handshake, resumed, idle, start."""

    name: str
    title: str
    shape: Shape = PLAIN
    path: str = "/"
    connections: int = 50
    headers: tuple[str, ...] = ()
    streams: int = 0
    """Requests at a time on a connection of HTTP/2; 0: HTTP/1."""
    body: int = 0
    """Bytes that a request carries (HTTP/2 only)."""
    kind: str = "load"
    peers: tuple[str, ...] = ALL
    target: float | None = None
    """The largest ratio to Envoy's CPU per request."""
    p99_target: bool = False
    """Its p99 must not be above Envoy's."""


ROUTES = 10_000
LAST_ROUTE = f"/r{ROUTES - 1}/x"

SCENARIOS = (
    Scenario("small", "http1 small, keep-alive, 50 connections", target=0.50, p99_target=True),
    Scenario("10k", "http1, 10 KB bodies", path="/10k", target=0.55),
    Scenario("1m", "http1, 1 MB bodies", path="/1m", connections=10, target=0.9),
    Scenario("connection", "http1, a connection per request", headers=("Connection: close",), target=0.9),
    Scenario("routes", "10,000 prefix routes, the last hit", Shape(routes=ROUTES), path=LAST_ROUTE, target=0.10),
    Scenario("routes-log", "10,000 prefix routes, access log on", Shape(routes=ROUTES, access_log=True),
             path=LAST_ROUTE),
    Scenario("log", "http1 small, access log on", Shape(access_log=True), target=0.55),
    Scenario("retry-idle", "http1 small, retries configured and idle", Shape(retries=True), target=0.52),
    Scenario("python-sync", "http1 small, one sync Python filter", Shape(python_filter="Sync"), peers=PYTHON,
             target=0.60),
    Scenario("python-async", "http1 small, one async Python filter", Shape(python_filter="Async"), peers=PYTHON),
    Scenario("tcp-small", "tcp, small messages, 50 connections", Shape(mode="tcp"), target=1.1),
    Scenario("tcp-1m", "tcp, 1 MB messages", Shape(mode="tcp"), path="/1m", connections=10, target=0.8),
    Scenario("accept", "new connections, 2 workers, reuse_port", Shape(mode="echo", workers=2), kind="accept",
             peers=ACCEPT, target=0.9),
    Scenario("accept-shared", "new connections, 2 workers, one shared socket",
             Shape(mode="echo", workers=2, balance="shared"), kind="accept", peers=ACCEPT, target=0.9),
    Scenario("accept-exact", "new connections, 2 workers, exact balance",
             Shape(mode="echo", workers=2, balance="exact"), kind="accept", peers=ACCEPT, target=0.9),
    Scenario("h2", "http2 small, 20 connections, 10 streams each", Shape(http2=True), connections=20, streams=10,
             target=0.50),
    Scenario("h2-both", "the same, http2 to the upstream too", Shape(http2=True, upstream="http2"), connections=20,
             streams=10, peers=PYTHON),
    Scenario("h2-1m", "http2, 1 MB answers", Shape(http2=True), path="/1m", connections=4, streams=2, target=1.0),
    Scenario("h2-1m-up", "http2, 1 MB requests", Shape(http2=True), connections=4, streams=2, body=1 << 20,
             target=1.0),
    Scenario("grpc", "grpc unary, 20 connections, 10 streams each", Shape(http2=True, upstream="grpc"), path="/a.B/C",
             connections=20, streams=10, body=17, headers=("content-type: application/grpc", "te: trailers"),
             peers=PYTHON, target=0.55),
    Scenario("tls", "http1 small over TLS 1.3, keep-alive", Shape(tls=True), target=0.50),
    Scenario("tls-h2", "http2 small over TLS 1.3", Shape(tls=True, http2=True), connections=20, streams=10),
    Scenario("tls-handshake", "TLS 1.3 connections, ECDSA P-256, one request", Shape(tls=True), kind="handshake",
             target=1.1),
    Scenario("tls-resumed", "the same, resumed", Shape(tls=True), kind="resumed", target=1.0),
    Scenario("tls-idle", "1,000 idle TLS connections", Shape(tls=True), connections=1000, kind="idle"),
    Scenario("idle", "2,000 idle connections", connections=2000, kind="idle"),
    Scenario("start", "start with 2,000 clusters and 10,000 routes", Shape(routes=ROUTES, clusters=2000), kind="start",
             path=LAST_ROUTE),
)  # fmt: skip

START_TIME_TARGET = 1.5
"""Start-up of the large configuration: at most this many times Envoy's; its memory then at most Envoy's RSS."""


IDLE_TLS_TARGET = 1.5
"""Memory per idle TLS connection: at most this many times Envoy's."""


def select(names: list[str]) -> list[Scenario]:
    """The named scenarios in the table's order; all without names."""
    known = {scenario.name for scenario in SCENARIOS}
    if unknown := set(names) - known:
        raise ValueError(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return [scenario for scenario in SCENARIOS if not names or scenario.name in names]
