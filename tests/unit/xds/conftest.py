"""Tests of muxes see whole responses handled, however slow the machine is."""

from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(autouse=True)
def _long_slices() -> Iterator[None]:
    with mock.patch("proxeny.xds.inbox.BUDGET_S", 60.0):
        yield
