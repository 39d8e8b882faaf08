"""What main tells the workers of one host of a DNS cache."""

from __future__ import annotations

import msgspec


class DnsEntry(msgspec.Struct, array_like=True, omit_defaults=True):
    """A host whose first resolution is over, whatever came of it."""

    name: str
    """With its port."""
    port: int
    addresses: list[str]
    """In the order of the answer; empty: there are none, and ``details`` says why."""
    details: str
    failed: bool = False
    """Whether the resolver failed (a name without addresses is no failure)."""
    slot: int = 0
    """A number that no other host of the cache has."""
