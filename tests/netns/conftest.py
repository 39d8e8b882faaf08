"""Fixtures of tests in network namespaces; every test of this folder carries the marker ``netns``.

Without root they are skipped (.ci/run runs them by sudo then). Anything else that is missing is a reason to skip them,
too, but a failure with ``CI=true``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.netns.namespaces import Namespaces, remove_left_overs, unavailable
from tests.netns.service import Net, wire

from proxeny.testing.fixtures import proxy, upstream

__all__ = ["proxy", "upstream"]

TOOLS = ("iptables", "ip6tables", "iptables-restore", "ip6tables-restore", "nft", "curl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.netns)


@functools.cache
def _why_not() -> str | None:
    reason = unavailable(TOOLS)
    if reason is None:
        remove_left_overs()
    return reason


@pytest.fixture(autouse=True)
def _usable() -> None:
    """Skip where namespaces cannot be used; in CI that is a failure."""
    if reason := _why_not():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def namespaces(_usable: None) -> Iterator[Namespaces]:
    """Makes and links namespaces; all are gone after the test."""
    made = Namespaces()
    yield made
    made.close()


@pytest.fixture
def net(namespaces: Namespaces) -> Iterator[Net]:
    """A service between a client and an upstream, all with raw servers."""
    with ExitStack() as servers:
        yield wire(namespaces, servers, transparent=False)


@pytest.fixture(params=["nft", "iptables"])
def backend(request: pytest.FixtureRequest) -> str:
    """What holds the rules."""
    return str(request.param)
