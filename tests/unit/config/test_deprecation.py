"""What the runtime makes of deprecated fields; the texts are those of Envoy's own refusals."""

from dataclasses import replace

import pytest

from proxeny.config.deprecation import ENABLE_ALL, FAIL_ON_ANY, DeprecatedUse, judge
from proxeny.config.errors import ConfigError

USE = DeprecatedUse("a.T", "a.T.old", "deprecated option 'a.T.old' from file a.proto.", "x.y", disallowed=False)
DISALLOWED = DeprecatedUse("a.T", "a.T.old", "deprecated option 'a.T.old' from file a.proto.", "x.y", disallowed=True)
OWN = "envoy.deprecated_features:a.T.old"


@pytest.mark.parametrize(
    ("use", "runtime", "verdict"),
    [
        (USE, {}, "allowed"),
        (USE, {FAIL_ON_ANY: True}, "refused"),
        (USE, {FAIL_ON_ANY: True, ENABLE_ALL: True}, "overridden"),
        (USE, {FAIL_ON_ANY: True, OWN: True}, "overridden"),
        (USE, {FAIL_ON_ANY: True, ENABLE_ALL: True, OWN: False}, "refused"),
        (USE, {OWN: False}, "refused"),
        (USE, {ENABLE_ALL: False}, "refused"),
        (DISALLOWED, {}, "refused"),
        (DISALLOWED, {OWN: True}, "overridden"),
        (DISALLOWED, {ENABLE_ALL: True}, "overridden"),
    ],
)
def test_verdicts(use: DeprecatedUse, runtime: dict[str, bool], verdict: str) -> None:
    if verdict == "refused":
        with pytest.raises(ConfigError) as refusal:
            judge([use], runtime.get)
        assert str(refusal.value).startswith("x.y: type a.T Using deprecated option 'a.T.old' from file a.proto. ")
        return
    (warning,) = judge([use], runtime.get)
    assert warning.startswith("Deprecated field: type a.T Using ")
    assert ("runtime overrides to continue using now fatal-by-default deprecated option" in warning) == (
        verdict == "overridden"
    )


def test_what_is_not_in_an_extension_only_warns() -> None:
    (warning,) = judge([replace(USE, judged=False)], {FAIL_ON_ANY: True, OWN: False}.get)
    assert warning.startswith("Deprecated field: type a.T Using deprecated option")
