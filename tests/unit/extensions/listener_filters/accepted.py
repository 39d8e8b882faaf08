"""A listener filter on an accepted socket of a test's own: bytes arrive as the test says, and are peeked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proxeny.listener.filter import ListenerFilter
from proxeny.network.address import Address, ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import FilterStatus
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore

LOCAL = ip_address("127.0.0.1", 80)
PEER = ip_address("10.0.0.9", 999)


class Clock:
    """A dispatcher that is only a clock."""

    def __init__(self) -> None:
        self.now = 10**15

    def monotonic_ns(self) -> int:
        return self.now


class Accepted:
    """One accepted socket and its only filter."""

    def __init__(self, tested: ListenerFilter, local: Address = LOCAL, peer: Address = PEER) -> None:
        self.fd = 7
        self.dispatcher = Clock()
        self.upstream_options: list[Any] = []
        self.connection_info = ConnectionInfo(local, peer, 1)
        self.stream_info = StreamInfo(self.connection_info, 0.0, 0)
        self.closed = False
        self.passed = False
        self.there = b""
        self._filter = tested
        tested.socket = self  # type: ignore[assignment]

    def restore_local_address(self, address: Address) -> None:
        self.connection_info.local_address = address
        self.connection_info.local_address_restored = True

    def drain(self, size: int) -> None:
        assert size <= len(self.there)
        self.there = self.there[size:]

    def close(self, details: str = "") -> None:
        assert not self.closed
        self.closed = True

    def accept(self) -> Accepted:
        """Start the filter."""
        self.passed = self._filter.on_accept() is FilterStatus.CONTINUE and not self.closed
        return self

    def receive(self, pieces: Iterable[bytes]) -> Accepted:
        """Bytes arrive, piece by piece; the filter sees them until it is done."""
        for piece in pieces:
            self.there += piece
            seen = -1
            while not self.passed and not self.closed:
                data = self.there[: self._filter.max_read_bytes]
                if len(data) == seen:
                    break
                seen = len(data)
                self.passed = self._filter.on_data(data) is FilterStatus.CONTINUE
        return self


def context(role: str = "main") -> FactoryContext:
    return FactoryContext(role, MainStore())


def counters(made_in: FactoryContext) -> dict[str, int]:
    """All counters that are not zero, with their prefix."""
    store = made_in.stats
    assert isinstance(store, MainStore)
    found = {}
    for (_, prefix), entry in store.entries.items():
        block = store.segment.block(entry.base, entry.schema.size)
        for slot, name in enumerate(entry.schema.counters):
            if block.get(slot):
                found[prefix + name] = block.get(slot)
    return found


def splits(data: bytes) -> list[list[bytes]]:
    """The whole, byte by byte, and every split in two."""
    halves = [[data[:at], data[at:]] for at in range(1, len(data))]
    return [[data], [data[at : at + 1] for at in range(len(data))], *halves]
