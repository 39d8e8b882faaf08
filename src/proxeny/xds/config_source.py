"""What a ConfigSource must be like."""

from __future__ import annotations

import os
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.xds.resource import TYPE_URL_PREFIX

_SERVED: Final = ("path", "path_config_source", "api_config_source", "ads")


def check_node(node: Any, type_name: str) -> None:
    """Subscriptions say who asks: ConfigError unless the node has an id and a cluster. ``type_name``: or "ads"."""
    if not (node.id and node.cluster):
        owner = type_name if type_name == "ads" else TYPE_URL_PREFIX + type_name
        raise ConfigError(
            f"{owner}: node 'id' and 'cluster' are required. Set it either in 'node' config or "
            "via --service-node and --service-cluster options."
        )


def is_path(source: Any) -> bool:
    """Whether a ``config.core.v3.ConfigSource`` is a file, which needs no cluster to be fetched from."""
    return source.WhichOneof("config_source_specifier") in ("path", "path_config_source")


def is_passed_over(source: Any, options: Any) -> bool:
    """Whether the source is of a kind that is not served, and --accept-unsupported-fields lets that pass."""
    return (
        bool(getattr(options, "accept_unsupported_fields", False))
        and source.WhichOneof("config_source_specifier") not in _SERVED
    )


def check_path(source: Any) -> None:
    """ConfigError for files of a ``config.core.v3.ConfigSource`` that cannot be watched."""
    path = source.path_config_source.path or source.path
    if not os.path.exists(path):
        raise ConfigError(f"paths must refer to an existing path in the system: '{path}' does not exist")
    directory = source.path_config_source.watched_directory.path
    if directory and not os.path.isdir(directory):
        raise ConfigError(f"unable to add filesystem watch for file {directory}/: No such file or directory")


def describe(source: Any) -> str:
    """Where a ``config.core.v3.ConfigSource`` leads, for people: a path, "ads", "self", clusters, a target."""
    kind = source.WhichOneof("config_source_specifier") or ""
    if kind == "path":
        return str(source.path)
    if kind == "path_config_source":
        return str(source.path_config_source.path)
    if kind != "api_config_source":
        return kind
    api = source.api_config_source
    services = [one.envoy_grpc.cluster_name or one.google_grpc.target_uri for one in api.grpc_services]
    return ", ".join([*services, *api.cluster_names])
