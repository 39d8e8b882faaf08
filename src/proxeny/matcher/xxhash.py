"""XXH64, the hash that Envoy's configuration speaks of (``HashUtil::xxHash64``), over one or several values."""

from __future__ import annotations

from collections.abc import Iterable

from proxeny.kernel.hashing import xxhash64

__all__ = ["xxhash64", "xxhash64_of_all"]


def xxhash64_of_all(values: Iterable[bytes]) -> int:
    """The hash of several values: that of each is the seed of the next one's."""
    value = 0
    for data in values:
        value = xxhash64(data, value)
    return value
