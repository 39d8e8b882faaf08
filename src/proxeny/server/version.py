"""Version texts and numbers, in Envoy's shapes."""

from __future__ import annotations

import sys
from typing import Any, Final

from proxeny import __version__
from proxeny.registry import REGISTRY

HOT_RESTART_DISABLED: Final = "disabled"

CATEGORIES: Final[dict[str, str]] = {
    "network_filter": "envoy.filters.network",
    "http_filter": "envoy.filters.http",
    "access_logger": "envoy.access_loggers",
    "resource_monitor": "envoy.resource_monitors",
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
    """Put name, version and extensions of this build into a ``config.core.v3.Node``."""
    node.user_agent_name = "envoy"
    version = node.user_agent_build_version.version
    version.major_number, version.minor_number, version.patch = (int(part) for part in __version__.split(".")[:3])
    node.user_agent_build_version.metadata.update({"build.type": "RELEASE", "revision.status": "Clean"})
    del node.extensions[:]
    for extension in sorted(REGISTRY.extensions(), key=lambda extension: (extension.kind, extension.name)):
        category = CATEGORIES.get(extension.kind)
        if category is not None:
            node.extensions.add(name=extension.name, category=category, type_urls=extension.config_types)
