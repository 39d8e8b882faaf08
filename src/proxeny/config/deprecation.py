"""Uses of deprecated fields and values, and what the runtime makes of them (Envoy: ``deprecatedFieldHelper``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from proxeny.config.errors import ConfigError

_DOCS: Final = "https://www.envoyproxy.io/docs/envoy/latest"
_ADVICE: Final = (
    f"Please see {_DOCS}/version_history/version_history for details. If continued use of this field is absolutely "
    f"necessary, see {_DOCS}/configuration/operations/runtime#using-runtime-overrides-for-deprecated-features for how "
    "to apply a temporary and highly discouraged override."
)
_OVERRIDDEN: Final = "runtime overrides to continue using now fatal-by-default "

FAIL_ON_ANY: Final = "envoy.features.fail_on_any_deprecated_feature"
ENABLE_ALL: Final = "envoy.features.enable_all_deprecated_features"
_PREFIX: Final = "envoy.deprecated_features:"

GetBoolean = Callable[[str, bool], bool]
"""The boolean of a runtime key, or the default."""


@dataclass(slots=True, frozen=True)
class DeprecatedUse:
    """One use; ``what`` follows the word "Using"."""

    type_name: str
    feature: str
    """Full name of the field or value."""
    what: str
    path: str
    disallowed: bool
    """Refused unless the runtime allows it."""
    judged: bool = True
    """False: part of the bootstrap itself, which Envoy reads before it has a runtime; it only warns."""

    def warning(self, how: str = "") -> str:
        """As Envoy words it, warning or refusing."""
        return f"type {self.type_name} Using {how}{self.what} {_ADVICE}"


def by_default(key: str, default: bool) -> bool:
    """A runtime without values."""
    return default


def judge(uses: Iterable[DeprecatedUse], get_boolean: GetBoolean = by_default, dynamic: bool = False) -> list[str]:
    """What to warn of; ConfigError for the first use that the runtime (or its author) does not allow.

    ``dynamic``: these are of a resource that came while the server runs, and all are judged.
    """
    warnings = []
    fails = get_boolean(FAIL_ON_ANY, False)
    for use in uses:
        if not (dynamic or use.judged):
            warnings.append(f"Deprecated field: {use.warning()}")
            continue
        allowed = not (fails or use.disallowed)
        if not get_boolean(_PREFIX + use.feature, get_boolean(ENABLE_ALL, allowed)):
            raise ConfigError(use.warning(), use.path)
        warnings.append(f"Deprecated field: {use.warning('' if allowed else _OVERRIDDEN)}")
    return warnings
