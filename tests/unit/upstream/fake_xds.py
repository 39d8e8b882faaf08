"""A manager of subscriptions without transports: tests deliver what they want."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.xds.eds_cache import EdsResourcesCache
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.subscription import FailureReason


class FakeSubscription:
    def __init__(self, source: Any, callbacks: Any, decoder: ResourceDecoder, stats: Any) -> None:
        self.source = source
        self.callbacks = callbacks
        self.decoder = decoder
        self.stats = stats
        self.names: list[str] | None = None
        self.closed = False

    def start(self, names: Iterable[str] = ()) -> None:
        self.names = list(names)

    def close(self) -> None:
        self.closed = True

    def deliver(self, *messages: Any, version: str = "1") -> None:
        """A state of the world."""
        self.callbacks.on_config_update(self.decoded(messages, version), version)

    def change(self, *messages: Any, removed: Sequence[str] = (), version: str = "1") -> None:
        """A difference."""
        self.callbacks.on_config_delta(self.decoded(messages, version), removed, version)

    def decoded(self, messages: Iterable[Any], version: str) -> list[DecodedResource]:
        from google.protobuf import any_pb2

        found = []
        for message in messages:
            packed: Any = any_pb2.Any()
            packed.Pack(message)
            resource = self.decoder.decode(packed, version)
            assert resource is not None
            found.append(resource)
        return found

    def time_out(self) -> None:
        self.callbacks.on_config_update_failed(FailureReason.FETCH_TIMED_OUT, None)

    def fail_to_connect(self) -> None:
        self.callbacks.on_config_update_failed(FailureReason.CONNECTION_FAILURE, None)

    def refuse(self) -> None:
        self.callbacks.on_config_update_failed(FailureReason.UPDATE_REJECTED, ConfigError("bad"))


class FakeXds:
    """What ``FactoryContext.xds`` is; ``log`` tells of pauses."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.eds_cache = EdsResourcesCache(dispatcher)
        self.subscriptions: list[FakeSubscription] = []
        self.log: list[str] = []

    def check_source(self, source: Any, type_name: str = "") -> None:
        if source.path == "/none":
            raise ConfigError("paths must refer to an existing path in the system: '/none' does not exist")

    def subscribe(
        self, source: Any, callbacks: Any, decoder: ResourceDecoder, stats: Any, watcher: Any = None, **more: Any
    ) -> FakeSubscription:
        if source.path == "/unwatched":
            raise ConfigError("unable to add filesystem watch for file /unwatched: No such file or directory")
        self.subscriptions.append(FakeSubscription(source, callbacks, decoder, stats))
        return self.subscriptions[-1]

    def subscribe_collection(
        self, locator: str, source: Any, callbacks: Any, decoder: ResourceDecoder, stats: Any
    ) -> FakeSubscription:
        return self.subscribe(source, callbacks, decoder, stats)

    @contextmanager
    def pause(self, *type_names: str) -> Iterator[None]:
        short = ",".join(name.rpartition(".")[2] for name in type_names)
        self.log.append(f"pause {short}")
        yield
        self.log.append(f"resume {short}")
