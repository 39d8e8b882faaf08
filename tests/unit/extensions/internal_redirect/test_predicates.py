"""Predicates of internal redirects."""

from __future__ import annotations

from types import SimpleNamespace

from proxeny.extensions.internal_redirect.predicates import ALLOW_LISTED_ROUTES, PREVIOUS_ROUTES, SAFE_CROSS_SCHEME
from proxeny.network.filter_state import FilterState


def test_only_listed_routes() -> None:
    predicate = ALLOW_LISTED_ROUTES.create(SimpleNamespace(allowed_route_names=["a"]))
    assert predicate.accepts(FilterState(), "x", "a", False, False)
    assert not predicate.accepts(FilterState(), "x", "b", False, False)


def test_each_route_once_from_each_route() -> None:
    predicate, state = PREVIOUS_ROUTES.create(None), FilterState()
    assert predicate.accepts(state, "x", "a", False, False)
    assert not predicate.accepts(state, "x", "a", False, False)
    assert predicate.accepts(state, "y", "a", False, False)
    assert predicate.accepts(FilterState(), "x", "a", False, False)


def test_never_from_http_to_https() -> None:
    predicate = SAFE_CROSS_SCHEME.create(None)
    verdicts = [
        predicate.accepts(FilterState(), "x", "a", *pair) for pair in ((False, True), (True, False), (True, True))
    ]
    assert verdicts == [False, True, True]
