"""Matchers that let a share of all values through, each value always the same way: by its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.matcher.xxhash import xxhash64

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

DENOMINATORS = (100, 10_000, 1_000_000)
"""``FractionalPercent.DenominatorType``, by number."""


class ConsistentHashing:
    """``envoy.matching.matchers.consistent_hashing``: the hash modulo a number reaches a threshold."""

    __slots__ = ("_modulo", "_seed", "_threshold")

    def __init__(self, message: Any) -> None:
        if message.threshold > message.modulo:
            raise ConfigError(f"threshold cannot be greater than modulo: {message.threshold} > {message.modulo}")
        self._threshold = message.threshold
        self._modulo = message.modulo
        self._seed = message.seed

    def match(self, value: Any) -> bool:
        """By the text's hash."""
        return isinstance(value, bytes) and xxhash64(value, self._seed) % self._modulo >= self._threshold

    def __str__(self) -> str:
        return f"has a hash that modulo {self._modulo} is at least {self._threshold}"


class RuntimeFraction:
    """``envoy.matching.matchers.runtime_fraction``: the hash falls into a fraction, which runtime may override."""

    __slots__ = ("_denominator", "_key", "_numerator", "_runtime", "_seed")

    def __init__(self, message: Any, runtime: Any) -> None:
        fraction = message.runtime_fraction
        self._key = fraction.runtime_key
        self._numerator = fraction.default_value.numerator
        self._denominator = DENOMINATORS[fraction.default_value.denominator]
        self._runtime = runtime
        self._seed = message.seed

    def match(self, value: Any) -> bool:
        """By the text's hash."""
        if not isinstance(value, bytes):
            return False
        number = xxhash64(value, self._seed)
        if self._key and self._runtime is not None:
            return bool(self._runtime.feature_enabled(self._key, self._numerator, self._denominator, number))
        return bool(number % self._denominator < self._numerator)

    def __str__(self) -> str:
        key = f", runtime key '{self._key}'" if self._key else ""
        return f"has a hash in {self._numerator} of {self._denominator}{key}"


class ConsistentHashingFactory:
    """The registered factory."""

    def create_matcher(self, message: Any, context: FactoryContext) -> ConsistentHashing:
        """ConfigError in Envoy's words."""
        return ConsistentHashing(message)


class RuntimeFractionFactory:
    """The registered factory."""

    def create_matcher(self, message: Any, context: FactoryContext) -> RuntimeFraction:
        """With the process's runtime."""
        return RuntimeFraction(message, context.runtime)


CONSISTENT_HASHING = ConsistentHashingFactory()
RUNTIME_FRACTION = RuntimeFractionFactory()
