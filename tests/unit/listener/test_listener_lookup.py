"""Which listener owns an address: exact, wildcard, dual-stack, generations."""

from proxeny.listener.listen_address import ListenAddress
from proxeny.listener.listener_lookup import ListenerLookup, address_key
from proxeny.network.address import Address, NamespacedAddress, ip_address, pipe_address


def pair(ip: str, port: int, compat: bool = False) -> tuple[ListenAddress, Address]:
    address = ip_address(ip, port)
    return ListenAddress(address, (), compat), address


def find(lookup: ListenerLookup, ip: str, port: int) -> object:
    return lookup.find(ip_address(ip, port))


def test_exact_before_the_wildcard_of_the_port() -> None:
    lookup = ListenerLookup()
    lookup.add("exact", [pair("10.0.0.1", 80)])
    lookup.add("any", [pair("0.0.0.0", 80)])
    lookup.add("any6", [pair("::", 80)])
    assert find(lookup, "10.0.0.1", 80) == "exact"
    assert find(lookup, "10.0.0.2", 80) == "any"
    assert find(lookup, "10.0.0.1", 81) is None
    assert find(lookup, "fe80::1", 80) == "any6"
    assert find(lookup, "fe80::1", 81) is None
    assert lookup.find(pipe_address("/x")) is None


def test_a_dual_stack_wildcard_takes_ipv4_where_nobody_else_does() -> None:
    lookup = ListenerLookup()
    lookup.add("dual", [pair("::", 80, compat=True)])
    assert find(lookup, "10.0.0.1", 80) == "dual"
    lookup.add("v4", [pair("0.0.0.0", 80)])
    assert find(lookup, "10.0.0.1", 80) == "v4"
    lookup.remove("v4")
    assert find(lookup, "10.0.0.1", 80) == "dual"


def test_without_compatibility_a_v6_wildcard_takes_no_ipv4() -> None:
    lookup = ListenerLookup()
    lookup.add("v6", [pair("::", 80)])
    assert find(lookup, "10.0.0.1", 80) is None


def test_a_mapped_address_is_its_ipv4_address() -> None:
    assert address_key(ip_address("::ffff:10.0.0.1", 80)) == address_key(ip_address("10.0.0.1", 80))
    assert address_key(ip_address("fe80::1%1", 80)) != address_key(ip_address("fe80::1", 80))


def test_the_newest_generation_is_found_and_the_old_one_leaves_it_alone() -> None:
    lookup = ListenerLookup()
    lookup.add("old", [pair("10.0.0.1", 80)])
    lookup.add("new", [pair("10.0.0.1", 80)])
    lookup.remove("old")
    assert find(lookup, "10.0.0.1", 80) == "new"
    lookup.remove("new")
    assert find(lookup, "10.0.0.1", 80) is None


def test_where_the_newest_generation_is_refused_the_old_one_is_found_again() -> None:
    lookup = ListenerLookup()
    for generation in ("old", "new"):
        lookup.add(generation, [pair("::", 80, compat=True), pair("10.0.0.1", 81)])
    lookup.remove("new")
    assert find(lookup, "10.0.0.9", 80) == find(lookup, "fe80::1", 80) == find(lookup, "10.0.0.1", 81) == "old"
    lookup.remove("old")
    assert find(lookup, "10.0.0.9", 80) is find(lookup, "fe80::1", 80) is find(lookup, "10.0.0.1", 81) is None


def test_network_namespaces_do_not_see_each_other() -> None:
    lookup = ListenerLookup()
    for name, path in (("here", ""), ("there", "/run/netns/a")):
        for ip in ("10.0.0.1", "0.0.0.0"):
            bound = ip_address(ip, 80)
            lookup.add(name, [(ListenAddress(NamespacedAddress(bound, path) if path else bound, ()), bound)])
    for ip in ("10.0.0.1", "10.0.0.2"):
        assert lookup.find(ip_address(ip, 80)) == "here"
        assert lookup.find(ip_address(ip, 80), "/run/netns/a") == "there"
        assert lookup.find(ip_address(ip, 80), "/run/netns/b") is None
    lookup.remove("there")
    assert lookup.find(ip_address("10.0.0.1", 80), "/run/netns/a") is None
    assert lookup.find(ip_address("10.0.0.1", 80)) == "here"
