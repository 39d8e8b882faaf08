"""Filters of the tests' own, and contexts to compile listeners in."""

from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.direct_response.v3 import config_pb2 as _direct_response  # noqa: F401
from envoy.extensions.filters.network.echo.v3 import echo_pb2 as _echo  # noqa: F401
from google.protobuf.json_format import ParseDict

from proxeny import extensions
from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore

ECHO = {
    "name": "envoy.filters.network.echo",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
}


def listener_proto(**fields: Any) -> Listener:
    """A listener on 127.0.0.1:0 that echoes, with ``fields`` over that."""
    base: dict[str, Any] = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [ECHO]}],
    }
    return ParseDict(base | fields, Listener())


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    extensions.install()


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    made = Dispatcher()
    yield made
    made.close()


@pytest.fixture
def store() -> MainStore:
    return MainStore()


@pytest.fixture
def context(dispatcher: Dispatcher, store: MainStore) -> FactoryContext:
    return FactoryContext("worker", store, dispatcher=dispatcher)
