"""The parts of the listener plane together: redirection, hand-off, exact balance, listener filters, limits, updates and
deaths, through the real command with real traffic."""

import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_listener_updates import ECHO, Lds, chain, ended, flood, free_port, greeting, listener
from tests.integration.test_workers import wait_until
from tests.unit.headers_of_proxies import V1, ipv4, tlv, v2
from tests.unit.hellos import hello, real_hello, server_name

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
Serve = Callable[..., Lds]
Client = socket.socket

EXACT = {"connection_balance_config": {"exact_balance": {}}}
FILTERS = "type.googleapis.com/envoy.extensions.filters.listener"
KINDS = {
    "proxy_protocol": "proxy_protocol.v3.ProxyProtocol",
    "tls_inspector": "tls_inspector.v3.TlsInspector",
    "http_inspector": "http_inspector.v3.HttpInspector",
    "original_dst": "original_dst.v3.OriginalDst",
    "local_ratelimit": "local_ratelimit.v3.LocalRateLimit",
}
PORT = 80
"""Of the listeners that do not bind."""


def filters(*names: str, **more: Any) -> dict[str, Any]:
    """A listener's fields with these listener filters."""
    made = []
    for name in names:
        config: dict[str, Any] = {"@type": f"{FILTERS}.{KINDS[name]}"}
        if name == "local_ratelimit":
            bucket = {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"}
            config |= {"stat_prefix": "rate", "token_bucket": bucket}
        if name == "proxy_protocol":
            config |= {"allow_requests_without_proxy_protocol": True}
        made.append({"name": f"envoy.filters.listener.{name}", "typed_config": config})
    return {"listener_filters": made, **more}


def redirect(port: int, *names: str, **more: Any) -> dict[str, Any]:
    """Restores the address of the PROXY header and hands connections off."""
    fields = filters("proxy_protocol", *names, use_original_dst=True, stat_prefix="redirect", **more)
    return listener("redirect", port, chain(greeting("nobody's")), **fields)


def behind(address: str, *chains: dict[str, Any], name: str = "behind", **more: Any) -> dict[str, Any]:
    """A listener that does not bind."""
    made = listener(name, PORT, *chains, **{"bind_to_port": False, "stat_prefix": name, **more})
    made["address"]["socket_address"]["address"] = address
    return made


def going_to(address: str, port: int = PORT, source: str = "10.9.9.9") -> bytes:
    """The PROXY header of a connection that was going there."""
    family = "TCP6" if ":" in address else "TCP4"
    return f"PROXY {family} {'fd00::9' if ':' in address else source} {address} 4000 {port}\r\n".encode()


def text_of(client: Client) -> bytes:
    """All that comes until the end."""
    data = b""
    try:
        while more := client.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def exactly(client: Client, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def held(lds: Lds, port: int, sent: bytes, echo: bytes) -> Client:
    """A connection that is served and stays."""
    client = lds.connect(port)
    client.sendall(sent)
    assert exactly(client, len(echo)) == echo
    return client


def per_worker(running: RunningProxy, prefix: str, stat: str = "downstream_cx_active") -> list[int]:
    lines = running.admin(rf"/stats?filter=^listener[.]{prefix}[.]worker_\d[.]{stat}$").splitlines()
    return [int(line.rpartition(": ")[2]) for line in sorted(lines)]


def even(counts: list[int], total: int) -> bool:
    return sum(counts) == total and max(counts) - min(counts) <= 1


def evenly(lds: Lds, prefix: str, total: int, open_one: Callable[[], Client]) -> list[Client]:
    """The first connections of a listener, evenly spread: tried again until a new worker serves."""
    made: list[Client] = []

    def opened() -> bool:
        for client in made:
            client.close()
        wait_until(lambda: sum(per_worker(lds.running, prefix)) == 0, "connections did not end")
        made[:] = [open_one() for _ in range(total)]
        counts = per_worker(lds.running, prefix)
        assert sum(counts) == total
        return even(counts, total)

    wait_until(opened, "connections are not spread evenly")
    return made


def is_quiet(running: RunningProxy) -> bool:
    """Whether no listener has sockets or connections."""
    lines = running.admin("/stats?filter=^listener[.].*downstream(_pre)?_cx_active$").splitlines()
    return all(line.endswith(": 0") for line in lines if not line.startswith("listener.admin."))


def log_to(path: Path, line: str) -> dict[str, Any]:
    """An access log of such lines."""
    config = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {"text_format_source": {"inline_string": line + "\n"}},
    }
    return {"name": "envoy.access_loggers.file", "typed_config": config}


def logged(lds: Lds, path: Path, lines: int) -> list[str]:
    """So many lines, sorted."""
    wait_until(lambda: is_quiet(lds.running), "something is left")
    lds.running.signal(signal.SIGUSR1)  # writes them out
    wait_until(lambda: len(path.read_text().splitlines()) == lines, "lines are missing")
    return sorted(path.read_text().splitlines())


def kill_one(running: RunningProxy, index: int) -> None:
    """Kill a worker; wait for its successor."""
    victim = running.worker_pids()[index]
    restarts = running.stat("server.worker_restarts")
    count = len(running.worker_pids())
    os.kill(victim, signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", restarts + 1)
    wait_until(lambda: len(running.worker_pids()) == count and victim not in running.worker_pids(), "no new worker")


def descriptors(running: RunningProxy) -> list[int]:
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (running.process.pid, *running.worker_pids())]


@pytest.fixture
def serve(proxy: Start, tmp_path: Path) -> Iterator[Serve]:
    """``serve(*listeners)``: a proxy with these listeners by filesystem LDS; its clients are closed at the end."""
    made: list[Lds] = []

    def run(
        *listeners: dict[str, Any], concurrency: int = 2, drain_s: int = 600, strategy: str = "gradual", more: str = ""
    ) -> Lds:
        one = Lds.__new__(Lds)
        one.path, one.version, one.clients = tmp_path / "lds.json", 0, []
        one.write(*listeners)
        config = BOOTSTRAP.format(path=one.path) + more
        args = ("--drain-time-s", str(drain_s), "--drain-strategy", strategy)
        one.running = proxy(config, args=args, concurrency=concurrency)
        made.append(one)
        return one

    yield run
    for lds in made:
        for client in lds.clients:
            client.close()


BOOTSTRAP = """
node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
dynamic_resources:
  lds_config: {{resource_api_version: V3, path_config_source: {{path: "{path}"}}}}
"""


def limited(**limits: int) -> str:
    """A runtime with connection limits by listener name."""
    entries = ", ".join(
        f"envoy.resource_limits.listener.{name}.connection_limit: {most}" for name, most in limits.items()
    )
    return f"layered_runtime: {{layers: [{{name: s, static_layer: {{{entries}}}}}]}}\n"


# -- hand-off and balance ------------------------------------------------------------------------------------------


def test_connections_handed_off_are_balanced_and_filtered_again(serve: Serve) -> None:
    by_name = chain(ECHO, name="named", server_names=["a.test"])
    by_protocol = chain(greeting("http"), name="http", application_protocols=["http/1.1"])
    inner = behind("10.1.2.3", by_name, by_protocol, **EXACT, **filters("tls_inspector", "http_inspector"))
    port = free_port()
    lds = serve(redirect(port), inner, concurrency=4)
    tls = hello(server_name(b"a.test"))
    clients = [held(lds, port, going_to("10.1.2.3") + tls, tls) for _ in range(202)]
    assert even(per_worker(lds.running, "behind"), 202)
    assert per_worker(lds.running, "redirect") == [0] * 4
    plain = lds.connect(port)
    plain.sendall(going_to("10.1.2.3") + b"GET / HTTP/1.1\r\n\r\n")
    assert text_of(plain) == b"http"
    elsewhere = lds.connect(port)
    elsewhere.sendall(going_to("10.1.2.4") + tls)
    assert text_of(elsewhere) == b"nobody's"
    for client in clients[::3]:
        client.close()
    wait_until(lambda: sum(per_worker(lds.running, "behind")) == 134, "connections did not end")
    clients = [*clients[1::3], *clients[2::3], *(held(lds, port, going_to("10.1.2.3") + tls, tls) for _ in range(66))]
    assert even(per_worker(lds.running, "behind"), 200)
    for client in clients:
        client.close()
    wait_until(lambda: is_quiet(lds.running), "something is left")
    assert lds.running.stat("listener.behind.downstream_cx_total") == 202 + 66 + 1
    assert lds.running.stat("listener.redirect.downstream_cx_total") == 1


@pytest.mark.parametrize("first", [EXACT, {}], ids=["both balance", "the second balances"])
def test_what_the_first_listeners_filters_found_goes_along(serve: Serve, first: dict[str, Any], tmp_path: Path) -> None:
    found = "%REQUESTED_SERVER_NAME% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %FILTER_CHAIN_NAME%"
    log = log_to(tmp_path / "log", found)
    inner = behind("10.1.2.3", chain(ECHO, name="named", server_names=["a.test"]), **EXACT, access_log=[log])
    port = free_port()
    lds = serve(redirect(port, "tls_inspector", **first), inner, concurrency=4)
    tls = hello(server_name(b"a.test"))
    clients = [held(lds, port, going_to("10.1.2.3", source=f"10.0.0.{n}") + tls, tls) for n in range(1, 41)]
    assert even(per_worker(lds.running, "behind"), 40)
    for client in clients:
        client.close()
    wait_until(lambda: is_quiet(lds.running), "something is left")
    assert logged(lds, tmp_path / "log", 40) == sorted(
        f"a.test 10.0.0.{n}:4000 10.1.2.3:80 named" for n in range(1, 41)
    )


def test_metadata_of_listener_filters_stays_behind_at_a_hand_off(serve: Serve, tmp_path: Path) -> None:
    """As in Envoy 1.40: addresses and what the socket says go along, dynamic metadata do not."""
    found = "%DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol:found)% %DOWNSTREAM_LOCAL_ADDRESS%"
    log = log_to(tmp_path / "log", found)
    port = free_port()
    outer = redirect(port, access_log=[log], **EXACT)
    outer["listener_filters"][0]["typed_config"]["rules"] = [{"tlv_type": 0xE0, "on_tlv_present": {"key": "found"}}]
    lds = serve(outer, behind("5.6.7.8", chain(greeting("inner")), access_log=[log], **EXACT))
    for destination, answer in {"5.6.7.8": b"inner", "5.6.7.9": b"nobody's"}.items():
        client = lds.connect(port)
        client.sendall(v2(ipv4("1.2.3.4", destination, (4000, PORT)), tlv(0xE0, b"value")))
        assert text_of(client) == answer
    assert logged(lds, tmp_path / "log", 2) == ["- 5.6.7.8:80", "value 5.6.7.9:80"]


def test_dual_stack_hand_off(serve: Serve) -> None:
    wildcard = behind("::", chain(greeting("dual")), name="dual", **EXACT)
    wildcard["address"]["socket_address"]["ipv4_compat"] = True
    six = behind("fd00::1", chain(greeting("six")), name="six", **EXACT)
    four = behind("10.0.0.4", chain(greeting("four")), name="four", **EXACT)
    port = free_port()
    lds = serve(redirect(port), wildcard, six, four, concurrency=2)
    for address, answer in {"fd00::1": b"six", "fd00::2": b"dual", "10.0.0.4": b"four", "10.0.0.5": b"dual"}.items():
        for _ in range(4):
            client = lds.connect(port)
            client.sendall(going_to(address))
            assert text_of(client) == answer, address
        client = lds.connect(port)
        client.sendall(going_to(address, PORT + 1))
        assert text_of(client) == b"nobody's"
    wait_until(lambda: is_quiet(lds.running), "something is left")
    assert sum(per_worker(lds.running, "dual", "downstream_cx_total")) == 8


# -- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, filters("tls_inspector")], ids=["plain", "filters"])
def test_limits_with_exact_balance_never_leak(serve: Serve, fields: dict[str, Any]) -> None:
    port = free_port()
    lds = serve(listener("one", port, stat_prefix="one", **EXACT, **fields), concurrency=3, more=limited(one=30))

    def served(tries: int) -> list[Client]:
        clients = [lds.connect(port) for _ in range(tries)]
        for client in clients:
            client.sendall(b"hello")
        kept = []
        for client in clients:
            try:
                if exactly(client, 5) == b"hello":
                    kept.append(client)
            except ConnectionError:
                pass
        return kept

    for index in (0, 2, 1):
        evenly(lds, "one", 30, lambda: held(lds, port, b"hello", b"hello"))
        assert served(10) == []
        waiting = [lds.connect(port) for _ in range(5)]
        # Ten connections are with the one that dies.
        kill_one(lds.running, index)
        wait_until(lambda: lds.running.stat("listener.one.downstream_cx_active") == 20, "dead connections count")
        assert len(served(20)) == 10
        for client in lds.clients:
            client.close()
        assert all(client.fileno() < 0 for client in waiting)
        lds.clients.clear()
        wait_until(lambda: is_quiet(lds.running), "something is left")


def test_limits_with_hand_off_never_leak(serve: Serve) -> None:
    port = free_port()
    inner = behind("10.1.2.3", **EXACT)
    lds = serve(redirect(port, **EXACT), inner, concurrency=2, more=limited(redirect=20))
    for index in (0, 1):
        # Handed off they do not count here any more: the limit is that of who accepts.
        clients = evenly(lds, "behind", 50, lambda: held(lds, port, going_to("10.1.2.3") + b"x", b"x"))
        waiting = [lds.connect(port) for _ in range(20)]
        wait_until(lambda: lds.running.stat("listener.redirect.downstream_pre_cx_active") == 20, "they do not wait")
        refused = lds.connect(port)
        assert ended(refused)
        # Half of those that wait in a filter, and half of the connections, die.
        kill_one(lds.running, index)
        wait_until(lambda: lds.running.stat("listener.redirect.downstream_pre_cx_active") == 10, "the dead count")
        for client in waiting:
            client.close()
        more = [lds.connect(port) for _ in range(20)]
        wait_until(lambda: lds.running.stat("listener.redirect.downstream_pre_cx_active") == 20, "no room for all")
        for client in [*clients, *more]:
            client.close()
        wait_until(lambda: is_quiet(lds.running), "something is left")


# -- updates -------------------------------------------------------------------------------------------------------


def test_two_hundred_updates_with_exact_balance(serve: Serve) -> None:
    port = free_port()
    lds = serve(listener("one", port, stat_prefix="one", **EXACT), concurrency=3, drain_s=0)

    def generation(number: int) -> dict[str, Any]:
        extra = chain(greeting("x"), name=f"n{number}", destination_port=1)
        return listener(
            "one",
            port,
            chain(ECHO),
            extra,
            stat_prefix="one",
            **EXACT,
            per_connection_buffer_limit_bytes=number // 4 + 1000,
        )

    with flood(port) as problems:
        for number in range(20):
            lds.put(generation(number))
        # The drain time is over at once, so a client may lose its connection; nothing may be left of it.
    assert not [text for text in problems if "Refused" in text]
    wait_until(lambda: lds.stat("total_listeners_draining") == 0, "listeners still drain")
    wait_until(lambda: lds.stat("total_filter_chains_draining") == 0, "chains still drain")
    wait_until(lambda: is_quiet(lds.running), "something is left")
    before = descriptors(lds.running)
    for number in range(20, 200):
        lds.write(generation(number))
        lds.wait_for("lds.update_success", number + 2)
    wait_until(lambda: lds.stat("total_listeners_warming") == 0, "listeners still warm")
    wait_until(lambda: lds.stat("total_listeners_draining") == 0, "listeners still drain")
    wait_until(lambda: lds.stat("total_filter_chains_draining") == 0, "chains still drain")
    wait_until(lambda: descriptors(lds.running) == before, f"descriptors: {before}, then {descriptors(lds.running)}")
    for _ in range(90):
        held(lds, port, b"x", b"x")
    assert even(per_worker(lds.running, "one"), 90)
    assert "Traceback" not in lds.running.log()


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "replaced"])
def test_sockets_in_flight_while_the_generation_changes(serve: Serve, in_place: bool) -> None:
    port = free_port()
    lds = serve(listener("one", port, stat_prefix="one", **EXACT), concurrency=2)
    victim, _ = lds.running.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    # While its heart counts as fresh the other hands to it: these wait in its inbox, and the kernel's in its queue.
    waiting = [lds.connect(port) for _ in range(300)]
    for client in waiting:
        client.sendall(b"two")
    wait_until(lambda: sum(per_worker(lds.running, "one")) >= 50, "the other does not accept")
    change = {} if in_place else {"per_connection_buffer_limit_bytes": 5000}
    extra = chain(greeting("x"), name="other", destination_port=1)
    lds.write(listener("one", port, chain(ECHO), extra, stat_prefix="one", **EXACT, **change))
    lds.wait_for("lds.update_success", 2)
    os.kill(victim, signal.SIGCONT)
    assert [exactly(client, 3) for client in waiting] == [b"two"] * 300
    wait_until(lambda: lds.stat("total_listeners_warming") == 0, "the update hangs")
    # A replaced listener keeps its own books until its connections are gone.
    for client in waiting:
        client.close()
    wait_until(lambda: is_quiet(lds.running), "something is left")
    for _ in range(40):
        held(lds, port, b"x", b"x")
    assert per_worker(lds.running, "one") == [20, 20]


def test_a_listener_is_removed_while_sockets_wait_in_its_filters(serve: Serve) -> None:
    port, other = free_port(), free_port()
    inner = behind("10.1.2.3", **EXACT, **filters("tls_inspector"))
    rest = [redirect(other), listener("rest", port)]
    lds = serve(*rest, inner, concurrency=2, drain_s=1, strategy="immediate")
    tls = hello(server_name(b"a.test"))
    waiting = [lds.connect(other) for _ in range(40)]
    for client in waiting:
        client.sendall(going_to("10.1.2.3") + tls[:20])
    wait_until(lambda: lds.running.stat("listener.behind.downstream_pre_cx_active") == 40, "they do not wait")
    lds.put(*rest)
    # Those that get through their filters before the drain time is over are still served.
    waiting[0].sendall(tls[20:])
    assert exactly(waiting[0], len(tls)) == tls
    late = lds.connect(other)
    late.sendall(going_to("10.1.2.3") + tls)
    assert text_of(late) == b"nobody's"
    assert [ended(client) for client in waiting] == [True] * 40
    wait_until(lambda: lds.stat("total_listeners_draining") == 0, "it still drains")
    lds.put(*rest, inner)
    for _ in range(20):
        held(lds, other, going_to("10.1.2.3") + tls, tls)
    assert per_worker(lds.running, "behind") == [10, 10]
    assert "Traceback" not in lds.running.log()


def test_workers_die_in_the_middle_of_everything(serve: Serve) -> None:
    port = free_port()
    tls = hello(server_name(b"a.test"))

    def listeners(number: int) -> list[dict[str, Any]]:
        extra = chain(greeting("x"), name=f"n{number}", destination_port=1)
        size = {"per_connection_buffer_limit_bytes": number // 2 + 1000}
        inner = behind("10.1.2.3", chain(ECHO), extra, **EXACT, **filters("tls_inspector"), **size)
        return [redirect(port, "tls_inspector", **EXACT), inner]

    lds = serve(*listeners(0), concurrency=3, drain_s=1, strategy="immediate")
    stop = threading.Event()

    def traffic(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    data = going_to("10.1.2.3") + tls
                    client.sendall(data[: chance.choice((0, 10, 40, 60, len(data)))])
                    if chance.random() < 0.1:
                        client.recv(1)
            except OSError:
                pass

    threads = [threading.Thread(target=traffic, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 7):
            lds.write(*listeners(number))
            kill_one(lds.running, number % 3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    wait_until(lambda: lds.stat("total_listeners_warming") == 0, "an update hangs")
    wait_until(lambda: lds.stat("total_listeners_draining") == 0, "listeners still drain")
    wait_until(lambda: is_quiet(lds.running), "something is left")
    evenly(lds, "behind", 90, lambda: held(lds, port, going_to("10.1.2.3") + tls, tls))
    assert "Traceback" not in lds.running.log()
    assert lds.running.stop() == 0


# -- sockets -------------------------------------------------------------------------------------------------------


def test_unix_sockets_with_exact_balance(serve: Serve, tmp_path: Path) -> None:
    made = listener("pipe", 0, stat_prefix="pipe", **EXACT)
    made["address"] = {"pipe": {"path": str(tmp_path / "socket")}}
    lds = serve(made, concurrency=3)
    for _ in range(61):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        lds.clients.append(client)
        client.connect(str(tmp_path / "socket"))
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    assert even(per_worker(lds.running, "pipe"), 61)


def test_one_port_with_two_addresses_and_udp_beside_tcp(serve: Serve) -> None:
    port = free_port()
    second = listener("two", port, chain(greeting("two")), stat_prefix="two", **EXACT)
    second["address"]["socket_address"]["address"] = "127.0.0.2"
    third = listener("udp", port)
    del third["filter_chains"]
    third["address"]["socket_address"]["protocol"] = "UDP"
    third["stat_prefix"] = "udp"
    first = listener("one", port, stat_prefix="one", **EXACT)
    lds = serve(first, second, third, concurrency=2)
    for _ in range(10):
        held(lds, port, b"x", b"x")
        with socket.create_connection(("127.0.0.2", port), timeout=20) as client:
            assert text_of(client) == b"two"
    assert per_worker(lds.running, "one") == [5, 5]
    assert lds.stat("total_listeners_active") == 3
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(("127.0.0.1", port))
        datagrams.send(b"x")
    lds.put(first, second)
    assert lds.stat("total_listeners_active") == 2
    held(lds, port, b"x", b"x")


def test_one_shared_socket_outlives_its_workers(serve: Serve) -> None:
    port = free_port()
    lds = serve(listener("one", port, stat_prefix="one", enable_reuse_port=False, **EXACT), concurrency=2)
    for _ in range(3):
        pids = lds.running.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        waiting = [lds.connect(port) for _ in range(50)]
        for client in waiting:
            client.sendall(b"two")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert [exactly(client, 3) for client in waiting] == [b"two"] * 50
        for client in waiting:
            client.close()
        wait_until(lambda: is_quiet(lds.running), "something is left")
        wait_until(lambda: len(lds.running.worker_pids()) == 2, "no new workers")


# -- hostile bytes -------------------------------------------------------------------------------------------------

ORDERS = [
    ("proxy_protocol", "tls_inspector", "http_inspector", "local_ratelimit", "original_dst"),
    ("original_dst", "http_inspector", "tls_inspector", "proxy_protocol"),
    ("local_ratelimit", "tls_inspector", "proxy_protocol", "http_inspector"),
]
GOOD = [
    real_hello(),
    V1 + hello(server_name(b"a.test")),
    v2(ipv4(), tlv(1, b"h2"), tlv(0xE0, b"x" * 30)) + b"GET / HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    V1 + b"OPTIONS * HTTP/1.0\r\n",
]


@pytest.mark.parametrize("order", ORDERS, ids=["-".join(name[:2] for name in order) for order in ORDERS])
def test_truncated_beginnings_at_every_point_leave_nothing(serve: Serve, order: tuple[str, ...]) -> None:
    port = free_port()
    fields = filters(*order, stat_prefix="one", listener_filters_timeout="10s", use_original_dst=True, **EXACT)
    lds = serve(listener("one", port, **fields), concurrency=2)
    for _ in range(4):
        held(lds, port, b"hello\n", b"hello\n").close()
    wait_until(lambda: is_quiet(lds.running), "something is left")
    pids, before = lds.running.worker_pids(), descriptors(lds.running)

    def attack(number: int) -> None:
        data = GOOD[number % len(GOOD)]
        at = number // len(GOOD) % (len(data) + 1)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            try:
                client.sendall(data[:at])
                if number % 3 == 0:  # RST
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                elif number % 3 == 1:  # FIN, and the answer to it
                    client.shutdown(socket.SHUT_WR)
                    text_of(client)
            except OSError:
                pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attack, range(len(GOOD) * 320)))
    wait_until(lambda: is_quiet(lds.running), "something is left")
    wait_until(lambda: descriptors(lds.running) == before, f"descriptors: {before}, then {descriptors(lds.running)}")
    assert lds.running.worker_pids() == pids
    assert "Traceback" not in lds.running.log()
