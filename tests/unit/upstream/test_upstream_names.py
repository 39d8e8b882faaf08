"""Names that upstream connections ask for and expect, of the requests that they are for."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import protocol_pb2

from proxeny.kernel.headers import HeaderMap
from proxeny.network.filter_state import FilterState
from proxeny.upstream.transport_options import SERVER_NAME, SUBJECT_ALT_NAMES
from proxeny.upstream.upstream_names import compile_upstream_names


class Holder:
    """What has filter state: a stream info, a connection."""

    def __init__(self, **values: Any) -> None:
        self.filter_state = FilterState()
        self.filter_state.update(values)
        self.filter_state_map = self.filter_state


def asked(authority: bytes, below: Holder | None = None, info: Holder | None = None, **fields: Any) -> dict[str, Any]:
    names = compile_upstream_names(protocol_pb2.UpstreamHttpProtocolOptions(**fields))
    assert names is not None
    headers = HeaderMap()
    headers.set(b":authority", authority)
    headers.add(b"x-name", b"named.test")
    info = info or Holder()
    names.apply(headers, info, below)  # type: ignore[arg-type]
    return dict(info.filter_state)


@pytest.mark.parametrize(
    ("authority", "host"),
    [(b"a.test", "a.test"), (b"a.test:443", "a.test"), (b"a.test:x", "a.test:x"), (b"", "")],
)
def test_the_host_of_the_request(authority: bytes, host: str) -> None:
    found = asked(authority, auto_sni=True, auto_san_validation=True)
    assert found == {SERVER_NAME: host, SUBJECT_ALT_NAMES: (host,)}
    assert asked(authority, auto_sni=True) == {SERVER_NAME: host}
    assert asked(authority, auto_san_validation=True) == {SUBJECT_ALT_NAMES: (host,)}


def test_addresses_are_expected_but_not_asked_for() -> None:
    assert asked(b"10.0.0.1:80", auto_sni=True, auto_san_validation=True) == {SUBJECT_ALT_NAMES: ("10.0.0.1",)}
    assert asked(b"[::1]:80", auto_sni=True, auto_san_validation=True) == {SUBJECT_ALT_NAMES: ("::1",)}


def test_a_header_may_say_it() -> None:
    assert asked(b"a.test", auto_sni=True, override_auto_sni_header="X-Name") == {SERVER_NAME: "named.test"}
    assert asked(b"a.test", auto_sni=True, override_auto_sni_header="x-none") == {SERVER_NAME: "a.test"}


def test_what_filters_have_set_stays() -> None:
    set_before = Holder(**{SERVER_NAME: "b", SUBJECT_ALT_NAMES: "c"})
    assert asked(b"a", info=set_before, auto_sni=True, auto_san_validation=True) == {
        SERVER_NAME: "b",
        SUBJECT_ALT_NAMES: "c",
    }
    assert asked(b"a", below=set_before, auto_sni=True, auto_san_validation=True) == {}


def test_nothing_is_asked_for_unless_told() -> None:
    assert compile_upstream_names(protocol_pb2.UpstreamHttpProtocolOptions(override_auto_sni_header="x")) is None
