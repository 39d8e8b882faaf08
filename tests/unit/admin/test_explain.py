"""``POST /explain``."""

import json
from types import SimpleNamespace

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener

from proxeny import extensions
from proxeny.admin.handler import AdminHandler
from proxeny.explain.connection import ListenerView
from proxeny.listener.config import ListenerConfig
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore

QUERY = "src=10.0.0.9:5&dst=127.0.0.1:80"


@pytest.fixture
def post(server):
    extensions.install()
    message = Listener(name="l")
    message.address.socket_address.address = "127.0.0.1"
    message.address.socket_address.port_value = 80
    chain = message.filter_chains.add(name="only")
    chain.filter_chain_match.destination_port.value = 80
    context = FactoryContext("main", MainStore())
    config = ListenerConfig.compile(message, context)
    views = [ListenerView(config, 0, config.addresses, message)]
    server.world = lambda: SimpleNamespace(listeners=lambda: views, context=context, cluster=lambda name: None)
    handler = AdminHandler(server)

    def call(path, body=b"", method=b"POST"):
        response = handler.run(method, path.encode(), body)
        return response.status, response.body.decode("utf-8", "surrogateescape")

    return call


def test_parameters_in_the_query_or_as_a_form(post):
    status, text = post(f"/explain?{QUERY}")
    assert status == 200
    assert text.splitlines()[:3] == [
        "connection from 10.0.0.9:5 to 127.0.0.1:80",
        "1. accepted by listener 'l': it listens on 127.0.0.1:80",
        "2. filter chain 'only' of 'l': it matches",
    ]
    assert post("/explain", QUERY.replace(":", "%3A").encode()) == (200, text)
    assert post("/explain?dst=127.0.0.1:80", b"src=10.0.0.9:5&dst=1.1.1.1:1") == (200, text)


def test_json(post):
    status, text = post(f"/explain?format=json&{QUERY}&sni=a.test&alpn=h2&tls")
    value = json.loads(text)
    assert (status, value["accepted"]["listener"], value["filter_chain"]["name"]) == (200, "l", "only")
    assert (value["tls"], value["server_name"], value["application_protocols"]) == (True, "a.test", ["h2"])


def test_what_is_refused(post):
    assert post("/explain") == (400, "dst: '' is not IP:PORT or [IP]:PORT\n")
    assert post(f"/explain?{QUERY}", method=b"GET") == (405, "Method GET not allowed, POST required.")


def test_the_help_knows_it(post):
    text = post("/help", method=b"GET")[1]
    words = "  /explain (POST): what becomes of a connection or a request, and why\n"
    assert words + "      src: the client's address, IP:PORT\n" in text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("src=1.1.1.1:1&dst=[::1%259999999999999]:1", 400),
        ("src=1.1.1.1:1&dst=%5B::1%25%00%5D:1", 400),
        ("src=1.1.1.1:%d9%a3&dst=1.1.1.1:1", 400),
        ("src=1.1.1.1:1&dst=/a%00b", 200),
        ("src=@%ff&dst=@%ff%ff", 200),
        ("src=1.1.1.1:1&dst=127.0.0.1:80&sni=%ff%00%0a&alpn=,,%ff,&listener=%ff", 200),
    ],
)
def test_hostile_parameters(post, query, status):
    for form in ("text", "json"):
        assert post(f"/explain?{query}&format={form}")[0] == status
