"""``proxeny explain connection`` and ``POST /explain``: explanations agree with what the running proxy does."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
TYPE = "type.googleapis.com/envoy.extensions.filters"


def reply(name: str, match: str) -> str:
    config = f'{{"@type": {TYPE}.network.direct_response.v3.Config, response: {{inline_string: {name}}}}}'
    return f"{{name: {name}, filter_chain_match: {match}, filters: [{{name: reply, typed_config: {config}}}]}}"


CONFIG = f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: chains
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    listener_filters:
    - name: envoy.filters.listener.proxy_protocol
      typed_config:
        "@type": {TYPE}.listener.proxy_protocol.v3.ProxyProtocol
        allow_requests_without_proxy_protocol: true
    filter_chains:
    - {reply("two", "{source_prefix_ranges: [{address_prefix: 127.0.0.2, prefix_len: 32}]}")}
    - {reply("local", "{source_type: SAME_IP_OR_LOOPBACK}")}
    - {reply("wide", "{source_prefix_ranges: [{address_prefix: 127.0.0.0, prefix_len: 30}]}")}
"""


def hidden(name: str, address: str, port: int) -> str:
    return f"""
  - name: {name}
    bind_to_port: false
    address: {{socket_address: {{address: "{address}", port_value: {port}}}}}
    filter_chains:
    - {reply(name, "{}")}
    - {reply(name + "_ten", "{source_prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}")}"""


HAND_OFF = f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: entry
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    use_original_dst: true
    listener_filters:
    - name: envoy.filters.listener.proxy_protocol
      typed_config: {{"@type": {TYPE}.listener.proxy_protocol.v3.ProxyProtocol}}
    filter_chains:
    - {reply("entry", "{}")}
{hidden("exact", "10.0.0.1", 80)}
{hidden("wildcard", "0.0.0.0", 80)}
{hidden("six", "::", 81)}
"""


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxeny", "explain", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        check=False,
    )


def asked(port: int, source: str, sends: bytes = b"GET / HTTP/1.1\r\n\r\n") -> str:
    """What the proxy answers to a client at ``source``, which by default sends what is no PROXY header."""
    with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as client:
        client.settimeout(10)
        client.sendall(sends)
        data = b""
        try:
            while more := client.recv(100):
                data += more
        except ConnectionResetError:
            pass
        return data.decode()


@pytest.mark.parametrize(
    ("source", "chain"), [("127.0.0.1", "local"), ("127.0.0.2", "two"), ("127.0.0.3", "wide"), ("127.0.0.9", None)]
)
def test_the_running_proxy_does_what_it_explains(proxy: Start, source: str, chain: str | None) -> None:
    running = proxy(CONFIG)
    port = running.port("chains")
    assert asked(port, source) == (chain or "")
    value = json.loads(running.admin(f"/explain?src={source}:1000&dst=127.0.0.1:{port}&format=json", "POST"))
    assert value["accepted"] == {"listener": "chains", "how": "exact", "why": f"it listens on 127.0.0.1:{port}"}
    assert value["filter_chain"]["name"] == chain
    if chain is None:
        assert running.stat("listener.127.0.0.1_0.no_filter_chain_match") == 1


@pytest.mark.parametrize(
    ("source", "destination", "how", "chain"),
    [
        ("192.0.2.1:9", "10.0.0.1:80", "exact", "exact"),
        ("10.0.0.9:9", "10.0.0.1:80", "exact", "exact_ten"),
        ("10.0.0.9:9", "10.0.0.2:80", "wildcard", "wildcard_ten"),
        ("192.0.2.1:9", "10.0.0.1:82", "stays", "entry"),
        ("[2001:db8::1]:9", "[2001:db8::2]:81", "wildcard", "six"),
        ("[2001:db8::1]:9", "[2001:db8::2]:80", "stays", "entry"),
    ],
)
def test_hand_off_is_explained_as_it_happens(proxy: Start, source: str, destination: str, how: str, chain: str) -> None:
    running = proxy(HAND_OFF)
    (from_ip, from_port), (to_ip, to_port) = (text.rsplit(":", 1) for text in (source, destination))
    family = "TCP6" if "[" in source else "TCP4"
    header = f"PROXY {family} {from_ip.strip('[]')} {to_ip.strip('[]')} {from_port} {to_port}\r\n"
    assert asked(running.port("entry"), "127.0.0.1", header.encode()) == chain
    # Nothing is redirected here: the PROXY header stands for the kernel's part.
    value = json.loads(running.admin(f"/explain?src={source}&dst={destination}&format=json", "POST"))
    assert (value["accepted"]["listener"], value["accepted"]["how"]) == ("entry", "captured")
    assert (value["handed_off"]["how"], value["filter_chain"]["name"]) == (how, chain)


def test_the_admin_page_wants_post_and_facts(proxy: Start) -> None:
    running = proxy(CONFIG)
    text = running.admin(f"/explain?src=127.0.0.9:1&dst=127.0.0.1:{running.port('chains')}", "POST")
    assert "no filter chain of 'chains': none matches; it is closed (NR, filter_chain_not_found)" in text
    assert "source address 127.0.0.9: no chain fits" in text
    assert "not 'local': source type EXTERNAL is not SAME_IP_OR_LOOPBACK" in text


def test_the_log_says_why_at_debug_level(proxy: Start) -> None:
    running = proxy(CONFIG, ("-l", "debug"))
    assert asked(running.port("chains"), "127.0.0.9") == ""
    running.wait_for_stat("listener.127.0.0.1_0.no_filter_chain_match", 1)
    assert "no matching filter chain found: no chain takes source address 127.0.0.9" in running.log()


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(CONFIG)
    done = command(
        "connection", "--src", "127.0.0.2:9", "--dst", "127.0.0.1:80", "--listener", "chains", "-c", "one.yaml",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "accepted by listener 'chains': as asked" in done.stdout
    assert "filter chain 'two' of 'chains': it matches" in done.stdout
    assert "envoy.filters.network.direct_response" in done.stdout
    done = command(
        "connection", "--format", "json", "--src", "1.1.1.1:9", "--dst", "127.0.0.1:80", "-c", "one.yaml", cwd=tmp_path
    )
    assert json.loads(done.stdout)["accepted"]["how"] == "nobody"
    assert command("connection", "--help").stdout.startswith("usage: proxeny explain connection")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "explain what?"),
        (("connection", "-c", "x"), "dst: '' is not IP:PORT"),
        (("connection", "--src"), "--src: a value is missing"),
        (("connection", "--src", "1.1.1.1:1", "--dst", "1.1.1.1:1", "--format", "xml"), "'xml' is none of text, json"),
        (("connection", "--src", "1.1.1.1:1", "--dst", "1.1.1.1:1", "--bogus"), "Couldn't find match for argument"),
        (("connection", "--src", "1.1.1.1:1", "--dst", "1.1.1.1:1", "-c", "/no/such.yaml"), "/no/such.yaml"),
        (("connection", "--src", "1.1.1.1:1", "--dst", "1.1.1.1:1"), "should be non-empty"),
    ],
)
def test_wrong_command_lines(arguments: tuple[str, ...], words: str) -> None:
    done = command(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stdout == ""
