"""pytest fixtures: ``pytest_plugins = ["proxeny.testing.fixtures"]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from proxeny.testing.proxy import RunningProxy
from proxeny.testing.upstream import FakeUpstream

if TYPE_CHECKING:
    from proxeny.testing.xds import ControlPlane


@pytest.fixture
def proxy() -> Iterator[Callable[..., RunningProxy]]:
    """``proxy(config, args=(), concurrency=1)``: a running proxy, stopped at the end of the test."""
    running: list[RunningProxy] = []

    def start(config: str, args: tuple[str, ...] = (), **options: Any) -> RunningProxy:
        running.append(RunningProxy(config, args, **options))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def upstream() -> Iterator[Callable[..., FakeUpstream]]:
    """``upstream(answer=None, name="upstream")``: a fake upstream, closed at the end of the test."""
    running: list[FakeUpstream] = []

    def start(*args: Any, **options: Any) -> FakeUpstream:
        running.append(FakeUpstream(*args, **options))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def control_plane() -> Iterator[Callable[..., ControlPlane]]:
    """``control_plane(**options)``: a control plane that serves xDS, closed at the end of the test. Needs grpcio."""
    from proxeny.testing.xds import ControlPlane

    running: list[ControlPlane] = []

    def start(**options: Any) -> ControlPlane:
        running.append(ControlPlane(**options))
        return running[-1]

    yield start
    for one in running:
        one.close()
