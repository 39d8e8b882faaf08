"""IP ranges (``CidrRange``; Envoy: ``Network::Address::CidrRange``) and longest-prefix look-up (``LcTrie``).

Addresses are in network byte order, 4 or 16 bytes. A look-up is one access per prefix length that occurs, at most 33 or
129, however many ranges there are.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from proxeny.config.errors import ConfigError

V = TypeVar("V")


class Range(NamedTuple):
    """The addresses of ``size`` bytes that begin with the ``length`` bits of ``number``."""

    size: int
    length: int
    number: int

    @property
    def shift(self) -> int:
        """How many bits of an address are not looked at."""
        return self.size * 8 - self.length

    def __str__(self) -> str:
        packed = (self.number << self.shift).to_bytes(self.size, "big")
        return f"{socket.inet_ntop(family_of(packed), packed)}/{self.length}"


def family_of(packed: bytes) -> socket.AddressFamily:
    """The address family of a packed address."""
    return socket.AF_INET if len(packed) == 4 else socket.AF_INET6


def parse_ip(text: str) -> bytes | None:
    """An IP literal, packed; a v6 scope is dropped; None for anything else."""
    try:
        return socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        pass
    try:
        return socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return None


def parse_range(message: Any) -> Range:
    """From a ``CidrRange`` message: an unset length is 0, one that is too long means the whole address, as in Envoy."""
    packed = parse_ip(message.address_prefix)
    if packed is None:
        raise ConfigError(f"malformed IP address: {message.address_prefix}")
    size = len(packed)
    length = min(message.prefix_len.value, size * 8)
    return Range(size, length, int.from_bytes(packed, "big") >> (size * 8 - length))


class LongestPrefix(Generic[V]):
    """Values by range; of ranges that are given twice the later counts."""

    __slots__ = ("_shifts",)

    def __init__(self, ranges: Iterable[tuple[Range, V]]) -> None:
        shifts: dict[int, dict[int, dict[int, V]]] = {4: {}, 16: {}}
        for prefix, value in ranges:
            shifts[prefix.size].setdefault(prefix.shift, {})[prefix.number] = value
        self._shifts = {size: sorted(by_shift.items()) for size, by_shift in shifts.items()}

    def get(self, packed: bytes) -> V | None:
        """The value of the longest range that holds the address, else None."""
        number = int.from_bytes(packed, "big")
        for shift, values in self._shifts[len(packed)]:
            found = values.get(number >> shift)
            if found is not None:
                return found
        return None

    def all(self, packed: bytes) -> Iterator[V]:
        """The values of all ranges that hold the address, the longest range first."""
        number = int.from_bytes(packed, "big")
        for shift, values in self._shifts[len(packed)]:
            found = values.get(number >> shift)
            if found is not None:
                yield found
