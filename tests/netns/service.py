"""A service with its sidecar's ports between a client and an upstream, and what the tests of rules do with it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.netns.ends import TellingServer, ask
from tests.netns.namespaces import Link, Namespace, Namespaces

from proxeny.intercept import command

APP, PROXY, OTHER = 1000, 1337, 2000
"""Users: the application's, the proxy's, one more."""

FAMILIES = ("v4", "v6")
LOOPBACK = {"v4": "127.0.0.1", "v6": "::1"}


@dataclass(slots=True)
class Net:
    """client -- side (a service and its sidecar) -- upstream; all servers but DNS answer on both IP versions."""

    client: Namespace
    side: Namespace
    upstream: Namespace
    front: Link
    back: Link
    servers: ExitStack

    def own(self, family: str) -> str:
        """The service's address."""
        return str(getattr(self.front, family))

    def beyond(self, family: str) -> str:
        """The upstream's address."""
        return str(getattr(self.back, family))

    def outbound(self, family: str, port: int = 7000, **options: object) -> str:
        """Who answers a connection of the service to the upstream: ``outbound`` is the capture."""
        return ask(self.side, self.beyond(family), port, **options).split(" from ")[0]

    def inbound(self, family: str, port: int = 8080) -> str:
        """Who answers a connection from the client to the service: ``inbound`` is the capture."""
        return ask(self.client, self.own(family), port).split(" from ")[0]

    def serve(self, namespace: Namespace, name: str, port: int, transparent: bool = False) -> None:
        for address in ("0.0.0.0", "::"):
            self.servers.enter_context(TellingServer(namespace, name, address, port, transparent))


def wire(namespaces: Namespaces, servers: ExitStack, transparent: bool) -> Net:
    """The namespaces and the servers that every test has."""
    client, side, upstream = (namespaces.add(label) for label in ("client", "side", "upstream"))
    front = namespaces.link(client, side)[1]
    back = namespaces.link(side, upstream)[1]
    made = Net(client, side, upstream, front, back, servers)
    made.serve(side, "outbound", 15001)
    made.serve(side, "inbound", 15006, transparent)
    made.serve(side, "app", 8080)
    made.serve(upstream, "upstream", 7000)
    return made


def intercept(namespace: Namespace, *args: str) -> None:
    what, *rest = args
    assert command.main([what, "--namespace", namespace.name, *rest]) == 0


def shown(namespace: Namespace, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    command.main(["show", "--namespace", namespace.name])
    return capsys.readouterr().out


def traces(namespace: Namespace) -> str:
    """All that an installation could leave behind."""
    rules = namespace.run("iptables-save").stdout + namespace.run("ip6tables-save").stdout
    rules = "\n".join(line for line in rules.split("\n") if line.startswith("-A") or line.startswith(":ISTIO"))
    native = "".join(line for line in namespace.run("nft", "list", "tables", "inet").stdout)
    routing = "".join(namespace.ip(f"-{family}", "rule") for family in (4, 6))
    routing += "".join(
        f"{address['local']}\n"
        for device in json.loads(namespace.ip("-json", "address", "show", "dev", "lo"))
        for address in device["addr_info"]
    )
    tables = "".join(
        namespace.run("ip", f"-{family}", "route", "show", "table", "133", check=False).stdout for family in (4, 6)
    )
    return rules + native + routing + tables
