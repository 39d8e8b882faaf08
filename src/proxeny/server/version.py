"""Version texts and numbers, in Envoy's shapes."""

from __future__ import annotations

import sys
from typing import Any, Final

from proxeny import __version__
from proxeny.registry import REGISTRY

ENVOY_VERSION: Final = (1, 40, 0)
HOT_RESTART_DISABLED: Final = "disabled"

CATEGORIES: Final[dict[str, str]] = {
    "network_filter": "envoy.filters.network",
    "http_filter": "envoy.filters.http",
    "access_logger": "envoy.access_loggers",
    "resource_monitor": "envoy.resource_monitors",
    "config_validator": "envoy.config.validators",
    "network_input": "envoy.matching.network.input",
    "common_input": "envoy.matching.common_inputs",
    "input_matcher": "envoy.matching.input_matchers",
    "custom_matcher": "envoy.matching.network.custom_matchers",
    "filter_chain_action": "envoy.matching.action",
}
"""Envoy's name of each kind of extension, as ``/server_info`` lists them."""


def version_text() -> str:
    """``revision/number/state/type/library``, as --version and ``/server_info`` show it."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"proxeny/{__version__}/Clean/RELEASE/Python-{python}"


def describe(node: Any) -> None:
    """Put name, version and extensions of this build into a ``config.core.v3.Node``, unless it says others.

    Control planes look at the version to know what they may send: it is that of the Envoy whose API is served.
    """
    if not node.user_agent_name:
        node.user_agent_name = "envoy"
    if not node.HasField("user_agent_build_version"):
        build = node.user_agent_build_version
        build.version.major_number, build.version.minor_number, build.version.patch = ENVOY_VERSION
        build.metadata.update(
            {"build.type": "RELEASE", "revision.status": "Clean", "proxeny.version": __version__},
        )
    del node.extensions[:]
    for extension in sorted(REGISTRY.extensions(), key=lambda extension: (extension.kind, extension.name)):
        category = CATEGORIES.get(extension.kind)
        if category is not None:
            node.extensions.add(name=extension.name, category=category, type_urls=extension.config_types)
