"""CORS policies of routes and virtual hosts, for ``envoy.filters.http.cors`` (Envoy: ``CorsPolicyImplBase``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.matcher.string import StringMatcher, compile_string_matcher
from proxeny.router.route_condition import RuntimeFraction

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class CorsPolicy:
    """One level's policy; what it does not say (b"", None, no origins) the next level may.

    From ``config.route.v3.CorsPolicy`` or the filter's own message of the same fields.
    """

    __slots__ = (
        "_enabled",
        "_shadow_enabled",
        "allow_credentials",
        "allow_headers",
        "allow_methods",
        "allow_private_network",
        "expose_headers",
        "forward_not_matching",
        "max_age",
        "origins",
    )

    def __init__(self, config: Any, context: FactoryContext) -> None:
        self.origins: tuple[StringMatcher, ...] = tuple(
            [compile_string_matcher(one) for one in config.allow_origin_string_match]
        )
        self.allow_methods: bytes = config.allow_methods.encode("utf-8")
        self.allow_headers: bytes = config.allow_headers.encode("utf-8")
        self.expose_headers: bytes = config.expose_headers.encode("utf-8")
        self.max_age: bytes = config.max_age.encode("utf-8")
        self.allow_credentials = _optional(config, "allow_credentials")
        self.allow_private_network = _optional(config, "allow_private_network_access")
        self.forward_not_matching = _optional(config, "forward_not_matching_preflights")
        self._enabled = _fraction(config, "filter_enabled", context)
        self._shadow_enabled = _fraction(config, "shadow_enabled", context)

    def enabled(self, random_value: int) -> bool:
        """Whether the policy is enforced for a request."""
        return self._enabled is None or self._enabled.enabled(random_value)

    def shadow_enabled(self, random_value: int) -> bool:
        """Whether it is evaluated for the statistics alone."""
        return self._shadow_enabled is not None and self._shadow_enabled.enabled(random_value)


def _optional(config: Any, field: str) -> bool | None:
    return bool(getattr(config, field).value) if config.HasField(field) else None


def _fraction(config: Any, field: str, context: FactoryContext) -> RuntimeFraction | None:
    return RuntimeFraction(getattr(config, field), context.runtime) if config.HasField(field) else None
