"""Virtual hosts: the most specific domain, as a scan over all of them finds it."""

import pytest
from envoy.config.route.v3 import route_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.route_table import RouteTable

LABELS = st.lists(st.sampled_from(["a", "b", "AB", "a-b", "0"]), min_size=1, max_size=4).map(".".join)
DOMAINS = st.one_of(
    LABELS,
    LABELS.map(lambda name: "*." + name),
    LABELS.map(lambda name: "*-" + name),
    LABELS.map(lambda name: "*" + name),
    LABELS.map(lambda name: name + ".*"),
    LABELS.map(lambda name: name + "*"),
    LABELS.map(lambda name: name + ":80"),
    st.just("*"),
)


def table_of(domains: list[str], **fields: object) -> RouteTable:
    config = route_pb2.RouteConfiguration(name="r", **fields)  # type: ignore[arg-type]
    for domain in domains:
        config.virtual_hosts.add(name=domain, domains=[domain]).routes.add(name=domain).match.prefix = "/"
    return RouteTable.compile(config, FactoryContext(role="worker", stats=None))  # type: ignore[arg-type]


def found(table: RouteTable, host: str, name: bytes = b":authority") -> str | None:
    route = table.route(HeaderMap([(b":path", b"/"), (name, host.encode())]), None, 0)
    return None if route is None else route.name.lower()


def scan(domains: list[str], host: str) -> str | None:
    """Exact, else the longest suffix, else the longest prefix, else all."""
    host = host.lower()
    names = [domain.lower() for domain in domains]
    if host in names:
        return host
    for fits in (
        [name for name in names if name.startswith("*") and host.endswith(name[1:]) and len(host) >= len(name) > 1],
        [name for name in names if name.endswith("*") and host.startswith(name[:-1]) and len(host) >= len(name) > 1],
    ):
        if fits:
            return max(fits, key=len)
    return "*" if "*" in names else None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(DOMAINS, max_size=25, unique_by=str.lower),
    st.lists(st.one_of(LABELS, LABELS.map(lambda name: name + ":80"), st.just(".b")), min_size=1, max_size=12),
)
def test_the_domain_is_the_scans(domains: list[str], hosts: list[str]) -> None:
    table = table_of(domains)
    for host in hosts:
        assert found(table, host) == scan(domains, host)


def test_ten_thousand_domains() -> None:
    domains = [(f"h{number}.test", f"*.d{number}.test", f"p{number}.*")[number % 3] for number in range(10_000)]
    table = table_of(domains)
    assert found(table, "H9999.test") == "h9999.test"
    assert found(table, "x.y.d9997.test") == "*.d9997.test"
    assert found(table, "p9998.org") == "p9998.*"
    assert found(table, "d9997.test") is None


def test_a_header_names_the_virtual_host() -> None:
    table = table_of(["a.test", "*"], vhost_header="X-Host")
    assert found(table, "A.test", b"x-host") == "a.test"
    assert found(table, "", b"x-host") == "*"
    assert found(table, "a.test") is None


def test_a_header_is_not_asked_where_there_is_but_one_host() -> None:
    assert found(table_of(["*"], vhost_header="X-Host"), "a.test") == "*"


@pytest.mark.parametrize("domains", [["a.b", "A.B"], ["*.b", "*.B"], ["a.*", "A.*"]])
def test_a_domain_is_there_once(domains: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"Only unique values for domains are permitted. Duplicate entry of domain"):
        table_of(domains)
