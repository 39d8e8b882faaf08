"""Load reports (LRS): what Envoy and Proxeny tell the same control plane of the same traffic."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from tests.differential.load_reports import Json, LoadSide
from tests.differential.sides import Sides

Case = Callable[[LoadSide], Any]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def reached(**sums: float) -> Callable[[Json], bool]:
    """Whether the numbers of this name, those of endpoints left out, come to so much."""

    def check(found: Json) -> bool:
        return all(
            sum([value for key, value in found.items() if _is(key, name)]) == wanted for name, wanted in sums.items()
        )

    return check


def _is(key: str, name: str) -> bool:
    """A number of a locality or of a cluster, not of an endpoint."""
    return key.endswith(f"/{name}") and "endpoint_stats" not in key


@case
def the_first_request(side: LoadSide) -> Any:
    first = side.server.requests[0]
    node = MessageToDict(first.node, preserving_proto_field_name=True)
    features = [one for one in node["client_features"] if one.startswith("envoy.lrs")]
    return node["id"], node["cluster"], node["locality"], features, len(first.cluster_stats)


@case
def successes_and_errors_by_locality(side: LoadSide) -> Any:
    since = side.watch("one")
    answers = [side.get("one", path) for path in [f"/{n}{what}" for n in range(4) for what in ("", "503")]]
    wanted = reached(total_issued_requests=8, total_successful_requests=4, total_error_requests=4)
    return answers, side.totals(since, wanted)


@case
def of_each_endpoint(side: LoadSide) -> Any:
    since = side.watch("two", endpoints=True)
    answers = [side.get("two", path) for path in ["/1", "/2", "/3-503", "/4"]]
    return answers, side.totals(since, reached(total_issued_requests=4, total_successful_requests=3))


@case
def requests_in_progress_are_told_until_they_end(side: LoadSide) -> Any:
    since = side.watch("two")
    side.release.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(side.get, "two", "/wait") for _ in range(2)]
        during = side.totals(since, lambda found: _in_progress(found) == 2)
        side.release.set()
        answers = [one.result() for one in waiting]
    after = side.totals(since, reached(total_successful_requests=2, total_issued_requests=2))
    return during, answers, {k: v for k, v in after.items() if "progress" not in k}


def _in_progress(found: Json) -> int:
    return sum(int(value) for key, value in found.items() if _is(key, "total_requests_in_progress"))


@case
def requests_that_were_dropped(side: LoadSide) -> Any:
    since = side.watch("closed", "full", "dropping")
    answers = [side.get(cluster) for cluster in ("closed", "closed", "full", "dropping", "dropping", "dropping")]
    return answers, side.totals(since, reached(total_dropped_requests=6, dropped_count=3))


@case
def metrics_that_endpoints_report(side: LoadSide) -> Any:
    since = side.watch("one", endpoints=True)
    answers = [side.get("one", path) for path in ("/1/metrics", "/2", "/3/metrics", "/4/metrics")]
    wanted = reached(total_issued_requests=4, total_successful_requests=4, num_requests_finished_with_metric=9)
    return answers, side.totals(since, wanted)


@case
def all_clusters(side: LoadSide) -> Any:
    before = len(side.server.requests)
    side.server.ask(everything=True)
    every = {"lrs", "one", "two", "closed", "full", "dropping"}
    side.server.wait(lambda: any(_told(one) == every for one in side.server.requests[before:]))
    return sorted(every)


def _told(request: Any) -> set[str]:
    return {one.cluster_name for one in request.cluster_stats}


@case
def clusters_that_there_are_not(side: LoadSide) -> Any:
    since = side.watch("two")
    side.server.ask("nobody", "two")
    side.get("two")
    return side.totals(since, reached(total_issued_requests=1, total_successful_requests=1))


@case
def what_was_before_is_not_told(side: LoadSide) -> Any:
    side.watch("one")
    side.get("two")
    since = side.watch("two")
    side.get("two", "/503")
    return side.totals(since, reached(total_issued_requests=1, total_error_requests=1))


@case
def statistics(side: LoadSide) -> Any:
    found = side.proxy.stats("^load_reporter")
    asked = found["load_reporter.requests"]
    return sorted(found), found["load_reporter.errors"], found["load_reporter.retries"], asked > 5


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides[LoadSide]]:
    made = Sides(LoadSide, tmp_path_factory.mktemp("loads"))
    yield made
    made.close()


@pytest.mark.parametrize("name", CASES)
def test_load_reports(sides: Sides[LoadSide], name: str) -> None:
    sides.check(CASES[name])
