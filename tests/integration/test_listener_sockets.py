"""Listening sockets of the real command: which there are, and how they are made."""

from collections.abc import Callable

from tests.integration.configs import ECHO

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]


def listening(*ports: int) -> int:
    """How many TCP sockets listen on these ports, as the kernel lists them."""
    found = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as file:
            for line in file.readlines()[1:]:
                _, local, _, state = line.split()[:4]
                found += state == "0A" and int(local.rpartition(":")[2], 16) in ports
    return found


def test_a_listener_that_does_not_bind(proxy: Start) -> None:
    both = (
        ECHO
        + """  - name: handed
    bind_to_port: false
    address: {socket_address: {address: 127.0.0.3, port_value: 15001}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
"""
    )
    running = proxy(both, concurrency=2)
    assert "handed::127.0.0.3:15001" in running.admin("/listeners").splitlines()
    assert running.stat("listener_manager.listener_create_success") == 4
    assert listening(15001) == 0
    assert listening(running.port("echo")) == 2
