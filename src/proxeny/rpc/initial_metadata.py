"""``GrpcService.initial_metadata``: what is sent with every stream and call, literally; the last of a name counts.

Names that end in ``-bin`` have any bytes for a value, which travel in base64 (grpcio sees to that by itself).
"""

from __future__ import annotations

import base64
import string
from typing import Any, Final

from envoy.config.core.v3 import base_pb2

from proxeny.config.errors import ConfigError
from proxeny.router.header_mutation import compile_mutation

_KEY: Final = frozenset(string.ascii_letters + string.digits + "_.-")
_VALUE: Final = frozenset(map(chr, range(0x20, 0x7F)))
BINARY: Final = "-bin"


def check_characters(service: Any) -> None:
    """ConfigError in Envoy's words for what gRPC does not allow; only clients over grpcio are that strict."""
    for header in service.initial_metadata:
        if not _KEY.issuperset(header.key):
            raise ConfigError(f"Illegal characters in gRPC initial metadata header key: {header.key}.")
        if not header.key.endswith(BINARY) and not _VALUE.issuperset(header.value):
            raise ConfigError(f"Illegal ASCII value for gRPC initial metadata header key: {header.key}.")


def initial_metadata(service: Any) -> dict[str, str]:
    """Lower-cased names and values; ConfigError in Envoy's words."""
    # As in Envoy, values are checked as if command operators in them counted.
    compile_mutation([base_pb2.HeaderValueOption(header=header) for header in service.initial_metadata], ())
    return {header.key.lower(): header.value for header in service.initial_metadata}


def for_grpcio(metadata: dict[str, str]) -> tuple[tuple[str, str | bytes], ...]:
    """As grpcio wants it."""
    return tuple([(key, value.encode() if key.endswith(BINARY) else value) for key, value in metadata.items()])


def for_headers(metadata: dict[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """As headers."""
    return tuple(
        [
            (key.encode(), base64.b64encode(value.encode()) if key.endswith(BINARY) else value.encode())
            for key, value in metadata.items()
        ]
    )
