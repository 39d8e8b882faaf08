"""The overload state of one process."""

from proxeny.network.overload_state import (
    DISABLE_HTTP_KEEPALIVE,
    REJECT_INCOMING_CONNECTIONS,
    STOP_ACCEPTING_CONNECTIONS,
    STOP_ACCEPTING_REQUESTS,
    TCP_LISTENER_ACCEPT,
    OverloadState,
    falls_within,
)


def test_nothing_is_overloaded_at_first() -> None:
    state = OverloadState()
    assert state.values == {}
    assert not state.stop_accepting_connections
    assert state.reject_incoming_connections == state.tcp_listener_accept == 0


def test_an_update_replaces_all_and_is_told() -> None:
    state = OverloadState()
    heard: list[bool] = []
    state.on_change(lambda: heard.append(state.stop_accepting_connections))
    state.update(
        {
            STOP_ACCEPTING_CONNECTIONS: 1.0,
            REJECT_INCOMING_CONNECTIONS: 0.25,
            STOP_ACCEPTING_REQUESTS: 0.5,
            DISABLE_HTTP_KEEPALIVE: 0.75,
            TCP_LISTENER_ACCEPT: 0.1,
        }
    )
    assert state.reject_incoming_connections == 0.25
    assert (state.stop_accepting_requests, state.disable_http_keepalive, state.tcp_listener_accept) == (0.5, 0.75, 0.1)
    state.update({STOP_ACCEPTING_CONNECTIONS: 0.99})
    assert heard == [True, False]
    assert state.reject_incoming_connections == 0


def test_fractions() -> None:
    assert not falls_within(0, 0.0)
    assert falls_within((1 << 32) - 1, 1.0)
    assert falls_within((1 << 31) - 1, 0.5)
    assert not falls_within(1 << 31, 0.5)
    assert falls_within(1 << 40, 0.1)
