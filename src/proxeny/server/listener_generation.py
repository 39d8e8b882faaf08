"""One generation of a listener, and the sockets that generations hand on to each other."""

from __future__ import annotations

import asyncio
import os
import time
from enum import Enum
from typing import Any, Final

from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.network.address import Address
from proxeny.server.configuration import CompiledListener, content_hash
from proxeny.xds.init_manager import InitTarget

MOST_INLINE: Final = 65_536
"""Thousands of listeners must not cost a descriptor each; a large one is not copied for each worker."""


class State(Enum):
    """Where a generation is; it only moves forward."""

    WARMING = "warming"
    ACTIVE = "active"
    DRAINING = "draining"


class SharedSockets:
    """Listening sockets that several generations hold; the last one closes them."""

    __slots__ = ("_factory", "_holders", "facts")

    def __init__(self, factory: ListenSocketFactory, config: Any) -> None:
        self._factory = factory
        self._holders = 1
        self.facts = socket_facts(config)
        """What they were made by."""

    def share(self) -> SharedSockets:
        """One holder more."""
        self._holders += 1
        return self

    def release(self) -> None:
        """One holder less: without any, what waits in the queues is reset and the addresses are free."""
        self._holders -= 1
        if not self._holders:
            self._factory.close()

    def listen(self) -> None:
        """Begin to listen, if they do not yet; ConfigError."""
        self._factory.listen()

    @property
    def addresses(self) -> list[Address]:
        """The bound addresses."""
        return self._factory.addresses

    def fds(self, worker_index: int) -> list[int]:
        """The listening descriptors of one worker, one per address."""
        return self._factory.fds(worker_index)


class ManagedListener:
    """One generation of a listener. An update in place has the ``tag`` of its predecessor and another ``version``."""

    def __init__(
        self,
        compiled: CompiledListener,
        tag: int,
        version: int,
        sockets: SharedSockets,
        version_info: str = "",
        *,
        is_static: bool = False,
    ) -> None:
        self.compiled = compiled
        self.tag = tag
        self.version = version
        self.version_info = version_info
        self.is_static = is_static
        self.updated_at = time.time()
        self.state = State.WARMING
        self.removed = False
        """Removed while the workers were being told of it."""
        self.told_to_go = False
        """Its connections were told to go, by an admin's command: so are those of a worker that comes later."""
        self.failure = ""
        """Why it was given up."""
        self.stopped = False
        """Accepts no more, by an admin's command."""
        self.settled = asyncio.Event()
        """Set once the workers have answered, or it was given up."""
        self.warmed = asyncio.Event()
        """Set once all that it waits for is ready, or nobody wants it any more."""
        self.init_target = InitTarget(f"Listener-init-target {self.name}", self.initialize)
        """What the start of the server waits for."""
        self.balance_row = -1
        """Its row in the balance table, which generations of one tag share; -1 without exact balance."""
        self.answers: list[asyncio.Future[Any]] = []
        self._sockets: SharedSockets | None = sockets
        self._addresses = sockets.addresses
        self._memfd = -1

    def __repr__(self) -> str:
        return f"<ManagedListener {self.name} tag={self.tag} version={self.version} {self.state.value}>"

    def initialize(self) -> None:
        """Begin to wait for what it needs."""
        self.compiled.init_manager.initialize(self.stop_waiting)

    def stop_waiting(self) -> None:
        """Everything is there, or nobody wants it any more."""
        self.compiled.init_manager.cancel()
        self.warmed.set()
        self.init_target.ready()

    @property
    def name(self) -> str:
        """The listener's name."""
        return str(self.compiled.proto.name)

    @property
    def config(self) -> Any:
        """The listener as main compiled it."""
        return self.compiled.config

    def is_made_of(self, proto: Any) -> bool:
        """Whether this Listener message is the one it was made of."""
        return self.compiled.hash == content_hash(proto.SerializeToString(deterministic=True))

    @property
    def addresses(self) -> list[Address]:
        """The addresses that it is, or was, bound to."""
        return self._addresses

    @property
    def sockets(self) -> SharedSockets | None:
        """Its sockets; None once it has let go of them."""
        return self._sockets

    def fds(self, worker_index: int) -> list[int]:
        """The listening descriptors of one worker; none once it has let go of them."""
        return self._sockets.fds(worker_index) if self._sockets is not None else []

    def carried(self) -> tuple[bytes, list[int]]:
        """The serialized listener as it goes to a worker: in the message, or in a memfd that all workers read."""
        data = self.compiled.data
        if len(data) <= MOST_INLINE:
            return data, []
        if self._memfd < 0:
            self._memfd = _memfd(data)
        return b"", [self._memfd]

    def release_sockets(self) -> None:
        """Hold the sockets no longer."""
        if self._sockets is not None:
            self._sockets.release()
            self._sockets = None

    def close(self) -> None:
        """Let go of all of main's descriptors, and wait for nothing."""
        self.stop_waiting()
        self.release_sockets()
        if self._memfd >= 0:
            os.close(self._memfd)
            self._memfd = -1


def _memfd(data: bytes) -> int:
    memfd = os.memfd_create("proxeny-listener", os.MFD_CLOEXEC)
    with os.fdopen(memfd, "wb", closefd=False) as file:
        file.write(data)
    return memfd


def socket_facts(config: Any) -> tuple[Any, ...]:
    """What makes the sockets of two configurations interchangeable (a new backlog does not matter, as in Envoy)."""
    return [listen.facts() for listen in config.listen_addresses], config.bind_to_port


def same_addresses(one: Any, other: Any) -> bool:
    """Whether two configurations have the same addresses, in any order."""
    return _addresses(one) == _addresses(other)


def _addresses(config: Any) -> list[tuple[str, int]]:
    return sorted((listen.address.as_string(), listen.socket_type) for listen in config.listen_addresses)
