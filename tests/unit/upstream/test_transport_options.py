"""What filter state asks of upstream transport sockets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from proxeny.network.filter_state import FilterState
from proxeny.upstream.transport_options import (
    APPLICATION_PROTOCOLS,
    SERVER_NAME,
    SUBJECT_ALT_NAMES,
    has_filter_state,
    transport_options,
)


def state(**values: Any) -> FilterState:
    made = FilterState()
    made.update(values)
    return made


def context(request: FilterState | None = None, connection: FilterState | None = None) -> Any:
    return SimpleNamespace(
        request_stream_info=SimpleNamespace(filter_state_map=request),
        downstream_connection=SimpleNamespace(filter_state_map=connection),
    )


def test_who_has_filter_state() -> None:
    some = state(a=1)
    assert not has_filter_state(None)
    assert not has_filter_state(context())
    assert not has_filter_state(context(FilterState(), FilterState()))
    assert has_filter_state(context(request=some))
    assert has_filter_state(context(connection=some))


def test_nothing_is_asked() -> None:
    assert transport_options(None, {}) is None
    assert transport_options(context(state(other=1)), {}) is None


def test_the_request_goes_before_its_connection() -> None:
    of_connection = state(**{SERVER_NAME: "connection.test", SUBJECT_ALT_NAMES: ["a", "b"]})
    of_request = state(**{SERVER_NAME: "request.test", APPLICATION_PROTOCOLS: "h2,x"})
    found = transport_options(context(of_request, of_connection), {})
    assert found is not None
    assert found.server_name_override == "request.test"
    assert found.verify_san_list_override == ("a", "b")
    assert found.alpn_override == ("h2", "x")
    assert found.tls_key() != transport_options(context(of_request), {}).tls_key()  # type: ignore[union-attr]
