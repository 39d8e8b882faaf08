"""Runs scenarios: all peers of a scenario up at once, rounds interleaved, the order rotated from round to round."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accept import AcceptLoad
from benchmarks.configs import make_peer, make_upstream, write_certificate
from benchmarks.handshakes import HandshakeLoad, client_context
from benchmarks.load import IdleConnections, Load, run_h2load, run_wrk
from benchmarks.processes import BenchmarkError, Peer, free_ports
from benchmarks.scenarios import Scenario

Progress = Callable[[str], None]


@dataclass(slots=True)
class Series:
    """All rounds of one peer in one scenario; lists have one entry per round."""

    cpu_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)
    start_rss_mb: list[float] = field(default_factory=list)
    """Before the first request."""
    start_pss_mb: list[float] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often."""

    rounds: int
    seconds: float
    peers: tuple[str, ...]


def run_scenario(scenario: Scenario, options: Options, progress: Progress) -> dict[str, Series]:
    """Every peer's series; a peer that fails carries its error and the others go on."""
    names = [name for name in scenario.peers if name in options.peers]
    results = {name: Series() for name in names}
    with _workspace() as folder, _upstream(folder, scenario.shape.upstream) as upstream:
        if scenario.kind == "start":
            _start_rounds(scenario, options, results, upstream.port, folder, progress)
            return results
        peers: dict[str, Peer] = {}
        try:
            for name, port in zip(names, free_ports(len(names)), strict=True):
                peer = make_peer(name, scenario.shape, port, upstream.port, folder)
                _guarded(results[name], lambda peer=peer, name=name: _start(peer, scenario, results[name]))  # type: ignore[misc]
                peers[name] = peer
            measure = _MEASURES[scenario.kind]
            rounds = 1 if scenario.kind == "idle" else options.rounds
            for number in range(rounds):
                for name in _rotated(names, number):
                    if not results[name].error:
                        progress(f"{scenario.name}: round {number + 1}/{rounds}, {name}")
                        peer = peers[name]
                        _guarded(results[name], lambda peer=peer: measure(peer, scenario, options, results[peer.name]))  # type: ignore[misc]
        finally:
            for peer in peers.values():
                peer.stop()
    return results


def _rotated(names: list[str], number: int) -> list[str]:
    turn = number % len(names) if names else 0
    return names[turn:] + names[:turn]


def _guarded(series: Series, act: Callable[[], None]) -> None:
    try:
        act()
    except (BenchmarkError, OSError) as error:
        series.error = str(error)


def _probe(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()


def _probe_of(scenario: Scenario) -> bytes:
    """What is answered with a line that holds " 200 ": an echo answers with what it is asked; empty: only connect."""
    if scenario.shape.tls or scenario.shape.http2:
        return b""
    return b"is 200 there\r\n" if scenario.shape.mode == "echo" else _probe(scenario.path)


def _start(peer: Peer, scenario: Scenario, series: Series) -> None:
    peer.start()
    series.start_s.append(peer.wait_serving(_probe_of(scenario)))
    rss, pss = peer.memory()
    series.start_rss_mb.append(rss)
    series.start_pss_mb.append(pss)
    if scenario.kind == "load":
        run_load(scenario, peer.port, peer.folder, 1)
    elif scenario.kind != "idle":
        _connections(scenario, peer).run(0.5)


def run_load(scenario: Scenario, port: int, folder: Path, seconds: float) -> Load:
    """Requests to one peer."""
    scheme = "https" if scenario.shape.tls else "http"
    url = f"{scheme}://127.0.0.1:{port}{scenario.path}"
    if not scenario.streams:
        return run_wrk(url, scenario.connections, seconds, scenario.headers)
    body = None
    if scenario.body:
        body = folder / "body"
        # As a message of gRPC: not compressed, its length in four bytes.
        body.write_bytes(b"\0" + (scenario.body - 5).to_bytes(4, "big") + b"x" * (scenario.body - 5))
    return run_h2load(url, scenario.connections, scenario.streams, seconds, scenario.headers, body)


def _load_round(peer: Peer, scenario: Scenario, options: Options, series: Series) -> None:
    before = peer.cpu_seconds()
    load = run_load(scenario, peer.port, peer.folder, options.seconds)
    used = peer.cpu_seconds() - before
    if not load.requests:
        raise BenchmarkError(f"{peer.name} answered nothing")
    series.cpu_us.append(used / load.requests * 1e6)
    series.per_second.append(load.per_second)
    series.p50_ms.append(load.p50)
    series.p99_ms.append(load.p99)
    _memory(peer, series)


def _connections(scenario: Scenario, peer: Peer) -> AcceptLoad | HandshakeLoad:
    if scenario.kind == "accept":
        return AcceptLoad(peer.port)
    return HandshakeLoad(peer.port, client_context(peer.folder), resume=scenario.kind == "resumed")


def _connection_round(peer: Peer, scenario: Scenario, options: Options, series: Series) -> None:
    """CPU per connection; the load generator is one thread, so the proxy is seldom saturated."""
    load = _connections(scenario, peer)
    before = peer.cpu_seconds()
    served = load.run(options.seconds)
    used = peer.cpu_seconds() - before
    if not served:
        raise BenchmarkError(f"{peer.name} served nothing")
    series.cpu_us.append(used / served * 1e6)
    series.per_second.append(served / options.seconds)
    _memory(peer, series)


def _idle_round(peer: Peer, scenario: Scenario, options: Options, series: Series) -> None:
    tls = client_context(peer.folder) if scenario.shape.tls else None
    idle = IdleConnections(peer.port, scenario.connections, scenario.path, tls)
    try:
        _memory(peer, series)
    finally:
        idle.close()


_MEASURES = {
    "accept": _connection_round,
    "handshake": _connection_round,
    "idle": _idle_round,
    "load": _load_round,
    "resumed": _connection_round,
}


def _memory(peer: Peer, series: Series) -> None:
    rss, pss = peer.memory()
    series.rss_mb.append(rss)
    series.pss_mb.append(pss)


def _start_rounds(
    scenario: Scenario, options: Options, results: dict[str, Series], upstream: int, folder: Path, progress: Progress
) -> None:
    """One process at a time, so that nobody's start competes with another's."""
    names = list(results)
    for number in range(options.rounds):
        for name in _rotated(names, number):
            if results[name].error:
                continue
            progress(f"{scenario.name}: round {number + 1}/{options.rounds}, {name}")
            peer = make_peer(name, scenario.shape, free_ports(1)[0], upstream, folder)
            _guarded(results[name], lambda peer=peer: _start_round(peer, scenario, results[peer.name]))  # type: ignore[misc]
            peer.stop()


def _start_round(peer: Peer, scenario: Scenario, series: Series) -> None:
    peer.start()
    series.start_s.append(peer.wait_serving(_probe(scenario.path)))
    _memory(peer, series)


@contextmanager
def _workspace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="proxeny-bench-"))
    folder.chmod(0o777)
    write_certificate(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _upstream(folder: Path, kind: str) -> Iterator[Peer]:
    peer = make_upstream(free_ports(1)[0], folder, kind)
    try:
        peer.start()
        peer.wait_serving(_probe("/") if kind == "http1" else b"")
        yield peer
    finally:
        peer.stop()
