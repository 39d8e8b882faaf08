"""What a new configuration changes."""

from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format

from proxeny.server.reload.plan import CHANGE, CLUSTER, LISTENER, make_plan


def bootstrap(**fields: Any) -> Any:
    return json_format.ParseDict(fields, bootstrap_pb2.Bootstrap())


def cluster(name: str, seconds: int = 5) -> dict[str, Any]:
    return {"name": name, "connect_timeout": f"{seconds}s"}


def listener(port: int, name: str = "", prefix: str = "") -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "stat_prefix": prefix}


def static(**resources: Any) -> Any:
    return bootstrap(static_resources=resources)


def titles(current: Any, fresh: Any, unnamed: frozenset[str] = frozenset()) -> list[str]:
    return [change.title for change in make_plan(current, fresh, unnamed).changes]


def test_equal_configurations_change_nothing() -> None:
    one = static(clusters=[cluster("a")], listeners=[listener(1, "x")])
    plan = make_plan(one, static(clusters=[cluster("a")], listeners=[listener(1, "x")]))
    assert plan.is_empty
    assert plan.as_text() == "nothing changes\n"
    assert plan.as_json() == []


def test_resources_are_added_changed_and_removed_in_the_order_in_which_they_depend_on_each_other() -> None:
    old = static(clusters=[cluster("gone"), cluster("same"), cluster("other")], listeners=[listener(1, "x")])
    new = static(
        clusters=[cluster("same"), cluster("other", 9), cluster("new")],
        listeners=[listener(1, "x", "p"), listener(2, "y")],
        secrets=[{"name": "s", "generic_secret": {"secret": {"inline_string": "top"}}}],
    )
    assert titles(old, new) == [
        "+ secret 'generic_secret/s'",
        "~ cluster 'other'",
        "+ cluster 'new'",
        "- cluster 'gone'",
        "~ listener 'x'",
        "+ listener 'y'",
    ]


def test_a_change_shows_the_lines_that_differ() -> None:
    plan = make_plan(static(clusters=[cluster("a", 5)]), static(clusters=[cluster("a", 7)]))
    assert plan.as_text() == (
        "~ cluster 'a'\n    @@ -1,2 +1,2 @@\n     name: a\n    -connect_timeout: 5s\n    +connect_timeout: 7s\n"
    )


def test_secrets_are_not_shown() -> None:
    def of(text: str) -> Any:
        return static(secrets=[{"name": "s", "generic_secret": {"secret": {"inline_string": text}}}])

    plan = make_plan(of("before"), of("after"))
    assert [change.title for change in plan.changes] == ["~ secret 'generic_secret/s'"]
    assert "before" not in plan.as_text()
    assert "after" not in plan.as_text()


def test_long_differences_are_cut() -> None:
    def of(names: range) -> Any:
        return static(clusters=[{"name": "a", "metadata": {"filter_metadata": {f"k{n}": {} for n in names}}}])

    [change] = make_plan(of(range(400)), of(range(400, 800))).of(CLUSTER, CHANGE)
    lines = change.diff()
    assert len(lines) == 201
    assert lines[-1].endswith(" more lines")


def test_what_only_a_restart_applies_is_told_apart() -> None:
    plan = make_plan(bootstrap(stats_flush_interval="5s"), bootstrap(stats_flush_interval="9s", node={"id": "n"}))
    assert plan.changes == []
    assert [change.title for change in plan.restart] == ["+ field 'node'", "~ field 'stats_flush_interval'"]
    assert plan.as_text().startswith("only a restart applies:\n+ field 'node'\n")
    assert [one["restart"] for one in plan.as_json()] == [True, True]


def layer(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "static_layer": values}


def test_static_layers_change_their_values_and_nothing_else() -> None:
    old = bootstrap(layered_runtime={"layers": [layer("a", x=1), {"name": "admin", "admin_layer": {}}]})
    new = bootstrap(layered_runtime={"layers": [layer("a", x=2), {"name": "admin", "admin_layer": {}}]})
    assert titles(old, new) == ["~ runtime layer 'a'"]
    more = bootstrap(layered_runtime={"layers": [layer("a", x=1), layer("b")]})
    plan = make_plan(old, more)
    assert plan.changes == []
    assert [change.name for change in plan.restart] == ["layered_runtime"]


def test_a_listener_without_a_name_follows_an_equal_one_or_one_with_its_address() -> None:
    old = static(listeners=[listener(1, "given-1"), listener(2, "given-2"), listener(3, "own")])
    given = frozenset(("given-1", "given-2"))
    new = static(listeners=[listener(2, prefix="changed"), listener(1), listener(4), listener(3, "own")])
    plan = make_plan(old, new, given)
    names = [one.name for one in new.static_resources.listeners]
    assert names[:2] == ["given-2", "given-1"]
    assert names[2] not in ("", "given-1", "given-2")
    assert [change.title for change in plan.of(LISTENER, CHANGE)] == ["~ listener 'given-2'"]


def test_of_two_listeners_with_one_name_the_first_counts() -> None:
    old = static(listeners=[listener(1, "x")])
    assert titles(old, static(listeners=[listener(1, "x"), listener(2, "x")])) == []
