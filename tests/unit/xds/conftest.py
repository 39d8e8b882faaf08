"""What tests of dynamic configuration share."""

import math

import pytest

from proxeny.xds import inbox


@pytest.fixture(autouse=True)
def unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses are handled where they come, however slow the machine is; but for the tests of that itself."""
    if request.path.name != "test_inbox.py":
        monkeypatch.setattr(inbox, "BUDGET_S", math.inf)
