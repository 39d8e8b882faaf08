"""``envoy.matching.common_inputs.environment_variable``: a variable's value, read when the configuration is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class EnvironmentVariableInput:
    """One variable."""

    __slots__ = ("_value", "name")

    def __init__(self, variable: str) -> None:
        self.name = f"environment variable '{variable}'"
        self._value = os.environb.get(os.fsencode(variable))

    def get(self, data: Any) -> bytes | None:
        """Its value; None when it was not set."""
        return self._value


class EnvironmentVariableFactory:
    """The registered factory."""

    def create_input(self, message: Any, context: FactoryContext) -> EnvironmentVariableInput:
        """By name."""
        return EnvironmentVariableInput(message.name)


FACTORY = EnvironmentVariableFactory()
