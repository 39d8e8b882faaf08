"""HTTP filters that are disabled in the chain, by virtual host, route or weighted cluster, and enabled again."""

import pytest
from tests.differential.harness import Case, Do, Pairs, case_id, request


def asked(name: str, path: str, host: str = "a.test", status: int = 200) -> Case:
    get = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    return Case(name, (*request(get), Do("fin"), Do("end")), config="disabled_filters", status=status)


CASES = [
    asked("disabled_in_the_chain", "/plain"),
    asked("enabled_by_route", "/enabled"),
    asked("configured_by_route", "/own"),
    asked("disabled_by_route", "/disabled"),
    asked("one_each", "/both"),
    asked("disabled_for_a_direct_response", "/direct", status=204),
    asked("disabled_by_weighted_cluster", "/weighted"),
    asked("disabled_by_virtual_host", "/plain", host="closed.test"),
    asked("configured_below_a_virtual_host", "/own", host="closed.test"),
    asked("enabled_below_a_virtual_host", "/enabled", host="closed.test"),
    asked("disabled_without_a_route", "/nowhere", status=404),
    asked("disabled_without_a_route_by_virtual_host", "/nowhere", host="closed.test", status=404),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_disabled_filter(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
