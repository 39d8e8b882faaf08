"""Lines of the event log."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from google.protobuf import json_format

from proxeny.upstream.endpoints import INTERNAL, PIPE, HostEntry
from proxeny.upstream.health_check.contract import FailureType
from proxeny.upstream.health_check.events import EventLog, timestamp


class File:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)


@pytest.fixture
def file() -> File:
    return File()


@pytest.fixture
def log(file: Any) -> EventLog:
    return EventLog("c", "TCP", [file], lambda: 1_700_000_000.25)


PLAIN = '"protocol":"TCP","address":"127.0.0.1","port_value":80,"resolver_name":"","ipv4_compat":false'


def test_an_ejection(log: EventLog, file: File) -> None:
    log.ejected(HostEntry("127.0.0.1", 80, region="r"), FailureType.NETWORK, 0)
    assert file.lines == [
        (
            '{"health_checker_type":"TCP","host":{"socket_address":{' + PLAIN + ',"network_namespace_filepath":""}},'
            '"cluster_name":"c","eject_unhealthy_event":{"failure_type":"NETWORK","http_status_code":0},'
            '"timestamp":"2023-11-14T22:13:20.250Z","locality":{"region":"r","zone":"","sub_zone":""}}\n'
        ).encode()
    ]


def test_hosts_without_ip_address(log: EventLog, file: File) -> None:
    log.succeeded(HostEntry("/run/x", PIPE))
    log.succeeded(HostEntry("listener", INTERNAL, endpoint_id="id"))
    assert b'"host":{"pipe":{"path":"/run/x","mode":0}}' in file.lines[0]
    assert b'{"envoy_internal_address":{"server_listener_name":"listener","endpoint_id":"id"}}' in file.lines[1]
    assert file.lines[0].endswith(b'"successful_health_check_event":{}}\n')


def test_metadata(log: EventLog, file: File) -> None:
    metadata = json_format.ParseDict({"filter_metadata": {"a": {"n": 2, "f": 0.5, "l": [1]}}}, base_pb2.Metadata())
    log.degraded(HostEntry("127.0.0.1", 80, metadata=metadata.SerializeToString()), True)
    assert b'"degraded_healthy_host":{},"metadata":{"filter_metadata":{"a":{' in file.lines[0]
    assert b'"n":2' in file.lines[0]
    assert b'"l":[1]' in file.lines[0]


def test_without_files_nothing_is_made() -> None:
    EventLog("c", "TCP", [], lambda: 0.0).added(HostEntry("not even an address", -9), True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1.5, "1970-01-01T00:00:01.500Z"), (2.0009, "1970-01-01T00:00:02Z")],
)
def test_timestamps(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text
