"""Extensions that may refuse an update before anybody applies it (Envoy: ``Config::ConfigValidator``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Protocol

from proxeny.config.loader import unpack_any
from proxeny.config.message_types import type_name_of
from proxeny.registry import REGISTRY
from proxeny.xds.resource import DecodedResource

KIND: Final = "config_validator"
AddedClusters = Callable[[], Collection[str]]
"""Names of the clusters that did not come with the bootstrap."""


class ConfigValidator(Protocol):
    """Looks at updates of one type, ``type_url``."""

    @property
    def type_url(self) -> str:
        """What requests call the type."""

    def validate(self, resources: Sequence[DecodedResource]) -> None:
        """A state of the world; ConfigError refuses it."""

    def validate_delta(self, added: Sequence[DecodedResource], removed_names: Sequence[str]) -> None:
        """What changes; ConfigError refuses it."""


class ConfigValidators:
    """Those of one config source."""

    __slots__ = ("_validators",)

    def __init__(self, validators: Iterable[ConfigValidator] = ()) -> None:
        self._validators = tuple(validators)

    def validate(self, type_url: str, resources: Sequence[DecodedResource]) -> None:
        """All that look at the type see a state of the world; ConfigError."""
        for validator in self._validators:
            if validator.type_url == type_url:
                validator.validate(resources)

    def validate_delta(self, type_url: str, added: Sequence[DecodedResource], removed_names: Sequence[str]) -> None:
        """Likewise what changes."""
        for validator in self._validators:
            if validator.type_url == type_url:
                validator.validate_delta(added, removed_names)


def compile_validators(api: Any, added_clusters: AddedClusters) -> ConfigValidators:
    """``config_validators`` of an ``ApiConfigSource``; ConfigError for one that is not known."""
    validators = []
    for config in api.config_validators:
        factory = REGISTRY.factory(KIND, config.name, type_name_of(config.typed_config.type_url))
        validators.append(factory.create(unpack_any(config.typed_config), added_clusters))
    return ConfigValidators(validators)
