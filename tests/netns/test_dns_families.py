"""`filter_unroutable_families`: which families have an address besides the loopback's is a matter of interfaces."""

from tests.netns.namespaces import Namespaces

from proxeny.upstream import cares_resolver


def routable() -> tuple[bool, bool]:
    return cares_resolver._has_v4(), cares_resolver._has_v6()


def test_families_by_interface(namespaces: Namespaces) -> None:
    side, other = namespaces.add("side"), namespaces.add("other")
    assert side.inside(routable) == (False, False)
    side.add_address("127.0.0.2/8")
    # As Envoy: only 127.0.0.1 and ::1 are the loopback's.
    assert side.inside(routable) == (True, False)
    namespaces.link(side, other)
    assert side.inside(routable) == (True, True)
