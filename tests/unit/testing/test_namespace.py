"""Commands in namespaces and under other users."""

from __future__ import annotations

from proxeny.testing.namespace import command_inside, namespace_path


def test_paths() -> None:
    assert namespace_path("one") == "/run/netns/one"
    assert namespace_path("/proc/7/ns/net") == "/proc/7/ns/net"


def test_commands() -> None:
    assert command_inside(("a", "b")) == ["a", "b"]
    assert command_inside(("a",), "one") == ["nsenter", "--net=/run/netns/one", "--", "a"]
    owner = ["setpriv", "--reuid=7", "--regid=7", "--clear-groups"]
    assert command_inside(("a",), uid=7) == [*owner, "--", "a"]
    kept = ["--inh-caps=+net_admin,+kill", "--ambient-caps=+net_admin,+kill"]
    inside = command_inside(("a",), "/x", 7, ("net_admin", "kill"))
    assert inside == ["nsenter", "--net=/x", "--", *owner, *kept, "--", "a"]
