"""``typed_per_filter_config`` at every level (Envoy: ``PerFilterConfigs``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.message_types import message_class, type_name_of
from proxeny.registry import REGISTRY

_FILTER_CONFIG: Final = "envoy.config.route.v3.FilterConfig"


class PerFilterConfigs:
    """Compiled per-route configs of filters by name, and which filters are switched off or on here."""

    __slots__ = ("_below", "configs", "disabled")

    def __init__(
        self, configs: dict[str, Any], disabled: dict[str, bool], below: PerFilterConfigs | None = None
    ) -> None:
        """``below``: the level that these stand on; what it says and these do not holds here too."""
        self._below = below
        self.configs = configs
        self.disabled = disabled

    def above(self, below: PerFilterConfigs | None) -> PerFilterConfigs:
        """These on top of another level (a weighted cluster's on its route's)."""
        if below is None:
            return self
        made = PerFilterConfigs(self.configs, {**below.disabled, **self.disabled}, below)
        made.configs = {**below.configs, **self.configs}
        return made

    def all(self, name: str) -> list[Any]:
        """The configs of the filter ``name``, from the least to the most specific."""
        own = self.configs.get(name)
        below = [] if self._below is None else self._below.all(name)
        return below if own is None or own in below else [*below, own]

    @classmethod
    def compile(cls, typed_configs: Mapping[str, Any], context: Any) -> PerFilterConfigs | None:
        """From the map of Anys (None when it is empty); ConfigError in Envoy's words."""
        if not typed_configs:
            return None
        configs: dict[str, Any] = {}
        disabled: dict[str, bool] = {}
        for name, typed_config in typed_configs.items():
            is_optional = False
            if type_name_of(typed_config.type_url) == _FILTER_CONFIG:
                wrapper = unpack(typed_config)
                if wrapper.disabled:
                    disabled[name] = True
                    continue
                if not wrapper.HasField("config"):
                    raise ConfigError(f"Empty route/virtual host per filter configuration for {name} filter")
                typed_config = wrapper.config
                is_optional = wrapper.is_optional
            # Whoever has a configuration of its own here runs here, even where it is disabled elsewhere.
            disabled[name] = False
            compiled = _compile_one(name, typed_config, is_optional, context)
            if compiled is not None:
                configs[name] = compiled
        return cls(configs, disabled)


def unpack(typed_config: Any) -> Any:
    """The message inside an Any; ConfigError when its type is unknown or its bytes are not of it."""
    type_name = type_name_of(typed_config.type_url)
    try:
        message = message_class(type_name)()
    except KeyError:
        raise ConfigError(f"Invalid type URL, unknown type: {type_name}") from None
    try:
        message.ParseFromString(typed_config.value)
    except Exception:
        raise ConfigError(f"Unable to unpack as {type_name}") from None
    return message


def _compile_one(name: str, typed_config: Any, is_optional: bool, context: Any) -> Any:
    try:
        extension = REGISTRY.factory("http_filter", name, type_name_of(typed_config.type_url))
    except ConfigError:
        if is_optional:
            return None
        raise
    return extension.create_route_config(unpack(typed_config), context)
