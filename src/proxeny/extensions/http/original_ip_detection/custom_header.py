"""``envoy.http.original_ip_detection.custom_header``: the client's address from a header of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.original_ip import Detection
from proxeny.network.address import ip_literal

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.address import Address
    from proxeny.network.factory_context import FactoryContext

FORBIDDEN = 403
ERRORS = range(400, 600)


class CustomHeader:
    """The first value of the header is the address, and nothing else."""

    __slots__ = ("_header", "_missing", "_trusted")

    def __init__(self, config: Any) -> None:
        self._header = config.header_name.lower().encode()
        self._trusted: bool = config.allow_extension_to_set_address_as_trusted
        status = 0
        if config.HasField("reject_with_status"):
            code = config.reject_with_status.code
            status = code if code in ERRORS else FORBIDDEN
        self._missing = Detection(None, False, status)

    def detect(self, headers: HeaderMap, peer: Address) -> Detection:
        """Refuses the request without an address there, if it is to."""
        value = headers.get(self._header)
        address = None if value is None else ip_literal(value)
        return self._missing if address is None else Detection(address, self._trusted)


class CustomHeaderFactory:
    """The registered factory."""

    def create_detection(self, message: Any, context: FactoryContext) -> CustomHeader:
        """From a CustomHeaderConfig."""
        return CustomHeader(message)


FACTORY = CustomHeaderFactory()
