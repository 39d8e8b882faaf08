"""Listening sockets: whatever their options, connections get through; what cannot listen is dropped."""

import pytest
from tests.differential.harness import Case, Do, Pairs, StatIs, case_id
from tests.differential.wire import End

NAMES = (
    "plain",
    "shared",
    "legacy",
    "contradicting",
    "multipath",
    "fast_open",
    "short_queue",
    "one_by_one",
    "freely_bound",
    "mixed",
    "dual",
    "typed",
    "resolved",
)


def greeted(listener: str, address: str = "") -> Case:
    return Case(
        listener + address,
        (b"", Do("end")),
        config="sockets",
        listener=listener,
        address=address,
        end=End.CLOSED,
        contains=(f"client 0 < '{listener}'",),
    )


CASES = [
    *(greeted(name) for name in NAMES),
    greeted("mixed", "+1"),
    greeted("mixed", "+2"),
    Case(
        "who_cannot_listen_is_dropped",
        (
            StatIs("listener_manager.listener_create_failure", 1),
            StatIs("listener_manager.listener_removed", 1),
            StatIs("listener_manager.total_listeners_active", 14),
            StatIs("listener_manager.total_listeners_draining", 1),
        ),
        config="sockets",
        listener="plain",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_sockets(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
