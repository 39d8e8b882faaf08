"""Which filter chain a connection gets: FilterChainMatch and the unified matcher; what is told where none is found."""

import pytest
from tests.differential.harness import Case, Do, Pairs, case_id
from tests.differential.wire import End

STATS = r"(^listener\.[^a]|ip_parsing_failed$)"


def chosen(listener: str, chain: str | None, source: str = "", address: str = "", stat: str = "") -> Case:
    """The chain that answers with its name; None: none, the connection is closed and the listener's log says why."""
    name = "_".join(part for part in (listener, address.strip("+"), source) if part)
    contains = (f"client 0 < '{chain}'",) if chain else (r"stat \+1 listener\..*\.no_filter_chain_match",)
    return Case(
        name,
        (b"", Do("end")),
        config="filter_chains",
        listener=listener,
        address=address,
        source=source,
        end=End.CLOSED,
        contains=(*contains, stat),
        logged=1,
        log=chain or "NR filter_chain_not_found",
        stats=STATS,
    )


CASES = [
    chosen("none", None),
    chosen("only_default", "default"),
    chosen("pipe_any", "any"),
    chosen("pipe_broadcast", "broadcast"),
    chosen("pipe_local", "local"),
    chosen("types", "local"),
    chosen("types", "external", source="127.0.0.2"),
    chosen("types", "local", source="127.0.0.2", address="+1"),
    chosen("types", "external", source="127.0.0.3", address="+1"),
    chosen("addresses", "wide"),
    chosen("addresses", "narrow", address="+1"),
    chosen("addresses", "six", address="+2"),
    chosen("addresses", "wide", address="+3"),
    chosen("sources", "wide"),
    chosen("sources", None, source="127.0.0.3"),
    chosen("sources", "direct", source="127.0.0.4"),
    chosen("final", None),
    chosen("final", "free", address="+1"),
    chosen("long_prefix", "long"),
    chosen("long_prefix", "none", source="127.0.0.2"),
    chosen("by_ip", "one"),
    chosen("by_ip", None, address="+1"),
    chosen("by_ip", "two", address="+2"),
    chosen("by_ip", "default", address="+3"),
    chosen("by_nothing", None),
    chosen("by_prefix", "one"),
    chosen("by_prefix", "two", source="127.0.0.2"),
    chosen("by_prefix", "one", source="127.0.0.3"),
    chosen("by_prefix", "one", source="127.0.0.4"),
    chosen("by_prefix", "three", source="127.0.0.5"),
    chosen("by_list", "not", source="127.0.0.2"),
    chosen("by_list", "range", source="127.0.0.77"),
    chosen("by_list", "both", source="127.0.0.7"),
    chosen("by_list", "either", source="127.0.0.8"),
    chosen("by_list", "either", source="127.0.0.9"),
    chosen("by_list", "default", source="127.0.0.10"),
    chosen("by_list", "default", source="127.0.0.1"),
    chosen("by_range", "sixteen"),
    chosen("by_range", "host", source="127.0.0.2"),
    chosen("by_range", "sixteen", source="127.0.0.3"),
    chosen("by_range", "rest", source="127.1.0.1"),
    chosen("by_range", "eight", source="127.3.0.1"),
    chosen("by_range", "equal", source="127.2.0.2"),
    chosen("by_type", "local"),
    chosen("by_type", "default", source="127.0.0.2"),
    chosen("by_direct", "one"),
    chosen("by_absent", "rest"),
    chosen("by_no_ip", "default", stat=r"stat \+1 wrong\.ip_parsing_failed"),
    chosen("by_hash", "half"),
    chosen("by_hash", "default", source="127.0.0.3"),
    chosen("by_hash", "share", source="127.0.0.9"),
    chosen("by_hash", "share", source="127.0.0.11"),
    chosen("by_domain", "one"),
    chosen("by_domain", "one", source="127.0.0.2"),
    chosen("by_domain", "rest", source="127.0.0.3"),
    chosen("by_domain", "rest", source="127.0.0.4"),
    chosen("by_chain_match", "one"),
    chosen("by_unset", "default"),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_filter_chains(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
