"""``envoy.filters.http.on_demand``: who waits, who goes on, and with which route."""

from typing import Any

from proxeny.extensions.http_filters.on_demand import CONTINUE, FACTORY, WAIT
from proxeny.kernel.headers import HeaderMap


class Callbacks:
    def __init__(self, route: Any = None, knows_somebody: bool = True) -> None:
        self.route = route
        self.knows_somebody = knows_somebody
        self.events: list[str] = []
        self.on_updated: Any = None

    def request_route_config_update(self, on_updated: Any) -> Any:
        self.on_updated = on_updated
        return self if self.knows_somebody else None

    def cancel(self) -> None:
        self.events.append("cancelled")

    def clear_route_cache(self) -> None:
        self.events.append("cleared")

    def continue_decoding(self) -> None:
        self.events.append("continued")


def made(callbacks: Callbacks) -> Any:
    created = FACTORY.create_filter_factory(None, "", None).create()  # type: ignore[arg-type]
    created.decoder_callbacks = callbacks  # type: ignore[assignment]
    return created


def test_a_request_with_a_route_goes_on() -> None:
    callbacks = Callbacks(route=object())
    assert made(callbacks).decode_headers(HeaderMap([]), True) == CONTINUE
    assert callbacks.on_updated is None


def test_so_does_one_for_which_nothing_can_be_looked_for() -> None:
    assert made(Callbacks(knows_somebody=False)).decode_headers(HeaderMap([]), True) == CONTINUE


def test_one_that_waits_gets_the_route_of_then() -> None:
    for found, events in ((True, ["cleared", "continued"]), (False, ["continued"])):
        callbacks = Callbacks()
        waiting = made(callbacks)
        assert waiting.decode_headers(HeaderMap([]), False) == WAIT
        callbacks.on_updated(found)
        waiting.on_destroy()
        assert callbacks.events == events


def test_one_that_ends_waits_no_longer() -> None:
    callbacks = Callbacks()
    waiting = made(callbacks)
    waiting.decode_headers(HeaderMap([]), False)
    waiting.on_destroy()
    waiting.on_destroy()
    assert callbacks.events == ["cancelled"]
