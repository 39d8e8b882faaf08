"""Chains some of whose filters are discovered: what a request meets before, while and after they come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.filter_config.builders import Main, delivered, http_filter, last_filter, mutation, router

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.http.dynamic_filter_chain import DynamicFilterChain
from proxeny.http.filter_compiler import compile_filters
from proxeny.http.missing_config import MissingConfigFactory, MissingConfigFilter


@pytest.fixture
def main() -> Any:
    dispatcher = Dispatcher()
    made = Main(dispatcher)
    yield made
    made.manager.close()
    dispatcher.close()


def compiled(main: Main, *filters: Any) -> Any:
    return compile_filters(filters, "http.x.", main.context)


def types(chain: Any) -> list[str]:
    return [type(factory).__name__ for factory in chain.factories]


def test_a_chain_follows_its_filters(main: Main) -> None:
    chain = compiled(main, http_filter("a"), last_filter())
    assert isinstance(chain, DynamicFilterChain)
    before = chain.for_route(None)
    assert (types(before), before.names) == (["MissingConfigFactory", "RouterFilterFactory"], ("a", "router"))
    assert chain.for_route(None) is before
    main.xds.callbacks[0].on_config_update([delivered(mutation())], "v1")
    after = chain.for_route(None)
    assert (types(after), after.names) == (["HeaderMutationFactory", "RouterFilterFactory"], ("a", "router"))
    assert types(before) == ["MissingConfigFactory", "RouterFilterFactory"], "requests that began keep theirs"
    main.xds.callbacks[0].on_config_delta([], ["a"], "")
    assert types(chain.for_route(None)) == types(before)


def test_the_last_filter_may_be_discovered_too(main: Main) -> None:
    chain = compiled(main, _last("a"))
    missing = chain.for_route(None)
    assert (types(missing), missing.last, missing.single) == (["MissingConfigFactory"], 0, True)
    main.xds.callbacks[0].on_config_update([delivered(router())], "v1")
    assert types(chain.for_route(None)) == ["RouterFilterFactory"]


def _last(name: str) -> Any:
    message = http_filter(name)
    message.config_discovery.type_urls[:] = [router().type_url]
    return message


def test_routes_switch_them_off_and_on(main: Main) -> None:
    chain = compiled(main, http_filter("a", disabled=True), http_filter("b"), last_filter())
    assert chain.for_route(None).names == ("b", "router")
    switches = {"a": False, "b": True}
    route = SimpleNamespace(switches_filters=True, filter_disabled=switches.get)
    assert chain.for_route(route).names == ("a", "router")


def test_a_chain_without_discovered_filters_is_a_plain_one(main: Main) -> None:
    assert not isinstance(compiled(main, last_filter()), DynamicFilterChain)


def test_refused_discovery(main: Main) -> None:
    with pytest.raises(ConfigError, match="Error: filter config a applied without warming but has no default config"):
        compiled(main, http_filter("a", without_warming=True), last_filter())


def test_a_missing_configuration_is_answered() -> None:
    said: list[Any] = []
    flags: list[Any] = []
    filter_ = MissingConfigFactory("a").create()
    assert isinstance(filter_, MissingConfigFilter)
    filter_.decoder_callbacks = SimpleNamespace(  # type: ignore[assignment]
        stream_info=SimpleNamespace(set_flag=flags.append), send_local_reply=lambda *answer: said.append(answer)
    )
    filter_.decode_headers(None, True)  # type: ignore[arg-type]
    assert said == [(500, b"", None, None, "")]
    assert [flag.value[0] for flag in flags] == ["NFCF"]
