"""Assignments over every transport: what the real Envoy and Proxeny ask for, and what they count, must be the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tests.differential.proxies import ENVOY, PROXENY
from tests.differential.transcript import side_by_side
from tests.differential.transports import (
    ABOVE_ALL_LIMITS,
    BROKEN,
    GRPC,
    PLAIN,
    REST,
    SECURE,
    TIMEOUT,
    TRANSPORTS,
    Plant,
)

from proxeny.testing.certificates import Authority
from proxeny.testing.xds import EDS

STREAMS = ((PLAIN, 5), (SECURE, 3))
"""How many each control plane has."""
CASES: list[Callable[[Plant], None]] = []


def case(run: Callable[[Plant], None]) -> Callable[[Plant], None]:
    CASES.append(run)
    return run


def acked(plant: Plant, version: str) -> None:
    """Wait until all took that version."""
    for name in TRANSPORTS:
        if name in GRPC or name == REST:
            plant.wait_until(
                lambda name=name: any(
                    f"{version!r}" in told for told in plant.requests() if told.startswith(f"{name}: ")
                )
            )


def connected(plant: Plant) -> None:
    """Wait until every stream is there again, and what the control plane has to say of itself was taken. How often each
    was tried meanwhile is a matter of time."""
    plant.counts = False

    def is_back(name: str) -> bool:
        told = [line for line in plant.requests() if line.startswith(f"{name}: ")]
        first = next((at for at, line in enumerate(told) if "answers=" not in line), len(told))
        again = told[first + 1 :]
        return first < len(told) and (name.endswith("_delta") or any("answers=" in line for line in again))

    plant.wait_until(lambda: all(is_back(name) for name in GRPC))
    plant.wait_until(lambda: all(plant.stat(f"cluster.{name}.control_plane.connected_state") for name in GRPC))


@case
def endpoints_come(plant: Plant) -> None:
    version = plant.put(*TRANSPORTS, ports=(1001, 1002))
    plant.members(2, *TRANSPORTS)
    acked(plant, version)


@case
def one_transport_after_the_other(plant: Plant) -> None:
    for count, name in enumerate(TRANSPORTS):
        plant.put(name, ports=tuple(range(2000, 2003 + count)))
        plant.members(3 + count, name)


@case
def assignments_are_refused(plant: Plant) -> None:
    rejected = {name: plant.stat(f"cluster.{name}.update_rejected") for name in TRANSPORTS}
    plant.put(*TRANSPORTS, ports=(1001,), more={"priority": 200})
    plant.wait_until(
        lambda: all(
            plant.stat(f"cluster.{name}.update_rejected") > rejected[name] for name in TRANSPORTS if name != REST
        )
    )
    plant.wait_until(lambda: plant.stat("cluster.rest.update_rejected") > rejected[REST])
    plant.put(*TRANSPORTS, ports=(1001, 1002, 1003, 1004))
    plant.members(4, *TRANSPORTS)


@case
def bytes_that_are_no_message(plant: Plant) -> None:
    streams = {name: len(plant.planes[name].streams) for name in (PLAIN, SECURE)}
    for plane, count in STREAMS:
        plant.planes[plane].send_raw(EDS, b"\xff\xff\xff")
        plant.planes[plane].wait_for_streams(streams[plane] + count)
    connected(plant)
    for name in GRPC:
        closed = plant.stat(f"cluster.{name}.grpc.counted.streams_closed_13") > 0
        plant.note(f"{name}: failed {plant.stat(f'cluster.{name}.update_failure') > 0}, closed by us {closed}")


@case
def streams_are_ended(plant: Plant) -> None:
    plant.secret.write_text("second")
    for plane, count in STREAMS:
        plant.planes[plane].end_streams(grpc.StatusCode.UNAVAILABLE, "later")
        plant.planes[plane].wait_for_streams(count)
    connected(plant)
    plant.note_metadata()
    assert any("Token second" in line for line in plant.lines)
    plant.put(*TRANSPORTS, ports=(1001,))
    plant.members(1, *TRANSPORTS)


@case
def messages_that_are_too_long(plant: Plant) -> None:
    plant.counts = False
    failures = plant.stat("cluster.envoy.update_failure")
    big = {"metadata": {"filter_metadata": {"m": {"big": "x" * ABOVE_ALL_LIMITS}}}}
    plant.put("envoy", "envoy_dns", "google", more=big)
    plant.wait_until(lambda: plant.stat("cluster.google.grpc.counted.streams_closed_1") > 0)
    plant.wait_until(lambda: plant.stat("cluster.envoy.update_failure") > failures)
    plant.put("envoy", "envoy_dns", "google", ports=(1001, 1002, 1003, 1004, 1005, 1006))
    plant.members(6, "envoy", "envoy_dns", "google")


@case
def control_planes_are_restarted(plant: Plant) -> None:
    for plane in plant.planes.values():
        plane.stop()
    plant.wait_until(lambda: not any(plant.stat(f"cluster.{name}.control_plane.connected_state") for name in GRPC))
    plant.put("rest", "file", ports=(1001, 1002))
    plant.members(2, "rest", "file")
    for plane in plant.planes.values():
        plane.forget()
        plane.start()
    connected(plant)
    plant.put(*TRANSPORTS, ports=(1001, 1002, 1003))
    plant.members(3, *TRANSPORTS)


@case
def rest_answers_of_every_kind(plant: Plant) -> None:
    for name, answer in (
        ("failure", (503, b"later")),
        ("rejected", (200, b"{bad")),
        ("failure", (404, b"")),
        ("rejected", (200, b"[]")),
    ):
        before = plant.stat(f"cluster.rest.update_{name}")
        plant.rest.broken = answer
        plant.wait_until(lambda name=name, before=before: plant.stat(f"cluster.rest.update_{name}") > before)
    plant.rest.broken = None
    plant.put(REST, ports=(1, 2, 3, 4, 5))
    plant.members(5, REST)
    plant.counts = False


class Pair:
    """Both, started together."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._pool = ThreadPoolExecutor(2)
        authority = Authority("roots")
        folder = tmp_path_factory.mktemp("transports")
        starts = [self._pool.submit(Plant, kind, folder / kind, authority) for kind in (ENVOY, PROXENY)]
        self.plants = [start.result() for start in starts]

    def run(self, work: Callable[[Plant], None]) -> list[str]:
        """What is wrong once both did it."""
        for error in [self._pool.submit(work, plant).exception() for plant in self.plants]:
            if error is not None:
                return [repr(error)]
        deadline = time.monotonic() + TIMEOUT
        while True:
            texts = [[*plant.requests(), *plant.lines, *plant.state()] for plant in self.plants]
            if texts[0] == texts[1]:
                return []
            if time.monotonic() > deadline:
                return list(side_by_side(*texts))
            time.sleep(0.05)

    def close(self) -> None:
        for plant in self.plants:
            plant.close()
        self._pool.shutdown()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory)
    yield made
    made.close()


def start(plant: Plant) -> None:
    plant.counts = False
    plant.members(1, *TRANSPORTS)
    created = [plant.stat(f"cluster.{name}.grpc.counted.google_grpc_client_creation") for name in GRPC]
    plant.note(f"clients of grpcio: {created}")
    for name in BROKEN:
        plant.wait_until(lambda name=name: plant.stat(f"cluster.{name}.update_failure") > 1)
        counted = {what: plant.stat(f"cluster.{name}.{what}") for what in ("init_fetch_timeout", "membership_total")}
        plant.note(f"{name}: {counted}")
    for name, what in (
        ("wrong_name", "ssl.fail_verify_san"),
        ("wrong_name", "upstream_cx_connect_fail"),
        ("no_certificate", "ssl.connection_error"),
    ):
        plant.note(f"{name}: {what} {plant.stat(f'cluster.{name}.{what}') > 0}")


def test_starts_are_the_same(pair: Pair) -> None:
    assert not (problems := pair.run(start)), "\n".join(problems)


@pytest.mark.parametrize("run", CASES, ids=lambda run: run.__name__)
def test_same(run: Callable[[Plant], None], pair: Pair) -> None:
    for plant in pair.plants:
        plant.begin()
    assert not (problems := pair.run(run)), "\n".join(problems)
