"""What PROXY protocol headers to upstreams tell, and which connections they keep apart."""

import pytest
from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.extensions.proxy_protocol_tlvs import AddedTlv
from proxeny.extensions.transport_sockets.upstream_proxy_protocol import (
    HeaderRules,
    ProxyProtocolSocketFactory,
    host_tlvs,
)
from proxeny.network.address import ip_address
from proxeny.network.proxy_protocol import ProxyProtocolData
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.network.transport_socket import PLAIN_UPSTREAM, TransportSocketOptions

HERE, THERE = ip_address("10.0.0.1", 1000), ip_address("10.0.0.2", 2000)


class Stats:
    counted = 0

    def inc(self, slot: int) -> None:
        self.counted += 1


class Connection:
    fd = -1
    connection_info = ConnectionInfo(HERE, THERE, 1)

    def __init__(self) -> None:
        self.stream_info = StreamInfo(self.connection_info, 0.0, 0)


class Host:
    address = THERE
    hostname = ""
    locality_metadata = None

    def __init__(self, *tlvs: tuple[int, bytes], other: bool = False) -> None:
        self.metadata = None
        if tlvs or other:
            message = proxy_protocol_pb2.PerHostConfig()
            for kind, value in tlvs:
                message.added_tlvs.add(type=kind, value=value)
            self.metadata = base_pb2.Metadata()
            packed = self.metadata.typed_filter_metadata["envoy.transport_sockets.proxy_protocol"]
            packed.Pack(base_pb2.Node() if other else message)


def rules(**fields: object) -> HeaderRules:
    message = json_format.ParseDict({"version": "V2", **fields}, proxy_protocol_pb2.ProxyProtocolConfig())
    return HeaderRules(message, Stats())  # type: ignore[arg-type]


def tlvs_of(made: HeaderRules, data: ProxyProtocolData, host: Host | None = None) -> list[tuple[int, bytes]]:
    """What a header tells besides addresses."""
    rest = made.compose(Connection(), data, host or Host())[28:]  # type: ignore[arg-type]
    found = []
    while rest:
        size = int.from_bytes(rest[1:3], "big")
        found.append((rest[0], rest[3 : 3 + size]))
        rest = rest[3 + size :]
    return found


DATA = ProxyProtocolData(HERE, THERE, ((1, b"a"), (2, b"b"), (1, b"c")))


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (None, []),
        ({}, [(1, b"a"), (2, b"b"), (1, b"c")]),
        ({"match_type": "INCLUDE", "tlv_type": [1, 7]}, [(1, b"a"), (1, b"c")]),
        ({"match_type": "INCLUDE"}, []),
    ],
)
def test_what_is_passed(passed: object, expected: list[tuple[int, bytes]]) -> None:
    assert tlvs_of(rules() if passed is None else rules(pass_through_tlvs=passed), DATA) == expected


def test_hosts_go_before_the_configuration_before_downstream() -> None:
    added = [{"type": 2, "value": "eA=="}, {"type": 9, "value": "eQ=="}, {"type": 9, "value": "eg=="}]
    made = rules(pass_through_tlvs={}, added_tlvs=added)
    assert tlvs_of(made, DATA) == [(2, b"x"), (9, b"y"), (9, b"z"), (1, b"a"), (1, b"c")]
    assert tlvs_of(made, DATA, Host((9, b"h"), (1, b"i"))) == [(9, b"h"), (1, b"i"), (2, b"x")]


def test_metadata_of_another_kind_is_passed_over() -> None:
    assert host_tlvs(Host(other=True).metadata) == []


def test_texts_about_the_connection_come_last() -> None:
    text = {"text_format_source": {"inline_string": "%DOWNSTREAM_REMOTE_ADDRESS%"}}
    made = rules(added_tlvs=[{"type": 1, "format_string": text}, {"type": 2, "value": "eA=="}])
    assert tlvs_of(made, DATA) == [(2, b"x"), (1, b"10.0.0.2:2000")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "one of 'value' or 'format_string' must be set"),
        ({"value": "eA==", "format_string": {"text_format": "x"}}, "only one of 'value' or 'format_string' may be set"),
        ({"format_string": {"text_format": "%NO%"}}, "Failed to parse TLV format string: "),
    ],
)
def test_bad_tlvs(fields: dict[str, object], words: str) -> None:
    message = json_format.ParseDict({"type": 1, **fields}, proxy_protocol_pb2.TlvEntry())
    with pytest.raises(ConfigError, match=words):
        AddedTlv(message)


def test_connections_for_nobody() -> None:
    assert rules().compose(Connection(), None, Host())[12:] == b"\x20\x00\x00\x00"  # type: ignore[arg-type]


def test_pools_are_kept_apart_by_addresses() -> None:
    factory = ProxyProtocolSocketFactory(PLAIN_UPSTREAM, rules())
    assert factory.hash_key(None) == factory.hash_key(TransportSocketOptions()) == ()
    assert factory.hash_key(TransportSocketOptions(proxy_protocol=DATA)) == ("10.0.0.1:1000", "10.0.0.2:2000")
    assert factory.uses_options and factory.uses_addresses
