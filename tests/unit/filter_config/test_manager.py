"""Main's discovered filter configurations: who waits, what is refused, what the workers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from tests.unit.filter_config.builders import (
    ECHO,
    MUTATION,
    ROUTER,
    Main,
    delivered,
    discovery,
    echo,
    mutation,
    packed,
    router,
)

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import finish
from proxeny.filter_config.kinds import HTTP, NETWORK, TCP_LISTENER, FilterBuilder, check_discovery
from proxeny.filter_config.provider import MissingFilterConfigError
from proxeny.filter_config.subscription import MOST_AT_ONCE
from proxeny.xds.init_manager import InitManager
from proxeny.xds.subscription import FailureReason


def run(scenario: Callable[[Main], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario beside a manager in a loop."""
    dispatcher = Dispatcher()
    main = Main(dispatcher)
    try:
        dispatcher.run_until_complete(scenario(main))
    finally:
        main.manager.close()
        dispatcher.close()


def http(main: Main, name: str = "a", *, is_last: bool = False, types: tuple[str, ...] = (), **fields: Any) -> Any:
    """An HTTP filter of a chain."""
    builder = FilterBuilder(HTTP, name, main.context, "http", is_last)
    return main.manager.provider(discovery(*types, **fields), builder, main.context)


def test_a_listener_waits_for_the_configuration() -> None:
    async def scenario(main: Main) -> None:
        provider = http(main)
        ready: list[bool] = []
        assert main.init_manager.unready() == ["shared target FilterConfigSubscription init a"]
        main.init_manager.initialize(lambda: ready.append(True))
        assert (main.xds.started, ready, provider.current) == (["a"], [], None)
        main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        assert ready
        assert provider.current.name == "a"
        [subscription] = main.manager.subscriptions()
        assert main.changed == [subscription]
        assert (subscription.version, subscription.config) == ("v1", mutation())

    run(scenario)


def test_a_default_serves_without_warming_while_it_is_fetched() -> None:
    async def scenario(main: Main) -> None:
        provider = http(main, default=mutation("default"), without_warming=True)
        first = provider.current
        assert first is not None
        ready: list[bool] = []
        main.init_manager.initialize(lambda: ready.append(True))
        assert (main.xds.started, ready) == (["a"], [True])
        main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        assert provider.current is not first

    run(scenario)


@pytest.mark.parametrize("reason", list(FailureReason))
def test_whatever_fails_is_counted_and_waited_for_no_more(reason: FailureReason) -> None:
    async def scenario(main: Main) -> None:
        _provider = http(main)
        ready: list[bool] = []
        main.init_manager.initialize(lambda: ready.append(True))
        main.xds.callbacks[0].on_config_update_failed(reason, None)
        assert ready
        assert main.counter("config_fail") == 1

    run(scenario)


REFUSED = [
    ([], "Unexpected number of resources in ExtensionConfigDS response: 0"),
    (
        [delivered(mutation()), delivered(mutation())],
        "Unexpected number of resources in ExtensionConfigDS response: 2",
    ),
    ([delivered(mutation(), name="b")], "Unexpected resource name in ExtensionConfigDS response: b"),
    (
        [delivered(echo())],
        f"Error: filter config has type URL {ECHO.partition('/')[2]} but expect {MUTATION.partition('/')[2]}, "
        f"{ROUTER.partition('/')[2]}.",
    ),
    (
        [delivered(router())],
        "Error: terminal filter named a of type envoy.filters.http.router must be the last filter in a http filter "
        "chain.",
    ),
]


@pytest.mark.parametrize(("resources", "words"), REFUSED)
def test_refused_updates_leave_what_there_was(resources: list[Any], words: str) -> None:
    async def scenario(main: Main) -> None:
        builder = FilterBuilder(HTTP, "a", main.context, "http")
        provider = main.manager.provider(discovery(ROUTER, MUTATION), builder, main.context)
        main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        before = provider.current
        with pytest.raises(ConfigError) as caught:
            main.xds.callbacks[0].on_config_update(resources, "v2")
        assert str(caught.value) == words
        assert provider.current is before
        assert main.manager.subscriptions()[0].version == "v1"
        assert len(main.changed) == 1

    run(scenario)


def test_the_last_filter_is_a_terminal_one() -> None:
    async def scenario(main: Main) -> None:
        provider = http(main, is_last=True)
        with pytest.raises(ConfigError, match=r"Error: non-terminal filter named a of type envoy.filters.http.header"):
            main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        assert provider.current is None

    run(scenario)


def test_one_filter_that_cannot_have_it_keeps_all_from_it() -> None:
    async def scenario(main: Main) -> None:
        middle, last = http(main), http(main, is_last=True)
        with pytest.raises(ConfigError):
            main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        assert (middle.current, last.current, main.changed) == (None, None, [])

    run(scenario)


def test_a_filter_that_comes_later_takes_what_there_is() -> None:
    async def scenario(main: Main) -> None:
        _first = http(main)
        main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        later = http(main)
        assert later.current is not None
        assert (len(main.xds.callbacks), main.counter("config_conflict")) == (1, 0)
        builder = FilterBuilder(HTTP, "a", main.context, "http", True)
        other = main.manager.provider(discovery(ROUTER, default=router()), builder, main.context)
        assert other.current.filter_class.__name__ == "RouterFilter"
        assert main.counter("config_conflict") == 1

    run(scenario)


def test_the_same_again_changes_nothing() -> None:
    async def scenario(main: Main) -> None:
        provider = http(main)
        main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        before = provider.current
        main.xds.callbacks[0].on_config_update([delivered(mutation())], "v2")
        assert provider.current is before
        assert (len(main.changed), main.manager.subscriptions()[0].version) == (1, "v1")

    run(scenario)


def test_what_was_removed_gives_way_to_the_default() -> None:
    async def scenario(main: Main) -> None:
        plain, has_default = http(main), http(main, default=mutation("default"))
        callbacks = main.xds.callbacks[0]
        callbacks.on_config_delta([delivered(mutation(), version="v7")], [], "")
        assert main.manager.subscriptions()[0].version == "v7"
        callbacks.on_config_delta([], ["a"], "")
        assert plain.current is None
        assert has_default.current is not None
        [subscription] = main.manager.subscriptions()
        assert (subscription.config, subscription.version, len(main.changed)) == (None, "", 2)
        with pytest.raises(MissingFilterConfigError):
            plain.create()
        callbacks.on_config_delta([], [], "")
        assert len(main.changed) == 2

    run(scenario)


def test_other_names_sources_and_kinds_are_other_subscriptions() -> None:
    async def scenario(main: Main) -> None:
        network = FilterBuilder(NETWORK, "a", main.context, "network", True)
        kept = [
            http(main),
            http(main, "b"),
            http(main, source="two"),
            main.manager.provider(discovery(ECHO), network, main.context),
        ]
        assert [one.key.partition(":")[0] for one in main.manager.subscriptions()] == ["http"] * 3 + ["network"]
        assert len(kept) == 4

    run(scenario)


def test_it_ends_with_its_last_filter() -> None:
    async def scenario(main: Main) -> None:
        one, two = http(main), http(main)
        blocks = set(main.store.entries)
        main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        del one
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not main.unused
        del two
        while not main.unused:  # noqa: ASYNC110 - it happens in another turn of the loop
            await asyncio.sleep(0)
        assert (main.xds.closed, main.manager.subscriptions()) == (1, [])
        main.unused[0].applied()  # the workers' answers may come later
        assert not blocks & set(main.store.entries)

    run(scenario)


def test_an_update_allots_the_statistics_of_its_filters_once() -> None:
    async def scenario(main: Main) -> None:
        builder = FilterBuilder(HTTP, "a", main.context, "http", True)
        _provider = main.manager.provider(discovery(ROUTER), builder, main.context)
        [subscription] = main.manager.subscriptions()
        for suppress in (True, False):
            config = packed(router_pb2.Router(suppress_envoy_headers=suppress))
            main.xds.callbacks[0].on_config_update([delivered(config)], "v")
        assert subscription.kept
        assert [main.store.entries[key].owners for key in subscription.kept] == [1] * len(subscription.kept)

    run(scenario)


def test_many_filters_are_built_in_slices_and_take_it_at_once() -> None:
    async def scenario(main: Main) -> None:
        providers = [http(main) for _ in range(MOST_AT_ONCE + 1)]
        steps = main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
        for _ in range(3):
            next(steps)
        assert {provider.current for provider in providers} == {None}
        providers.append(http(main))
        del providers[0]
        finish(steps)
        assert all(provider.current is not None for provider in providers)
        assert len(main.changed) == 1

    run(scenario)


def test_slices_that_fail_leave_what_there_was() -> None:
    async def scenario(main: Main) -> None:
        providers = [http(main, is_last=True, types=(ROUTER,)) for _ in range(MOST_AT_ONCE + 1)]
        blocks = {key: entry.owners for key, entry in main.store.entries.items()}
        steps = main.xds.callbacks[0].on_config_update([delivered(router())], "v1")
        next(steps)
        for provider in providers[:2]:  # one of them was not the first
            provider._builder = None
        with pytest.raises(AttributeError):
            finish(steps)
        assert {provider.current for provider in providers} == {None}
        assert {key: entry.owners for key, entry in main.store.entries.items()} == blocks

    run(scenario)


def test_defaults_are_checked_at_once() -> None:
    async def scenario(main: Main) -> None:
        unknown = mutation()
        unknown.type_url = "type.googleapis.com/google.protobuf.Struct"
        for default, words in (
            (unknown, "Error: cannot find filter factory a for default filter configuration with type URL type."),
            (router(), f"Error: filter config has type URL {ROUTER.partition('/')[2]} but expect "),
        ):
            with pytest.raises(ConfigError) as caught:
                http(main, default=default)
            assert str(caught.value).startswith(words)

    run(scenario)


def test_who_asks_has_a_name() -> None:
    async def scenario(main: Main) -> None:
        main.context.local_info.node = base_pb2.Node()
        with pytest.raises(ConfigError, match=r"core\.v3\.TypedExtensionConfig: node 'id' and 'cluster' are required"):
            http(main)

    run(scenario)


def test_without_a_loop_there_is_the_default_alone() -> None:
    main = Main(None)
    provider = http(main, default=mutation())
    assert provider.current is not None
    assert (main.xds.callbacks, main.manager.subscriptions()) == ([], [])


def test_where_nobody_waits_it_is_fetched_at_once() -> None:
    async def scenario(main: Main) -> None:
        main.context.init_manager = None
        _provider = http(main)
        assert main.xds.started == ["a"]

    run(scenario)


def test_a_manager_that_waits_is_let_go_when_nobody_uses_it() -> None:
    async def scenario(main: Main) -> None:
        waiting = main.context.init_manager = InitManager("Listener l")
        provider = http(main)
        ready: list[bool] = []
        waiting.initialize(lambda: ready.append(True))
        del provider
        while not main.unused:  # noqa: ASYNC110 - it happens in another turn of the loop
            await asyncio.sleep(0)
        assert ready

    run(scenario)


def test_what_cannot_be_asked_for() -> None:
    for kind, words in ((HTTP, ""), (TCP_LISTENER, "listener ")):
        with pytest.raises(ConfigError) as caught:
            check_discovery(discovery(without_warming=True), kind, "a")
        assert str(caught.value) == f"Error: {words}filter config a applied without warming but has no default config."
        with pytest.raises(ConfigError) as caught:
            check_discovery(discovery("x/no.such.Type"), kind, "a")
        assert str(caught.value) == f"Error: no {words}factory found for a required type URL no.such.Type."
