"""The resolvers of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format
from tests.name_server import NameServer

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.upstream.cares_resolver import CaresResolver
from proxeny.upstream.dns_options import V4_ONLY
from proxeny.upstream.dns_resolver import CARES, DnsAnswer, DnsResolvers, stats_of
from proxeny.upstream.dns_resolver_config import CaresOptions, GetAddrInfoOptions
from proxeny.upstream.getaddrinfo_resolver import GetAddrInfoResolver


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer({"a.test": ["127.0.0.2"]})
    yield server
    server.close()


@pytest.fixture
def make(context: FactoryContext) -> Iterator[Callable[..., DnsResolvers]]:
    made: list[DnsResolvers] = []

    def make(**bootstrap: object) -> DnsResolvers:
        context.bootstrap = json_format.ParseDict(bootstrap, bootstrap_pb2.Bootstrap())
        made.append(DnsResolvers(context))
        return made[-1]

    yield make
    for resolvers in made:
        resolvers.close()


def test_equal_options_share_a_resolver(make: Callable[..., DnsResolvers]) -> None:
    resolvers = make()
    one = resolvers.get(CaresOptions(("127.0.0.1:53",)))
    assert isinstance(one, CaresResolver)
    assert resolvers.get(CaresOptions(("127.0.0.1:53",))) is one
    assert resolvers.get(CaresOptions(("127.0.0.1:54",))) is not one
    assert resolvers.get() is resolvers.get(CaresOptions())
    assert isinstance(resolvers.get(GetAddrInfoOptions()), GetAddrInfoResolver)


def test_the_servers_own(
    make: Callable[..., DnsResolvers], server: NameServer, dispatcher: Dispatcher, context: FactoryContext
) -> None:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": server.port}}
    resolvers = make(dns_resolution_config={"resolvers": [address]})
    answers: list[DnsAnswer] = []
    resolvers.get().resolve("a.test", V4_ONLY, answers.append)
    dispatcher.run_until(lambda: answers)
    assert answers[0].addresses == ["127.0.0.2"]
    assert stats_of(context).get(CARES.slot("resolve_total")) == 1


def test_a_server_whose_resolver_cannot_be(make: Callable[..., DnsResolvers]) -> None:
    with pytest.raises(ConfigError, match="DNS resolver '/x' is not an IP address"):
        make(dns_resolution_config={"resolvers": [{"pipe": {"path": "/x"}}]})


def test_closed_resolvers_answer_nobody(
    make: Callable[..., DnsResolvers], server: NameServer, dispatcher: Dispatcher
) -> None:
    resolvers = make()
    answers: list[DnsAnswer] = []
    resolvers.get(CaresOptions((f"127.0.0.1:{server.port}",))).resolve("a.test", V4_ONLY, answers.append)
    resolvers.close()
    dispatcher.run_once()
    assert not answers
