"""DnsFilter over real sockets: its table, clusters' hosts, other name servers, statistics, access log, refusals."""

import struct
from pathlib import Path
from typing import Any

import pytest
from tests.unit.extensions.udp_filters.conftest import TYPE, World
from tests.unit.extensions.udp_filters.dns import Reply, query, read, wire_name

from proxeny.config.errors import ConfigError

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def domain(name: str, *addresses: str, **fields: Any) -> dict[str, Any]:
    endpoint = {"endpoint": {"address_list": {"address": list(addresses)}}} if addresses else {}
    return {"name": name, **endpoint, **fields}


def services(name: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "endpoint": {"service_list": {"services": list(entries)}}}


def dns_filter(*domains: dict[str, Any], **fields: Any) -> dict[str, Any]:
    table = {"inline_dns_table": {"virtual_domains": list(domains), "external_retry_count": 1}}
    config = {"@type": f"{TYPE}.dns_filter.v3.DnsFilterConfig", "stat_prefix": "d", "server_config": table, **fields}
    return {"name": "envoy.filters.udp.dns_filter", "typed_config": config}


class Asking:
    """A client of a world's listener."""

    def __init__(self, world: World, *domains: dict[str, Any], **fields: Any) -> None:
        self.world = world
        self.address = world.listen(dns_filter(*domains, **fields))
        self.client = world.udp()

    def raw(self, data: bytes) -> Reply:
        self.client.sendto(data, self.address)
        return read(self.world.receive(self.client)[0])

    def __call__(self, name: str, record_type: int = 1) -> Reply:
        return self.raw(query(name, record_type))


def test_addresses_of_the_table(world: World) -> None:
    ask = Asking(world, domain("www.foo.com", "10.0.0.1", "10.0.0.2", "2001:db8::1", answer_ttl="60s"))
    reply = ask("www.foo.com")
    assert (reply.id, reply.flags, reply.questions) == (0x1234, 0x8100, [("www.foo.com", 1)])
    assert sorted(reply.values) == ["10.0.0.1", "10.0.0.2"]
    assert {(answer.name, answer.ttl) for answer in reply.answers} == {("www.foo.com", 60)}
    assert ask("www.foo.com", 28).values == ["2001:db8::1"]
    assert world.stat("dns_filter.d.local_a_record_answers") == 2
    assert world.stat("dns_filter.d.local_aaaa_record_answers") == 1
    assert world.stat("dns_filter.d.a_record_queries") == 1
    assert world.stat("dns_filter.d.known_domain_queries") == 2
    assert world.stat("dns_filter.d.downstream_tx_responses") == 2


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("*", ["1.1.1.1"]),
        ("x", []),
        ("x.com", []),
        ("x.foo.com", ["3.3.3.3"]),
        ("y.x.foo.com", ["3.3.3.3"]),
        ("foo.com", []),
        ("b.foo.com", ["4.4.4.4", "4.4.4.5"]),
        ("z.a.foo.com", ["5.5.5.5"]),
        ("a.foo.com", ["3.3.3.3"]),
        ("a.*.bar.com", ["6.6.6.6"]),
        ("a.q.bar.com", []),
        ("Mixed.Foo.com", ["7.7.7.7"]),
        ("mixed.foo.com", ["3.3.3.3"]),
    ],
)
def test_names_and_wildcards(world: World, name: str, values: list[str]) -> None:
    ask = Asking(
        world,
        domain("*", "1.1.1.1"),
        domain("*.com", "2.2.2.2"),
        domain("*.foo.com", "3.3.3.3"),
        domain("b.foo.com", "4.4.4.4"),
        domain("b.foo.com", "4.4.4.5"),
        domain("*.a.foo.com", "5.5.5.5"),
        domain("noend.foo.com"),
        domain("a.*.bar.com", "6.6.6.6"),
        domain("Mixed.Foo.com", "7.7.7.7"),
    )
    reply = ask(name)
    assert sorted(reply.values) == values
    assert reply.code == (0 if values else 3)


def test_hosts_of_clusters(world: World) -> None:
    world.cluster("up", 21, 22)
    ask = Asking(
        world,
        domain("cl.foo.com", endpoint={"cluster_name": "up"}),
        domain("cl.foo.com", endpoint={"cluster_name": "other"}),
        domain("gone.foo.com", endpoint={"cluster_name": "nothing"}),
    )
    assert ask("cl.foo.com").values == ["127.0.0.1", "127.0.0.1"]
    assert ask("up").values == ["127.0.0.1", "127.0.0.1"]
    assert ask("cl.foo.com", 28).code == 3
    assert ask("gone.foo.com").code == 3
    assert world.stat("dns_filter.d.cluster_a_record_answers") == 4


def test_services(world: World) -> None:
    world.cluster("up", 21, 22)
    web = {
        "service_name": "web",
        "protocol": {"name": "tcp"},
        "ttl": "30s",
        "targets": [
            {"host_name": "h.foo.com", "priority": 1, "weight": 5, "port": 80},
            {"host_name": "absent.foo.com", "port": 81},
        ],
    }
    of_cluster = {
        "service_name": "_clu",
        "protocol": {"number": 17},
        "targets": [{"cluster_name": "up", "priority": 3, "weight": 7}],
    }
    nameless = {"service_name": "odd", "protocol": {"number": 99}, "targets": [{"cluster_name": "up"}]}
    ask = Asking(world, domain("h.foo.com", "10.0.0.1"), services("foo.com", web, of_cluster, nameless))
    reply = ask("_web._tcp.foo.com", 33)
    assert reply.values == [(1, 5, 80, "h.foo.com")]
    assert reply.answers[0].ttl == 30
    assert [(extra.name, extra.value, extra.ttl) for extra in reply.additional] == [("h.foo.com", "10.0.0.1", 300)]
    reply = ask("_clu._udp.foo.com", 33)
    assert reply.values == [(3, 7, 21, "up"), (3, 7, 22, "up")]
    assert ask("_odd._99.foo.com", 33).code == ask("h.foo.com", 33).code == ask("_web._tcp.foo.com").code == 3
    assert world.stat("dns_filter.d.srv_record_queries") == 4
    assert world.stat("dns_filter.d.local_srv_record_answers") == 1
    assert world.stat("dns_filter.d.cluster_srv_record_answers") == 2


def test_a_service_needs_another_name_of_its_domain_before_it(world: World) -> None:
    web = {"service_name": "web", "protocol": {"name": "tcp"}, "targets": [{"host_name": "h.foo.com"}]}
    ask = Asking(world, services("foo.com", web), domain("h.foo.com", "10.0.0.1"))
    assert ask("_web._tcp.foo.com", 33).code == 3


def test_what_is_not_served(world: World) -> None:
    ask = Asking(world, domain("www.foo.com", "10.0.0.1"))
    assert ask("www.foo.com", 15).code == 4
    assert ask("nothing.org").code == 3
    assert ask.raw(b"nonsense").code == 1
    assert ask.raw(query(flags=0x8000)).code == 1
    assert ask.raw(query(b"\xc0\x0c")).code == 1
    assert world.stat("dns_filter.d.unsupported_queries") == 1
    assert world.stat("dns_filter.d.unanswered_queries") == 2
    assert world.stat("dns_filter.d.downstream_rx_invalid_queries") == 3
    assert world.stat("dns_filter.d.query_buffer_underflow") == 1
    assert world.stat("dns_filter.d.queries_with_ans_or_authority_rrs") == 1
    assert world.stat("dns_filter.d.query_parsing_failure") == 1
    assert world.stat("dns_filter.d.downstream_rx_queries") == 5


class NameServer:
    """Another name server on the world's event loop: answers from a dictionary; None keeps silent."""

    def __init__(self, world: World, answers: dict[str, list[str] | None]) -> None:
        self.socket = world.udp()
        self.asked: list[str] = []
        self.answers = answers
        world.dispatcher.add_reader(self.socket, self._serve)
        self._world = world
        world.closing.insert(0, self)

    def _serve(self) -> None:
        data, client = self.socket.recvfrom(4096)
        asked = read(data[:10] + b"\0\0" + data[12 : data.index(b"\0", 12) + 5])
        name, record_type = asked.questions[0]
        self.asked.append(name)
        addresses = self.answers.get(name.lower(), [])
        if addresses is None:
            return
        raw = wire_name(name) + struct.pack("!HH", record_type, 1)
        flags = 0x8180 | (0 if addresses else 3)
        out = data[:2] + struct.pack("!5H", flags, 1, len(addresses), 0, 0) + raw
        for address in addresses:
            packed = bytes(int(part) for part in address.split("."))
            out += wire_name(name) + struct.pack("!HHIH", 1, 1, 9, 4) + packed
        self.socket.sendto(out, client)

    def config(self, **fields: Any) -> dict[str, Any]:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.socket.getsockname()[1]}}
        options = {"no_default_search_domain": True}
        cares = {"@type": CARES, "resolvers": [address], "dns_resolver_options": options}
        typed = {"name": "envoy.network.dns_resolver.cares", "typed_config": cares}
        return {"max_pending_lookups": 1, "typed_dns_resolver_config": typed, **fields}

    def close(self) -> None:
        self._world.dispatcher.remove_reader(self.socket)


def test_other_name_servers(world: World) -> None:
    server = NameServer(world, {"ext.org": ["9.9.9.1", "9.9.9.2"]})
    ask = Asking(world, domain("www.foo.com", "10.0.0.1"), client_config=server.config())
    reply = ask("ext.org")
    assert (reply.flags, sorted(reply.values)) == (0x8180, ["9.9.9.1", "9.9.9.2"])
    assert reply.answers[0].ttl == 300
    assert ask("absent.org").code == 3
    assert ask("www.foo.com").values == ["10.0.0.1"]
    assert ask("www.foo.com", 28).code == 3
    assert server.asked == ["ext.org", "absent.org"]
    assert ask("other.foo.com").code == 3
    assert ask("ext.org", 15).code == 4
    assert server.asked == ["ext.org", "absent.org", "other.foo.com"]
    assert world.stat("dns_filter.d.external_a_record_queries") == 3
    assert world.stat("dns_filter.d.external_a_record_answers") == 2
    assert world.stat("dns_filter.d.external_unsupported_queries") == 1
    assert world.stat("dns_filter.d.externally_resolved_queries") == 4
    assert world.stat("dns_filter.d.known_domain_queries") == 3


def test_names_that_nobody_can_ask_for(world: World) -> None:
    server = NameServer(world, {})
    ask = Asking(world, client_config=server.config())
    for label in (b"\xff\xff", b"a b", b"w\0w", b"-", b"a" * 63):
        assert ask.raw(query(bytes([len(label)]) + label + b"\3org\0")).code in (1, 3)


def test_a_silent_name_server_and_too_many_questions(world: World) -> None:
    server = NameServer(world, {f"silent{number}.org": None for number in range(3)})
    ask = Asking(world, client_config=server.config(resolver_timeout="2s"))
    for number in range(3):
        ask.client.sendto(query(f"silent{number}.org", id=number + 1), ask.address)
    # Two may wait (one more than max_pending_lookups says, as in Envoy); the third is turned away.
    assert read(world.receive(ask.client)[0]).id == 3
    world.advance(2000)
    assert world.silent(ask.client)
    world.advance(2000)
    late = [read(world.receive(ask.client)[0]) for _ in range(2)]
    assert sorted(reply.id for reply in late) == [1, 2]
    assert {reply.code for reply in late} == {3}


def test_stopping_while_a_question_is_open(world: World) -> None:
    server = NameServer(world, {"silent.org": None})
    ask = Asking(world, client_config=server.config())
    ask.client.sendto(query("silent.org"), ask.address)
    world.wait(lambda: server.asked)
    world.handler.stop_listener(1)
    world.advance(10_000)
    assert world.silent(ask.client)


def test_a_table_in_a_file(world: World, tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("virtual_domains:\n- {name: a.b, endpoint: {address_list: {address: [10.0.0.1]}}, unknown: 1}\n")
    ask = Asking(world, server_config={"external_dns_table": {"filename": str(path)}})
    assert ask("a.b").values == ["10.0.0.1"]


@pytest.mark.parametrize("text", [None, "[", "virtual_domains: 3"])
def test_a_file_without_a_table_leaves_it_empty(world: World, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "table.yaml"
    if text is not None:
        path.write_text(text)
    ask = Asking(world, server_config={"external_dns_table": {"filename": str(path)}})
    assert ask("a.b").code == 3


def test_a_bad_address_in_a_file_is_an_error_in_main_only(world: World, tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("virtual_domains:\n- {name: a.b, endpoint: {address_list: {address: ['10.0']}}}\n")
    source = {"external_dns_table": {"filename": str(path)}}
    assert Asking(world, server_config=source)("a.b").code == 3
    world.context.role = "main"
    with pytest.raises(ConfigError, match=r"malformed IP address: 10\.0"):
        world.listen(dns_filter(server_config=source))


def access_log(path: str, text: str) -> list[dict[str, Any]]:
    source = {"text_format_source": {"inline_string": text}}
    return [{"name": "log", "typed_config": {"@type": FILE_LOG, "path": path, "log_format": source}}]


@pytest.mark.parametrize(
    ("command", "accepted"),
    [
        ("%QUERY_NAME%", True),
        ("%QUERY_TYPE(x):3%", True),
        ("%QUERY_CLASS% %ANSWER_COUNT% %RESPONSE_CODE% %PARSE_STATUS%", True),
        ("%START_TIME%", False),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", False),
        ("%NOPE%", False),
    ],
)
def test_the_access_log_has_commands_of_its_own(world: World, command: str, accepted: bool) -> None:
    config = dns_filter(access_log=access_log("/dev/null", command))
    if accepted:
        world.listen(config)
        return
    with pytest.raises(ConfigError, match=f"Invalid format substitution: {command.strip('%')}"):
        world.listen(config)


def test_access_log_lines(world: World) -> None:
    text = "%QUERY_NAME% %QUERY_TYPE% %QUERY_CLASS% %ANSWER_COUNT% %RESPONSE_CODE% %PARSE_STATUS%"
    from proxeny.extensions.udp_filters.dns_filter.access_log import COMMANDS
    from proxeny.formatter import compile

    formatter = compile(text, extra=COMMANDS)
    ask = Asking(world, domain("www.foo.com", "10.0.0.1", "10.0.0.2"))
    lines: list[bytes] = []
    world.logger.log = lambda *args: lines.append(formatter.format(*args))  # type: ignore[method-assign]
    ask("www.foo.com")
    ask("nothing.org", 28)
    ask("www.foo.com", 15)
    ask.raw(b"x")
    assert lines == [
        b"www.foo.com 1 1 2 0 true",
        b"nothing.org 28 1 0 3 true",
        b"www.foo.com 15 1 0 4 true",
        b"- - - 0 1 false",
    ]


def test_refused_at_load(world: World) -> None:
    with pytest.raises(ConfigError, match=r"malformed IP address: 10\.0\.0"):
        world.listen(dns_filter(domain("a.b", "10.0.0")))
    # Envoy crashes on this one.
    clashing = [domain("a.b", endpoint={"cluster_name": "c"}), domain("a.b", "10.0.0.1")]
    with pytest.raises(ConfigError, match=r"virtual domain 'a.b' has a cluster or a service already"):
        world.listen(dns_filter(*clashing))
