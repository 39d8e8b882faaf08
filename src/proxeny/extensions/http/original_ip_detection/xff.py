"""``envoy.http.original_ip_detection.xff``: the client's address from ``x-forwarded-for``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.http.original_ip import Detection, last_address_from_xff, last_untrusted_from_xff
from proxeny.matcher.cidr import LongestPrefix, Range, parse_range

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.address import Address
    from proxeny.network.factory_context import FactoryContext

XFF = b"x-forwarded-for"


UNTRUSTED_PEER = Detection(append_xff=True)


class TrustedHops:
    """The address so many places from the right."""

    __slots__ = ("_append", "_hops")

    def __init__(self, hops: int, append: bool) -> None:
        self._hops = hops
        self._append = append

    def detect(self, headers: HeaderMap, peer: Address) -> Detection:
        """Trusted where it is the only one."""
        address, single = last_address_from_xff(headers.get_joined(XFF), self._hops)
        return Detection(address, single, 0, self._append)


class TrustedNetworks:
    """The rightmost address that is not of a trusted proxy, if the peer is one."""

    __slots__ = ("_append", "_networks")

    def __init__(self, ranges: Iterable[Range], append: bool) -> None:
        self._networks = LongestPrefix([(item, True) for item in ranges])
        self._append = append

    def _trusts(self, packed: bytes) -> bool:
        return self._networks.get(packed) is not None

    def detect(self, headers: HeaderMap, peer: Address) -> Detection:
        """Nothing from a peer that is no trusted proxy; its address is appended, whatever is configured."""
        if not peer.packed or not self._trusts(peer.packed):
            return UNTRUSTED_PEER
        address, single = last_untrusted_from_xff(headers.get_joined(XFF), self._trusts)
        return Detection(address, single, 0, self._append)


def _ranges(cidrs: Iterable[Any]) -> list[Range]:
    """Those that are ranges; Envoy passes the others over."""
    ranges = []
    for cidr in cidrs:
        try:
            ranges.append(parse_range(cidr))
        except ConfigError:
            continue
    return ranges


class XffFactory:
    """The registered factory."""

    def create_detection(self, message: Any, context: FactoryContext) -> TrustedHops | TrustedNetworks:
        """From an XffConfig."""
        append = message.HasField("skip_xff_append") and not message.skip_xff_append.value
        if message.HasField("xff_trusted_cidrs"):
            if message.xff_num_trusted_hops > 0:
                raise ConfigError("Cannot set both xff_num_trusted_hops and xff_trusted_cidrs")
            ranges = _ranges(message.xff_trusted_cidrs.cidrs)
            if ranges:
                return TrustedNetworks(ranges, append)
        return TrustedHops(message.xff_num_trusted_hops, append)


FACTORY = XffFactory()
