"""Where the client's address comes from when it is not the connection's (Envoy: ``Http::OriginalIPDetection``).

Detectors are asked in their order until one finds an address or refuses the request. Without configured ones, the
connection manager reads ``x-forwarded-for`` itself (``http.header_sanitizing``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.matcher.cidr import parse_ip
from proxeny.network.address import Address, ip_literal
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

KIND: Final = "original_ip_detection"


class Detection(NamedTuple):
    """What a detector says of one request."""

    address: Address | None = None
    trusted: bool = False
    """Whether the address decides if the request is internal."""
    reject_status: int = 0
    """Answer with this status instead of serving; 0 = serve."""
    append_xff: bool = False
    """Whether the connection's address is appended to ``x-forwarded-for``."""


NOTHING: Final = Detection()


class OriginalIpDetection(Protocol):
    """One detector."""

    def detect(self, headers: HeaderMap, peer: Address) -> Detection:
        """From the request's headers and the address of its connection."""


class OriginalIpDetectionFactory(Protocol):
    """Registered under ``original_ip_detection``."""

    def create_detection(self, message: Any, context: FactoryContext) -> OriginalIpDetection:
        """The detector of a configuration; ConfigError in Envoy's words."""


def last_address_from_xff(value: bytes | None, skip: int) -> tuple[Address | None, bool]:
    """The address ``skip`` places from the right of x-forwarded-for, and whether it is the only one there."""
    if value is None:
        return None, False
    parts = value.rsplit(b",", skip + 1)
    if len(parts) <= skip:
        return None, False
    address = ip_literal(parts[-1 - skip].strip(b" \t"))
    return address, address is not None and len(parts) == 1


def last_untrusted_from_xff(value: bytes | None, is_trusted: Callable[[bytes], bool]) -> tuple[Address | None, bool]:
    """The rightmost address that is not a trusted proxy's, else the leftmost; None behind what is no address.

    ``is_trusted`` judges packed addresses: there may be thousands of them.
    """
    if value is None:
        return None, False
    parts = value.split(b",")
    last = b""
    for part in reversed(parts):
        last = part.strip(b" \t")
        packed = parse_ip(last.decode("latin-1"))
        if packed is None or not is_trusted(packed):
            break
    address = ip_literal(last)
    return address, address is not None and len(parts) == 1


def compile_detections(config: Any, context: FactoryContext) -> tuple[OriginalIpDetection, ...]:
    """``original_ip_detection_extensions``, which do not go with the connection manager's own settings."""
    items = config.original_ip_detection_extensions
    if not items:
        return ()
    for field, is_set in (
        ("use_remote_address", config.use_remote_address.value),
        ("xff_num_trusted_hops", config.xff_num_trusted_hops > 0),
    ):
        if is_set:
            raise ConfigError(f"Original IP detection extensions and {field} may not be mixed")
    detections = []
    for item in items:
        config_type = item.typed_config.type_url.rpartition("/")[2]
        if not REGISTRY.knows(KIND, item.name, config_type):
            raise ConfigError(f"Original IP detection extension not found: '{item.name}'")
        factory: OriginalIpDetectionFactory = REGISTRY.factory(KIND, item.name, config_type)
        detections.append(factory.create_detection(unpack_any(item.typed_config), context))
    return tuple(detections)
