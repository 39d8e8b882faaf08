from __future__ import annotations

import ipaddress
import socket

import pytest

from proxeny.network.local_address import local_address


@pytest.mark.parametrize("version", [4, 6])
def test_an_address_of_this_machine(version: int) -> None:
    address = ipaddress.ip_address(local_address(version))
    assert address.version == version
    if address.is_loopback or address.is_link_local:
        return
    with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET) as probe:
        probe.bind((str(address), 0))


def test_loopback_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo")])
    assert local_address(4) == "127.0.0.1"
