"""--accept-partial-updates: what is good of a discovery response is taken, whatever else is in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.differential.xds_config import VARIANTS, Variant, assignment, eds, static

from proxeny.testing import RunningProxy
from proxeny.testing.xds import CDS, EDS, ControlPlane


def broken(name: str) -> dict[str, Any]:
    """A cluster that breaks a rule of its message: Envoy refuses the whole response for it."""
    return {**static(name), "connect_timeout": "-1s"}


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as made:
        yield made


@pytest.mark.parametrize("variant", VARIANTS[:2], ids=lambda variant: variant.name)
def test_the_rest_is_taken(variant: Variant, plane: ControlPlane, proxy: Callable[..., RunningProxy]) -> None:
    plane.set("envoy.config.listener.v3.Listener", [], version="none")
    plane.set(CDS, [static("a"), static("b")], version="1")

    running = proxy(json.dumps(variant.bootstrap(plane.port)), ("--accept-partial-updates",))
    plane.wait_for_ack(CDS, "1")

    plane.set(CDS, [static("a", 1), broken("b"), static("c")], version="2")
    request = plane.wait_for_nack(CDS, "2")
    assert "Error adding/updating cluster(s) b: " in (request.error or "")
    assert clusters(running) == {"a", "b", "c", "control_plane"}
    assert running.stat("cluster.a.membership_total") == 1
    assert running.stat("cluster_manager.cds.update_rejected") == 1

    mark = plane.mark()
    plane.end_streams()
    again = plane.wait_for(CDS, since=mark)
    if variant.delta:
        assert again.initial_versions == {"a": "2", "b": "1", "c": "2"}
    else:
        assert again.version == "1"

    plane.set(EDS, [assignment("e", 1), {**assignment("f", 1), "policy": {"overprovisioning_factor": 0}}], version="1")
    plane.set(CDS, [eds(name, variant.source()) for name in "ef"], version="3")
    plane.wait_for_nack(EDS, "1")
    assert running.stat("cluster.e.update_success") == 1
    assert running.stat("cluster.e.update_rejected") == 0
    assert running.stat("cluster.f.update_rejected") == 1


def clusters(running: RunningProxy) -> set[str]:
    """The names of all clusters."""
    return {line.partition("::")[0] for line in running.admin("/clusters").splitlines() if "::" in line}
