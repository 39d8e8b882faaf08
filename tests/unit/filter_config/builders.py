"""What tests of discovered filter configurations have in common."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2, config_source_pb2, extension_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.echo.v3 import echo_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import any_pb2

from proxeny.config.loader import LoadOptions
from proxeny.filter_config.manager import FilterConfigManager
from proxeny.network.factory_context import FactoryContext, LocalInfo
from proxeny.stats.store import MainStore
from proxeny.xds.init_manager import InitManager
from proxeny.xds.resource import DecodedResource
from proxeny.xds.validation import DynamicValidation

MUTATION = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
ECHO = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"


def packed(message: Any) -> Any:
    """An Any."""
    made = any_pb2.Any()
    made.Pack(message)
    return made


def mutation(value: str = "one") -> Any:
    """A filter that adds a response header."""
    message: Any = header_mutation_pb2.HeaderMutation()
    append = message.mutations.response_mutations.add().append
    append.header.key, append.header.value = "x-a", value
    return packed(message)


def router() -> Any:
    """The terminal filter."""
    return packed(router_pb2.Router())


def echo() -> Any:
    """A terminal network filter."""
    return packed(echo_pb2.Echo())


def delivered(config: Any, name: str = "a", version: str = "v1") -> DecodedResource:
    """A resource."""
    return DecodedResource(name, extension_pb2.TypedExtensionConfig(name=name, typed_config=config), version)


def discovery(*type_urls: str, default: Any = None, without_warming: bool = False, source: str = "one") -> Any:
    """An ``ExtensionConfigSource``; sources differ by ``source``."""
    message = config_source_pb2.ExtensionConfigSource(
        type_urls=type_urls or [MUTATION], apply_default_config_without_warming=without_warming
    )
    message.config_source.ads.SetInParent()
    message.config_source.authorities.add(name=source)
    if default is not None:
        message.default_config.CopyFrom(default)
    return message


def http_filter(name: str = "a", disabled: bool = False, **fields: Any) -> Any:
    """An ``HttpFilter`` that is discovered."""
    return hcm_pb2.HttpFilter(name=name, config_discovery=discovery(**fields), disabled=disabled)


def last_filter() -> Any:
    """The router, configured in place."""
    return hcm_pb2.HttpFilter(name="router", typed_config=router())


class FakeXds:
    """Subscriptions that tests drive: its callbacks in the order in which they were made."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []
        self.started: list[str] = []
        self.closed = 0

    def check_source(self, source: Any) -> None:
        """Any will do."""

    def subscribe(self, source: Any, callbacks: Any, decoder: Any, stats: Any, watcher: Any) -> FakeXds:
        assert decoder.type_name == "envoy.config.core.v3.TypedExtensionConfig"
        self.callbacks.append(callbacks)
        return self

    def start(self, names: list[str]) -> None:
        self.started += names

    def close(self) -> None:
        self.closed += 1


class Main:
    """Main's manager and a context to compile in; what workers would be told."""

    def __init__(self, dispatcher: Any) -> None:
        self.store = MainStore()
        self.xds = FakeXds()
        validation = DynamicValidation(LoadOptions())
        self.manager = FilterConfigManager(self.store, dispatcher, lambda: validation)
        self.changed: list[Any] = []
        self.unused: list[Any] = []
        self.manager.on_change = self.changed.append
        self.manager.on_unused = self.unused.append
        self.init_manager = InitManager("Listener l")
        node = base_pb2.Node(id="node", cluster="cluster")
        self.context = FactoryContext(
            "main",
            self.store,
            dispatcher=dispatcher,
            local_info=LocalInfo(node=node),
            filter_configs=self.manager,
            xds=self.xds,  # type: ignore[arg-type]
            init_manager=self.init_manager,
        )

    def counter(self, name: str, prefix: str = "extension_config_discovery.http_filter.a.") -> int:
        """One of the discovery's own."""
        entry = self.store.entries["extension_config_discovery", prefix]
        return self.store.segment.block(entry.base, entry.schema.size).get(entry.schema.slot(name))
