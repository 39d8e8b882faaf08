"""Collections of resources: ``xdstp://authority/type/id/*`` (Envoy: ``collectionSubscriptionFromUrl``)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from envoy.config.core.v3 import config_source_pb2
from google.protobuf.json_format import MessageToDict

from proxeny.config.debug_string import debug_string
from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.xds import xdstp
from proxeny.xds.subscription import Subscription

_Api: Final = config_source_pb2.ApiConfigSource
_AGGREGATED: Final = frozenset((_Api.AGGREGATED_GRPC, _Api.AGGREGATED_DELTA_GRPC))
_PREFIX: Final = "xds.node."
_FILE: Final = "file"
_ALTERNATIVE: Final = "alt="
_DIRECTIVES: Final = (_ALTERNATIVE, "entry=")


def file_path(locator: str) -> str:
    """The file of a locator of the scheme ``file``, empty for others; ConfigError in Envoy's words."""
    if _scheme(locator) != _FILE:
        return ""
    name, _, fragment = locator.partition("#")
    _check_directives(fragment)
    rest = name[len("file:") :]
    if rest.startswith("//"):
        # Whatever host it names.
        rest = rest[2:].partition("/")[2]
    return "/" + unquote(rest).lstrip("/")


def _scheme(locator: str) -> str:
    scheme = urlsplit(locator).scheme
    if scheme not in ("xdstp", "http", _FILE):
        raise ConfigError(f"{locator} does not have a xdstp:, http: or file: scheme")
    return scheme


def _check_directives(fragment: str) -> None:
    for directive in filter(None, fragment.split(",")):
        if not directive.startswith(_DIRECTIVES):
            raise ConfigError(f"Unknown fragment component {directive}")
        if directive.startswith(_ALTERNATIVE):
            _scheme(directive.removeprefix(_ALTERNATIVE))


def decode_locator(locator: str, type_name: str) -> xdstp.XdstpName:
    """A collection of resources of ``type_name``; ConfigError in Envoy's words."""
    scheme = _scheme(locator)
    if scheme != "xdstp":
        raise UnsupportedFieldError(f"collections of the scheme '{scheme}' are not supported")
    decoded = xdstp.decode_locator(locator)
    _check_directives(decoded.fragment)
    if decoded.type_name != type_name:
        raise ConfigError(f"xdstp:// type does not match {type_name} in {decoded.encode()}")
    return decoded


def aggregates(source: Any) -> bool:
    """Whether a ``config.core.v3.ConfigSource`` of a collection means ADS; ConfigError for what has none."""
    kind = source.WhichOneof("config_source_specifier")
    if kind == "ads":
        return True
    if kind != "api_config_source":
        raise ConfigError(
            "Missing or not supported config source specifier in envoy::config::core::v3::ConfigSource for a "
            "collection. Only ADS and gRPC in delta-xDS mode are supported."
        )
    api = source.api_config_source
    if api.api_type not in _AGGREGATED and api.api_type != _Api.DELTA_GRPC:
        raise ConfigError(f"Unknown xdstp:// transport API type in {debug_string(api)}")
    return api.api_type in _AGGREGATED


def node_context(node: Any, keys: Iterable[str]) -> dict[str, str]:
    """What ``node_context_params`` say of a ``config.core.v3.Node``, as the context of names of collections."""
    context: dict[str, str] = {}
    version = node.user_agent_build_version.version
    plain = {
        "id": node.id,
        "cluster": node.cluster,
        "user_agent_name": node.user_agent_name,
        "user_agent_version": node.user_agent_version,
        "locality.region": node.locality.region,
        "locality.zone": node.locality.zone,
        "locality.sub_zone": node.locality.sub_zone,
        "user_agent_build_version.version": f"{version.major_number}.{version.minor_number}.{version.patch}",
    }
    for key in keys:
        if key in plain:
            context[_PREFIX + key] = plain[key]
        elif key == "metadata":
            context.update(_flattened(key, node.metadata))
        elif key == "user_agent_build_version.metadata":
            context.update(_flattened(key, node.user_agent_build_version.metadata))
    return context


def _flattened(key: str, struct: Any) -> dict[str, str]:
    return {
        f"{_PREFIX}{key}.{name}": json.dumps(_whole(value), separators=(",", ":"), ensure_ascii=False)
        for name, value in MessageToDict(struct).items()
    }


def _whole(value: Any) -> Any:
    """Numbers without a fraction are written without a point, as protobuf writes them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return value


class CollectionSubscription:
    """A subscription whose one name is the collection's."""

    __slots__ = ("_inner", "_name")

    def __init__(self, inner: Subscription, name: str) -> None:
        self._inner = inner
        self._name = name

    def start(self, names: Iterable[str] = ()) -> None:
        """Ask for the collection."""
        self._inner.start([self._name])

    def update_names(self, names: Iterable[str]) -> None:
        """A collection is one name for good."""
        raise NotImplementedError

    def request_on_demand(self, names: Iterable[str]) -> None:
        """Nothing of it is on demand."""
        raise NotImplementedError

    def close(self) -> None:
        """No more callbacks."""
        self._inner.close()
