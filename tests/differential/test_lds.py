"""The life of listeners under filesystem LDS: the same sequences of files through Envoy and Proxeny."""

import itertools
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.differential.lds import Side, at, echo, greeting, http, listener, source
from tests.differential.proxies import ENVOY, PROXENY

KEEPALIVE = {"level": 1, "name": 9, "int_value": 1, "state": "STATE_PREBIND"}


@dataclass(frozen=True)
class Sequence:
    """A case: `contains` must be found in both transcripts."""

    run: Callable[[Side], None]
    contains: tuple[str, ...]
    drain_s: int = 600
    strategy: str = "gradual"
    config: str = "lds"


CASES: list[Sequence] = []


def case(
    *contains: str, drain_s: int = 600, strategy: str = "gradual", config: str = "lds"
) -> Callable[[Callable[[Side], None]], None]:
    """Make a case of a function."""
    return lambda run: CASES.append(Sequence(run, contains, drain_s, strategy, config))


@case("listener_added: 3", "asked, got b'ping'", "B says b'two'", "v1 updated: True")
def add(side: Side) -> None:
    side.put(listener("one", "A"), listener("two", "B", greeting("two")))
    side.ask(side.connect("A"))
    side.hear("B")
    side.snapshot()


@case("listener_in_place_updated: 2", "total_filter_chains_draining: 1", "A says b'new'")
def in_place(side: Side) -> None:
    stays, goes = echo(**source("127.0.0.1")), echo("goes", **source("127.0.0.2"))
    side.put(listener("one", "A", stays, goes))
    kept, lost = side.connect("A"), side.connect("A", "127.0.0.2")
    side.ask(kept)
    side.ask(lost)
    side.put(listener("one", "A", stays, greeting("new", **source("127.0.0.2"))))
    # Until the drain time is over, chains that are gone serve on.
    side.ask(kept)
    side.ask(lost)
    side.hear("A", "127.0.0.2")
    side.snapshot()
    side.put(listener("one", "A", greeting("new", **source("127.0.0.2")), stays))
    side.snapshot()


@case("then b''", "total_filter_chains_draining: 0", drain_s=1)
def in_place_drain_ends(side: Side) -> None:
    stays = echo(**source("127.0.0.1"))
    side.put(listener("one", "A", stays, echo("goes", **source("127.0.0.2"))))
    kept, lost = side.connect("A"), side.connect("A", "127.0.0.2")
    side.ask(lost)
    side.put(listener("one", "A", stays))
    side.end_of(lost)
    side.drained()
    side.ask(kept)
    side.snapshot()


@case("listener_in_place_updated: 3", "total_filter_chains_draining: 2")
def default_chain(side: Side) -> None:
    port_1 = echo(destination_port=1)
    side.put(listener("one", "A", port_1))
    side.put(listener("one", "A", port_1, default_filter_chain=greeting("default")))
    side.hear("A")
    side.put(listener("one", "A", port_1, default_filter_chain=greeting("other")))
    side.hear("A")
    side.snapshot()
    side.put(listener("one", "A", port_1))
    side.snapshot()


@case("listener_in_place_updated: 0", "listener_modified: 2")
def all_chains_gone_is_a_full_update(side: Side) -> None:
    side.put(listener("one", "A", default_filter_chain=greeting("default")))
    only = listener("one", "A", default_filter_chain=greeting("default"))
    side.put({**only, "filter_chains": []})
    side.hear("A")
    side.put(listener("one", "A", stat_prefix="x"))
    side.snapshot()


@case("draining_state: v1", "active_state: v2", "total_listeners_draining: 1")
def replace(side: Side) -> None:
    side.put(listener("one", "A"))
    old = side.connect("A")
    side.ask(old)
    side.put(listener("one", "A", greeting("new"), stat_prefix="other"))
    side.hear("A")
    side.ask(old)
    side.snapshot()


@case("then b''", "total_listeners_draining: 0", drain_s=1)
def replace_drain_ends(side: Side) -> None:
    side.put(listener("one", "A"))
    old = side.connect("A")
    side.ask(old)
    side.put(listener("one", "A", greeting("new"), stat_prefix="other"))
    side.end_of(old)
    side.drained()
    side.hear("A")
    side.snapshot()


@case("listener_removed: 1", "A refuses", "draining_state: v1")
def remove(side: Side) -> None:
    side.put(listener("one", "A"), listener("two", "B"))
    old = side.connect("A")
    side.ask(old)
    side.put(listener("two", "B"))
    side.refuses("A")
    side.ask(old)
    side.snapshot()


@case("listener_added: 3", "listener_removed: 1", "A says b'two'")
def remove_and_add_at_the_address(side: Side) -> None:
    side.put(listener("one", "A", enable_reuse_port=False))
    old = side.connect("A")
    side.ask(old)
    side.put(listener("two", "A", greeting("two"), enable_reuse_port=False))
    side.hear("A")
    side.ask(old)
    side.snapshot()


@case("listener_modified: 1", "A refuses", "/listeners: .*, one::127.0.0.1:<B>")
def another_address(side: Side) -> None:
    side.put(listener("one", "A"))
    old = side.connect("A")
    side.ask(old)
    side.put(listener("one", "B", greeting("moved")))
    side.hear("B")
    side.refuses("A")
    side.ask(old)
    side.snapshot()


@case("listener_modified: 2", "A says b'z'", "B says b'z'")
def more_addresses(side: Side) -> None:
    side.put(listener("one", "A"))
    more = [{"address": at("B")}]
    side.put(listener("one", "A", greeting("y"), additional_addresses=more))
    side.hear("B")
    side.put(listener("one", "A", greeting("z"), additional_addresses=more, stat_prefix="x"))
    side.hear("A")
    side.hear("B")
    side.snapshot()


@case("lds.update_rejected: 1", "error_state: .*same matching rules", "B says b'good'")
def partly_bad(side: Side) -> None:
    side.put(listener("bad", "A", echo("a"), echo("b")), listener("good", "B", greeting("good")))
    side.hear("B")
    side.snapshot()
    side.put(listener("good", "B", greeting("good")))
    side.snapshot()


@case("has duplicate address '127.0.0.1:<A>'", "duplicate listener one found", "listener_create_failure: 0")
def duplicates(side: Side) -> None:
    side.put(listener("one", "A"))
    side.put(listener("one", "A"), listener("two", "A"))
    side.snapshot()
    side.put(listener("one", "A"), listener("one", "B"))
    side.snapshot()


@case("cannot bind '127.0.0.1:<C>': Address already in use", "listener_create_failure: 1", "listener_modified: 0")
def an_address_that_is_taken(side: Side) -> None:
    side.put(listener("one", "A"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", side.ports["C"]))
        taken.listen()
        side.put(listener("one", "C", stat_prefix="x"))
        side.ask(side.connect("A"))
        side.snapshot()
    side.put(listener("one", "C", stat_prefix="x"))
    side.ask(side.connect("C"))
    side.snapshot()


@case("Listener one: reuse port cannot be changed", "'one' has duplicate address", "listener_modified: 1")
def sockets_that_cannot_change(side: Side) -> None:
    side.put(listener("one", "A", enable_reuse_port=False))
    side.put(listener("one", "A"))
    side.snapshot()
    side.put(listener("one", "A", enable_reuse_port=False, socket_options=[KEEPALIVE]))
    side.snapshot()
    side.put(listener("one", "A", enable_reuse_port=False, tcp_backlog_size=7))
    side.ask(side.connect("A"))
    side.snapshot()


@case("listener_modified: 2", "listener_in_place_updated: 0", "A says b'new'")
def new_socket_options(side: Side) -> None:
    side.put(listener("one", "A"))
    side.put(listener("one", "A", greeting("new"), socket_options=[KEEPALIVE]))
    side.hear("A")
    # true is what unset comes to, but it is another message.
    side.put(listener("one", "A", greeting("new"), socket_options=[KEEPALIVE], enable_reuse_port=True))
    side.hear("A")
    side.snapshot()


@case("lds.update_failure: 2", "lds.update_rejected: 2", "server.dynamic_unknown_fields: 1")
def updates_that_are_no_good(side: Side) -> None:
    side.put(listener("one", "A"))
    side.put(text="{")
    side.put(listener("one", "A", {"filters": [{"name": "f", "typed_config": {"@type": "x/no.Such"}}]}))
    side.snapshot()
    far = {"socket_address": {"address": "127.0.0.1", "port_value": 99999}}
    side.put(listener("two", "B"), {**listener("one", "A"), "address": far})
    side.put({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "c"})
    side.snapshot()
    side.put(listener("one", "A", no_such_field=1, stat_prefix="x"))
    side.ask(side.connect("A"))
    side.snapshot()


@case("1 static", "listener_removed: 1", "lds.update_rejected: 1", "<uuid>")
def static_and_unnamed(side: Side) -> None:
    side.put(listener("static", "A"), listener("one", "B"))
    side.snapshot()
    side.put(listener("", "C"), listener("", "D"))
    side.snapshot()


@case("listener_stopped: 1", "listener_stopped: 4", "asked, got b'still'")
def stop(side: Side) -> None:
    inbound = listener("in", "A", traffic_direction="INBOUND")
    side.put(inbound, listener("out", "B"))
    old = side.connect("A")
    side.ask(old)
    side.post("/drain_listeners?inboundonly")
    side.refuses("A")
    side.wait_until(lambda: side.stat("listener_stopped") == 1)
    side.ask(old, b"still")
    side.put({**inbound, "stat_prefix": "x"}, listener("out", "B"), listener("three", "C"))
    side.snapshot()
    side.post("/drain_listeners")
    side.refuses("B")
    side.wait_until(lambda: side.stat("listener_stopped") == 4)
    side.put(listener("four", "D"))
    side.snapshot()


@case("keep", "close", "listener_stopped: 2", drain_s=1, strategy="immediate")
def graceful_stop(side: Side) -> None:
    side.put(listener("one", "A", http()))
    connection = side.connect("A")
    side.get(connection)
    side.post("/drain_listeners?graceful")
    side.told_to_go(connection)
    # New connections are still served, until the drain time is over.
    side.get(side.connect("A"))
    side.refuses("A")
    side.wait_until(lambda: side.stat("listener_stopped") == 2)
    side.snapshot()


@case("keep", "close", "listener_stopped: 0", strategy="immediate")
def graceful_without_stop(side: Side) -> None:
    side.put(listener("one", "A", http()))
    side.get(side.connect("A"))
    side.post("/drain_listeners?graceful&skip_exit")
    side.told_to_go(side.connect("A"))
    side.get(side.connect("A"))
    # Listeners that come later are not told.
    side.put(listener("one", "A", http()), listener("two", "B", http()))
    side.get(side.connect("B"))
    side.snapshot()


@case("200, close", "200, keep", strategy="immediate")
def http_is_told_to_go(side: Side) -> None:
    side.put(listener("one", "A", http()))
    removed, stays = side.connect("A"), side.connect("A")
    side.get(removed)
    side.get(stays)
    side.put(listener("one", "A", http("renamed")))
    side.get(removed)
    fresh = side.connect("A")
    side.get(fresh)
    replaced = side.connect("A")
    side.get(replaced)
    side.put(listener("one", "A", http("renamed"), stat_prefix="x"))
    side.get(replaced)
    side.get(side.connect("A"))
    side.snapshot()


@case("200, close", "200, keep", drain_s=3)
def a_chain_that_is_gone_drains_bit_by_bit(side: Side) -> None:
    stays = {**http("stays"), "filter_chain_match": source("127.0.0.2")}
    side.put(listener("one", "A", http(), stays))
    old, kept = side.connect("A"), side.connect("A", "127.0.0.2")
    side.get(old)
    side.put(listener("one", "A", http("renamed"), stays))
    side.get(old)
    side.told_to_go(old)
    side.get(kept)


@case("200, keep")
def gradual_is_slow(side: Side) -> None:
    side.put(listener("one", "A", http()))
    old = side.connect("A")
    side.put(listener("one", "A", http(), stat_prefix="x"))
    side.get(old)


@case("200, close", "200, keep")
def drain_type(side: Side) -> None:
    side.put(listener("one", "A", http()), listener("two", "B", http(), drain_type="MODIFY_ONLY"))
    default, modify_only = side.connect("A"), side.connect("B")
    side.get(default)
    side.get(modify_only)
    side.post("/healthcheck/fail")
    side.told_to_go(default)
    side.get(modify_only)
    side.post("/healthcheck/ok")
    side.get(modify_only)


@case("lds.update_attempt: 3")
def only_a_rename_counts(side: Side) -> None:
    side.put(listener("one", "A"))
    file = side.proxy.folder / "lds.yaml"
    file.write_text("{")
    (side.proxy.folder / "other").write_text("x")
    (side.proxy.folder / "other").rename(side.proxy.folder / "another")
    file.unlink()
    side.put(listener("one", "A"))
    side.snapshot()


@case("lds.update_success: 4", "A says b'two'", config="lds_watched")
def a_link_that_is_swapped(side: Side) -> None:
    side.swap(listener("one", "A", greeting("one")))
    side.hear("A")
    side.swap(listener("one", "A", greeting("two")))
    side.hear("A")
    # Whatever is moved into the folder, the file behind the link is read again.
    (side.proxy.folder / "other").write_text("x")
    (side.proxy.folder / "other").rename(side.proxy.folder / "another")
    side.wait_until(lambda: side.stat("lds.update_success") == 4)
    side.snapshot()


@pytest.mark.parametrize("sequence", CASES, ids=lambda sequence: sequence.run.__name__)
def test_lds(sequence: Sequence, tmp_path: Path) -> None:
    args = ("--drain-time-s", str(sequence.drain_s), "--drain-strategy", sequence.strategy)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_transcript, kind, sequence, tmp_path / kind, args) for kind in (ENVOY, PROXENY)]
        envoy, proxeny = (run.result() for run in runs)
    problems = []
    for kind, lines in ((ENVOY, envoy), (PROXENY, proxeny)):
        text = "\n".join(lines)
        problems += [f"{kind} lacks {pattern!r}" for pattern in sequence.contains if not re.search(pattern, text)]
    pairs = itertools.zip_longest(envoy, proxeny, fillvalue="")
    problems += [f"envoy:   {left}\nproxeny: {right}" for left, right in pairs if left != right]
    if problems:
        pytest.fail("\n".join([*problems, "", *proxeny]), pytrace=False)


def _transcript(kind: str, sequence: Sequence, folder: Path, args: tuple[str, ...]) -> list[str]:
    side = Side(kind, folder, args, sequence.config)
    try:
        sequence.run(side)
        if not side.proxy.alive():
            side.note(f"{kind} died:\n{side.proxy.log_tail()}")
        return side.lines
    finally:
        side.close()
