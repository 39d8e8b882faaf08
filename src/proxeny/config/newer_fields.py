"""Fields of Envoy's API that are younger than the installed xds-protos.

A message type cannot get a field once it is there, so the module that defines it is told of the field while it is
imported: a finder (``install``) hands what it adds to the descriptor pool through ``_FILES``. Where the module was
imported before (by others than us) its messages stay as they are, and the field is an unknown one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final


def _cookies(file: Any) -> None:
    """``RouteMatch.cookies`` (Envoy 1.38)."""
    field = next(message for message in file.message_type if message.name == "RouteMatch").field
    if any(one.name == "cookies" for one in field):
        return
    field.add(name="cookies", number=17, label=3, type=11, type_name=".envoy.config.route.v3.CookieMatcher")
    matcher = file.message_type.add(name="CookieMatcher")
    name = matcher.field.add(name="name", number=1, label=1, type=9)
    value = matcher.field.add(
        name="string_match", number=2, label=1, type=11, type_name=".envoy.type.matcher.v3.StringMatcher"
    )
    matcher.field.add(name="invert_match", number=3, label=1, type=8)

    from validate import validate_pb2

    rules = name.options.Extensions[validate_pb2.rules].string
    rules.min_len, rules.max_bytes = 1, 1024
    value.options.Extensions[validate_pb2.rules].message.required = True


def _inverted_addresses(file: Any) -> None:
    """``AddressMatcher.invert_match`` (Envoy 1.39)."""
    field = next(message for message in file.message_type if message.name == "AddressMatcher").field
    if not any(one.name == "invert_match" for one in field):
        field.add(name="invert_match", number=2, label=1, type=8)


def _degraded_hosts(file: Any) -> None:
    """``OutlierDetection.detect_degraded_hosts`` (Envoy 1.38)."""
    field = file.message_type[0].field
    if not any(one.name == "detect_degraded_hosts" for one in field):
        wrapper = ".google.protobuf.BoolValue"
        field.add(name="detect_degraded_hosts", number=26, label=1, type=11, type_name=wrapper)


def _clear_route_cache(file: Any) -> None:
    """``clear_route_cache`` of the HTTP filter that sets filter state (Envoy 1.39)."""
    field = next(message for message in file.message_type if message.name == "Config").field
    if not any(one.name == "clear_route_cache" for one in field):
        field.add(name="clear_route_cache", number=2, label=1, type=8)


def _health_checks(file: Any) -> None:
    """``HealthCheck.name`` and ``HttpHealthCheck.use_alpn_protocol`` (Envoy 1.40)."""
    check = next(message for message in file.message_type if message.name == "HealthCheck")
    if not any(one.name == "name" for one in check.field):
        check.field.add(name="name", number=27, label=1, type=9)
    http = next(message for message in check.nested_type if message.name == "HttpHealthCheck")
    if not any(one.name == "use_alpn_protocol" for one in http.field):
        http.field.add(name="use_alpn_protocol", number=15, label=1, type=8)


def _tls(file: Any) -> None:
    """``suppress_client_ca_list`` and ``TlsCertificate.tls_params`` (Envoy 1.40)."""
    messages = {message.name: message.field for message in file.message_type}
    validation, certificate = messages["CertificateValidationContext"], messages["TlsCertificate"]
    if not any(one.name == "suppress_client_ca_list" for one in validation):
        validation.add(name="suppress_client_ca_list", number=18, label=1, type=8)
    if not any(one.name == "tls_params" for one in certificate):
        name = f".{file.package}.TlsParameters"
        certificate.add(name="tls_params", number=9, label=1, type=11, type_name=name)


def _spiffe(file: Any) -> None:
    """A SPIFFE validator needs no ``trust_domains`` since it may have ``trust_bundles``: the rule is gone."""
    config = next(message for message in file.message_type if message.name == "SPIFFECertValidatorConfig")
    for field in config.field:
        if field.name == "trust_domains":
            field.ClearField("options")


_TLS: Final = "envoy/extensions/transport_sockets/tls/v3/common"
_SPIFFE: Final = "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config"
_SET_FILTER_STATE: Final = "envoy/extensions/filters/http/set_filter_state/v3/set_filter_state"

_FILES: Final[dict[str, tuple[str, Callable[[Any], None]]]] = {
    "envoy.type.matcher.v3.address_pb2": ("envoy/type/matcher/v3/address.proto", _inverted_addresses),
    _SPIFFE.replace("/", ".") + "_pb2": (_SPIFFE + ".proto", _spiffe),
    _TLS.replace("/", ".") + "_pb2": (_TLS + ".proto", _tls),
    _SET_FILTER_STATE.replace("/", ".") + "_pb2": (_SET_FILTER_STATE + ".proto", _clear_route_cache),
    "envoy.config.cluster.v3.outlier_detection_pb2": (
        "envoy/config/cluster/v3/outlier_detection.proto",
        _degraded_hosts,
    ),
    "envoy.config.core.v3.health_check_pb2": ("envoy/config/core/v3/health_check.proto", _health_checks),
    "envoy.config.route.v3.route_components_pb2": ("envoy/config/route/v3/route_components.proto", _cookies),
}
"""Module -> the file that it defines, and what adds to it."""


class _Pool:
    """The descriptor pool while such a module is imported."""

    def __init__(self, pool: Any, name: str, add: Callable[[Any], None]) -> None:
        self._pool = pool
        self._name = name
        self._add = add

    def AddSerializedFile(self, data: bytes) -> Any:
        """As the pool does it, but for the one file."""
        if self._name.encode() in data[:100]:
            from google.protobuf import descriptor_pb2

            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            if file.name == self._name:
                self._add(file)
                data = file.SerializeToString()
        return self._pool.AddSerializedFile(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


@contextmanager
def _adding(name: str, add: Callable[[Any], None]) -> Iterator[None]:
    from google.protobuf import descriptor_pool

    default = descriptor_pool.Default
    pool = _Pool(default(), name, add)
    descriptor_pool.Default = lambda: pool  # type: ignore[assignment, return-value]
    try:
        yield
    finally:
        descriptor_pool.Default = default


class _Loader(Loader):
    """Another loader, whose module is told of the fields."""

    def __init__(self, loader: Loader, name: str, add: Callable[[Any], None]) -> None:
        self._loader = loader
        self._name = name
        self._add = add

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the other does it."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        with _adding(self._name, self._add):
            self._loader.exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of ``_FILES``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for all others."""
        added = _FILES.get(fullname)
        spec = None if added is None else PathFinder.find_spec(fullname, path, target)
        if added is not None and spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, *added)
        return spec


def install() -> None:
    """From now on, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
