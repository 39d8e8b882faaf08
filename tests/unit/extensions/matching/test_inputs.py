"""What the unified matcher reads of a connection."""

import pytest
from envoy.extensions.matching.common_inputs.environment_variable.v3.input_pb2 import Config
from envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import FilterStateInput

from proxeny.extensions.matching.inputs import environment_variable, network
from proxeny.listener.filter_chain_matcher import ConnectionData
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo


def data(info: ConnectionInfo | None = None, stream: StreamInfo | None = None) -> ConnectionData:
    return ConnectionData(info or ConnectionInfo(ip_address("10.0.0.1", 80), ip_address("::1", 4000), 1), stream)


def test_facts_of_a_connection() -> None:
    given = data()
    info = given.connection_info
    info.requested_server_name = "a.test"
    info.requested_application_protocols = ("h2", "http/1.1")
    info.direct_remote_address = ip_address("192.0.2.1", 1)
    read = {made.name: made.get(given) for made in vars(network).values() if isinstance(made, network.ConnectionInput)}
    assert read == {
        "destination IP": b"10.0.0.1",
        "destination port": b"80",
        "source IP": b"::1",
        "source port": b"4000",
        "direct source IP": b"192.0.2.1",
        "source type": b"local",
        "server name": b"a.test",
        "transport protocol": b"raw_buffer",
        "application protocols": b"'h2','http/1.1'",
        "network namespace": None,
    }


def test_what_a_unix_socket_does_not_have() -> None:
    given = data(ConnectionInfo(pipe_address("/a"), pipe_address("/b"), 1))
    assert network.DESTINATION_IP.get(given) is None
    assert network.SOURCE_PORT.get(given) is None
    assert network.SERVER_NAME.get(given) is None
    assert network.APPLICATION_PROTOCOL.get(given) is None
    assert network.SOURCE_TYPE.get(given) == b"local"


def test_a_connection_from_elsewhere_has_no_source_type() -> None:
    assert network.SOURCE_TYPE.get(data(ConnectionInfo(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 1))) is None


@pytest.mark.parametrize(("value", "expected"), [("text", b"text"), (b"bytes", b"bytes"), (None, None)])
def test_filter_state(value: object, expected: bytes | None) -> None:
    made = network.FILTER_STATE.create_input(FilterStateInput(key="k"), None)  # type: ignore[arg-type]
    given = data()
    assert made.get(given) is None
    stream = StreamInfo(given.connection_info, 0.0, 0)
    stream.filter_state["k"] = value
    assert made.get(data(given.connection_info, stream)) == expected


def test_an_environment_variable_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXENY_TEST", "one")
    made = environment_variable.FACTORY.create_input(Config(name="PROXENY_TEST"), None)  # type: ignore[arg-type]
    monkeypatch.setenv("PROXENY_TEST", "two")
    assert made.get(None) == b"one"
    absent = environment_variable.FACTORY.create_input(Config(name="PROXENY_NOT"), None)  # type: ignore[arg-type]
    assert absent.get(None) is None
