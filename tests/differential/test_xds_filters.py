"""Discovered filters, secrets and runtime layers: the same control plane before Envoy and Proxeny."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.differential.sds import ONE, ROOT, TWO, inline, trusting
from tests.differential.xds_config import (
    HCM,
    HTTP_OPTIONS,
    ROUTER,
    TYPES,
    VARIANTS,
    Json,
    Variant,
    address,
    assignment,
    listener,
    routes,
    static,
)
from tests.differential.xds_pair import XdsCase, XdsPair, into
from tests.differential.xds_side import POLL, TIMEOUT, Side

from proxeny.testing.xds import CDS, ECDS, LDS, RTDS, SDS, ControlPlane

CASES: list[XdsCase] = []
case = into(CASES)

MUTATION = f"{TYPES}.extensions.filters.http.header_mutation.v3.HeaderMutation"
CODEC = f"{TYPES}.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
ECHO = f"{TYPES}.extensions.filters.network.echo.v3.Echo"
DIRECT = f"{TYPES}.extensions.filters.network.direct_response.v3.Config"
INSPECTOR = f"{TYPES}.extensions.filters.listener.tls_inspector.v3.TlsInspector"
TLS = f"{TYPES}.extensions.transport_sockets.tls.v3"
QUICK = "0.1s"
"""A fetch that is given up soon."""


def filter_of(name: str, typed: Json) -> Json:
    """A ``TypedExtensionConfig``."""
    return {"name": name, "typed_config": typed}


def adding(value: str) -> Json:
    """A filter that adds the response header ``x-a``."""
    header = {"append": {"header": {"key": "x-a", "value": value}}}
    return {"@type": MUTATION, "mutations": {"response_mutations": [header]}}


def discovered(side: Side, name: str, *types: str, quick: bool = False, **more: Any) -> Json:
    """A filter that is discovered; ``quick``: not waited for long."""
    source = {**side.source, **({"initial_fetch_timeout": QUICK} if quick else {})}
    return {
        "name": name,
        "config_discovery": {"config_source": source, "type_urls": list(types or (MUTATION,)), **more},
    }


def filtered(name: str, *filters: Json, last: bool = True) -> Json:
    """A listener whose connection manager has these filters."""
    made = listener(name, route_config=routes("r", f"={name}"))
    chain = made["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    chain[:0] = filters
    if not last:
        chain.pop()
    return made


def chained(name: str, *filters: Json, **more: Any) -> Json:
    """A listener with these network filters."""
    return {"name": name, "address": address(0), "filter_chains": [{"filters": list(filters)}], **more}


def header(side: Side, name: str, want: str) -> None:
    """Ask until the answer's status and ``x-a`` are these."""
    deadline = time.monotonic() + TIMEOUT
    seen = ""
    while seen != want and time.monotonic() < deadline:
        seen = _asked(side.listening().get(name))
        if seen != want:
            time.sleep(POLL)
    side.note(f"{name} answers {seen}")


def _asked(port: int | None) -> str:
    if port is None:
        return "no listener"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/say")
        answer = connection.getresponse()
        answer.read()
        return f"{answer.status} {answer.getheader('x-a')}"
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def says(side: Side, name: str, want: bytes) -> None:
    """Connect and say a word until what comes back is ``want`` (nothing: closed)."""
    deadline = time.monotonic() + TIMEOUT
    seen = b"?"
    while seen != want and time.monotonic() < deadline:
        port = side.listening().get(name)
        if port is not None:
            seen = _said(port)
        if seen != want:
            time.sleep(POLL)
    side.note(f"{name} says {seen!r}")


def _said(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
            client.sendall(b"word")
            return client.recv(100)
    except OSError:
        return b""


def handshake(side: Side, name: str, want: str) -> None:
    """Connect with TLS until the certificate's name is ``want``; empty: no handshake succeeds."""
    deadline = time.monotonic() + TIMEOUT
    seen = "?"
    while seen != want and time.monotonic() < deadline:
        seen = _certificate(side.listening().get(name, 0))
        if seen != want:
            time.sleep(POLL)
    side.note(f"{name} has certificate {seen!r}")


def _certificate(port: int) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=ROOT.pem)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client,
            context.wrap_socket(client) as encrypted,
        ):
            found: Any = encrypted.getpeercert()
            return str(found["subjectAltName"][0][1])
    except OSError:
        return ""


# -- filters ---------------------------------------------------------------------------------------------------


@case("ECDS", "a answers 200 one", "a answers 200 two", "extension_config_discovery.http_filter.f.config_reload: +2")
def a_filter_comes_and_changes(side: Side) -> None:
    version = side.serve(ECDS, filter_of("f", adding("one")))
    side.put(LDS, filtered("a", discovered(side, "f")))
    side.acked(ECDS, version)
    header(side, "a", "200 one")
    side.put(ECDS, filter_of("f", adding("two")))
    header(side, "a", "200 two")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 2)


@case("a: no listener", "a answers 200 one")
def a_listener_waits_for_its_filter(side: Side) -> None:
    side.plane.hold(ECDS)
    version = side.serve(ECDS, filter_of("f", adding("one")))
    side.put(LDS, filtered("a", discovered(side, "f")))
    side.asked_for(ECDS, "f")
    side.wait_for_stat("listener_manager.total_listeners_warming", 1)
    side.note(f"a: {side.ask('a', '/say')}")
    side.plane.release(ECDS)
    side.acked(ECDS, version)
    header(side, "a", "200 one")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 1)


@case("a answers 200 default", "a answers 200 one")
def a_default_serves_meanwhile(side: Side) -> None:
    side.plane.hold(ECDS)
    version = side.serve(ECDS, filter_of("f", adding("one")))
    more = {"default_config": adding("default"), "apply_default_config_without_warming": True}
    side.put(LDS, filtered("a", discovered(side, "f", **more)))
    side.asked_for(ECDS, "f")
    header(side, "a", "200 default")
    side.plane.release(ECDS)
    side.acked(ECDS, version)
    header(side, "a", "200 one")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 1)


@case("init_fetch_timeout: +1", "config_fail: +1", "a answers 500 None", "a answers 200 one")
def a_filter_that_is_late(side: Side) -> None:
    side.plane.hold(ECDS)
    version = side.serve(ECDS, filter_of("f", adding("one")))
    side.put(LDS, filtered("a", discovered(side, "f", quick=True)))
    header(side, "a", "500 None")
    side.plane.release(ECDS)
    side.acked(ECDS, version)
    header(side, "a", "200 one")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 1)


REFUSED = "error=13:'Error: filter config has type URL envoy.extensions.filters.network.echo.v3.Echo but expect "


@case(REFUSED, "a answers 200 one", "a answers 200 two", "config_fail: +1")
def a_filter_of_another_type_is_refused(side: Side) -> None:
    version = side.serve(ECDS, filter_of("f", adding("one")))
    side.put(LDS, filtered("a", discovered(side, "f")))
    side.acked(ECDS, version)
    side.put_bad(ECDS, filter_of("f", {"@type": ECHO}))
    header(side, "a", "200 one")
    side.put(ECDS, filter_of("f", adding("two")))
    header(side, "a", "200 two")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 2)


@case("must be the last filter in a http filter chain", "a answers 500 None")
def a_terminal_filter_in_the_middle_is_refused(side: Side) -> None:
    version = side.serve(ECDS, filter_of("f", {"@type": ROUTER}))
    side.put(LDS, filtered("a", discovered(side, "f", MUTATION, ROUTER)))
    side.nacked(ECDS, version)
    header(side, "a", "500 None")


@case("is the last filter in a http filter chain", "a answers 500 None", "a answers 200 None")
def the_last_filter_is_discovered(side: Side) -> None:
    version = side.serve(ECDS, filter_of("f", adding("one")))
    side.put(LDS, filtered("a", discovered(side, "f", MUTATION, ROUTER), last=False))
    side.nacked(ECDS, version)
    header(side, "a", "500 None")
    side.put(ECDS, filter_of("f", {"@type": ROUTER}))
    header(side, "a", "200 None")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 1)


@case("config_reload: +1", "a answers 200 one")
def the_same_filter_again(side: Side) -> None:
    version = side.serve(ECDS, filter_of("f", adding("one")))
    side.put(LDS, filtered("a", discovered(side, "f")))
    side.acked(ECDS, version)
    if not side.variant.delta:
        side.put(ECDS, filter_of("f", adding("one")))
    header(side, "a", "200 one")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 1)


@case("a answers 200 one")
def a_filter_is_taken_away(side: Side) -> None:
    version = side.serve(ECDS, filter_of("f", adding("one")), filter_of("g", adding("one")))
    withs = discovered(side, "f", default_config=adding("default"))
    side.put(LDS, filtered("a", withs), filtered("b", discovered(side, "g")))
    side.acked(ECDS, version)
    header(side, "a", "200 one")
    header(side, "b", "200 one")
    side.put(ECDS)
    if side.variant.delta:
        header(side, "a", "200 default")
        header(side, "b", "500 None")
        for name in "fg":
            side.wait_for_stat(f"extension_config_discovery.http_filter.{name}.config_reload", 2)


@case("b answers 200 two", "c answers 200 None", "config_conflict: +1")
def listeners_share_a_filter(side: Side) -> None:
    version = side.serve(ECDS, filter_of("f", adding("one")))
    side.put(LDS, filtered("a", discovered(side, "f")))
    side.acked(ECDS, version)
    first, second = filtered("a", discovered(side, "f")), filtered("b", discovered(side, "f"))
    side.put(LDS, first, second)
    side.put(ECDS, filter_of("f", adding("two")))
    header(side, "a", "200 two")
    header(side, "b", "200 two")
    late = filtered("c", discovered(side, "f", ROUTER, default_config={"@type": ROUTER}), last=False)
    side.put(LDS, first, second, late)
    header(side, "c", "200 None")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 2)


@case("a answers 200 one, route", "b answers 200 None", "c answers 200 one")
def routes_know_discovered_filters(side: Side) -> None:
    def made(name: str, **more: Any) -> Json:
        found = filtered(name, {**discovered(side, "f"), **more.pop("of_filter", {})})
        manager = found["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"]["virtual_hosts"][0]["routes"][0].update(more)
        return found

    own = {"@type": f"{MUTATION}PerRoute", "mutations": adding("route")["mutations"]}
    options = f"{TYPES}.config.route.v3.FilterConfig"
    off, on = {"@type": options, "disabled": True}, {"@type": options, "config": {"@type": f"{MUTATION}PerRoute"}}
    version = side.serve(ECDS, filter_of("f", adding("one")))
    first = made("a", typed_per_filter_config={"f": own})
    second = made("b", typed_per_filter_config={"f": off})
    third = made("c", typed_per_filter_config={"f": on}, of_filter={"disabled": True})
    side.put(LDS, first, second, third)
    side.acked(ECDS, version)
    header(side, "a", "200 one, route")
    header(side, "b", "200 None")
    header(side, "c", "200 one")
    side.wait_for_stat("extension_config_discovery.http_filter.f.config_reload", 1)


@case("Error: filter config f applied without warming but has no default config.")
def a_listener_that_cannot_be_had(side: Side) -> None:
    side.put_bad(LDS, filtered("a", discovered(side, "f", apply_default_config_without_warming=True)))


@case("extension_config_discovery.network_filter.n", "a/say: 200 'x'", "a/say: 200 'y'")
def a_connection_manager_is_discovered(side: Side) -> None:
    def manager(word: str) -> Json:
        made = listener("a", route_config=routes("r", f"={word}"))
        return dict(made["filter_chains"][0]["filters"][0]["typed_config"])

    version = side.serve(ECDS, filter_of("n", manager("x")))
    side.put(LDS, chained("a", discovered(side, "n", HCM)))
    side.acked(ECDS, version)
    side.get("a", "/say", "x")
    side.put(ECDS, filter_of("n", manager("y")))
    side.get("a", "/say", "y")
    side.wait_for_stat("extension_config_discovery.network_filter.n.config_reload", 2)


@case("a says b''", "a says b'word'", "a says b'hello'")
def network_filters_that_are_late(side: Side) -> None:
    side.plane.hold(ECDS)
    version = side.serve(ECDS, filter_of("n", {"@type": ECHO}))
    side.put(LDS, chained("a", discovered(side, "n", ECHO, DIRECT, quick=True)))
    says(side, "a", b"")
    side.plane.release(ECDS)
    side.acked(ECDS, version)
    says(side, "a", b"word")
    side.put(ECDS, filter_of("n", {"@type": DIRECT, "response": {"inline_string": "hello"}}))
    says(side, "a", b"hello")
    side.wait_for_stat("extension_config_discovery.network_filter.n.config_reload", 2)


@case("extension_config_discovery.tcp_listener_filter.l", "a says b''", "a says b'word'")
def listener_filters_that_are_late(side: Side) -> None:
    side.plane.hold(ECDS)
    version = side.serve(ECDS, filter_of("l", {"@type": INSPECTOR}))
    echo = {"name": "echo", "typed_config": {"@type": ECHO}}
    more = {"listener_filters": [discovered(side, "l", INSPECTOR, quick=True)], "listener_filters_timeout": "0.05s",
            "continue_on_listener_filters_timeout": True}  # fmt: skip
    side.put(LDS, chained("a", echo, **more))
    says(side, "a", b"")
    side.plane.release(ECDS)
    side.acked(ECDS, version)
    says(side, "a", b"word")
    side.wait_for_stat("extension_config_discovery.tcp_listener_filter.l.config_reload", 1)


@case("a answers 200 one", "a answers 200 two", "a answers 500 None")
def upstream_filters_are_discovered(side: Side) -> None:
    side.plane.hold(ECDS)
    version = side.serve(ECDS, filter_of("u", adding("one")))
    codec = {"name": "codec", "typed_config": {"@type": CODEC}}
    made = listener("a", route_config=routes("r", "say"))
    filters = made["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    filters[-1]["typed_config"]["upstream_http_filters"] = [discovered(side, "u", quick=True), codec]
    side.put(CDS, static("say", side.port("one")))
    side.put(LDS, made)
    header(side, "a", "500 None")
    side.plane.release(ECDS)
    side.acked(ECDS, version)
    header(side, "a", "200 one")
    side.put(ECDS, filter_of("u", adding("two")))
    header(side, "a", "200 two")
    side.wait_for_stat("extension_config_discovery.upstream_http_filter.u.config_reload", 2)


@case("a answers 200 one", "a answers 200 two", "a answers 200 None")
def the_filters_of_a_cluster_are_discovered(side: Side) -> None:
    def filters(*found: Json) -> Json:
        codec = {"name": "codec", "typed_config": {"@type": CODEC}}
        options = {"@type": HTTP_OPTIONS, "explicit_http_config": {"http_protocol_options": {}},
                   "http_filters": [*found, codec]}  # fmt: skip
        return {"typed_extension_protocol_options": {HTTP_OPTIONS.partition("/")[2]: options}}

    version = side.serve(ECDS, filter_of("u", adding("one")))
    clusters = side.serve(CDS, static("say", side.port("one"), **filters(discovered(side, "u"))))
    side.acked(ECDS, version)
    side.acked(CDS, clusters)
    side.put(LDS, listener("a", route_config=routes("r", "say")))
    header(side, "a", "200 one")
    side.put(ECDS, filter_of("u", adding("two")))
    header(side, "a", "200 two")
    side.wait_for_stat("extension_config_discovery.upstream_http_filter.u.config_reload", 2)
    side.put(CDS, static("say", side.port("one"), **filters()))
    header(side, "a", "200 None")


# -- secrets ---------------------------------------------------------------------------------------------------


def secured(side: Side, name: str, secret: str, quick: bool = False) -> Json:
    """A listener with TLS whose certificate is discovered."""
    made = listener(name, route_config=routes("r", f"={name}"), stat_prefix=name)
    source = {**side.source, **({"initial_fetch_timeout": QUICK} if quick else {})}
    common = {"tls_certificate_sds_secret_configs": [{"name": secret, "sds_config": source}]}
    typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common}
    made["filter_chains"][0]["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": typed}
    return made


@case("SDS", "a has certificate 'one.test'", "a has certificate 'two.test'", "sds.s.update_success: +2")
def a_certificate_comes_and_changes(side: Side) -> None:
    version = side.serve(SDS, {"name": "s", "tls_certificate": inline(ONE)})
    side.put(LDS, secured(side, "a", "s"))
    side.acked(SDS, version)
    handshake(side, "a", "one.test")
    side.put(SDS, {"name": "s", "tls_certificate": inline(TWO)})
    handshake(side, "a", "two.test")


@case("a: no listener", "a has certificate 'one.test'")
def a_listener_waits_for_its_secret(side: Side) -> None:
    side.plane.hold(SDS)
    version = side.serve(SDS, {"name": "s", "tls_certificate": inline(ONE)})
    side.put(LDS, secured(side, "a", "s"))
    side.asked_for(SDS, "s")
    side.wait_for_stat("listener_manager.total_listeners_warming", 1)
    side.note(f"a: {side.ask('a', '/say')}")
    side.plane.release(SDS)
    side.acked(SDS, version)
    handshake(side, "a", "one.test")


@case("init_fetch_timeout: +1", "a has certificate ''", "a has certificate 'one.test'")
def a_secret_that_is_late(side: Side) -> None:
    side.plane.hold(SDS)
    version = side.serve(SDS, {"name": "s", "tls_certificate": inline(ONE)})
    side.put(LDS, secured(side, "a", "s", quick=True))
    side.wait_for_stat("listener_manager.total_listeners_active", 1)
    side.wait_until(lambda: "a" in side.listening())
    handshake(side, "a", "")
    side.plane.release(SDS)
    side.acked(SDS, version)
    handshake(side, "a", "one.test")


@case("KEY_VALUES_MISMATCH", "a has certificate 'one.test'", "update_rejected: +1")
def a_key_of_another_certificate_is_refused(side: Side) -> None:
    version = side.serve(SDS, {"name": "s", "tls_certificate": inline(ONE)})
    side.put(LDS, secured(side, "a", "s"))
    side.acked(SDS, version)
    both = {**inline(TWO), "private_key": {"inline_string": ONE.key_pem}}
    side.put_bad(SDS, {"name": "s", "tls_certificate": both})
    handshake(side, "a", "one.test")
    side.put(SDS, {"name": "s", "tls_certificate": inline(TWO)})
    handshake(side, "a", "two.test")


@case("a has certificate 'one.test'")
def a_secret_is_taken_away(side: Side) -> None:
    version = side.serve(SDS, {"name": "s", "tls_certificate": inline(ONE)})
    side.put(LDS, secured(side, "a", "s"))
    side.acked(SDS, version)
    side.put(SDS)
    handshake(side, "a", "one.test")


@case("SDS", "cluster_manager.cluster_added: +1")
def a_cluster_waits_for_its_secret(side: Side) -> None:
    side.plane.hold(SDS)
    version = side.serve(SDS, {"name": "v", "validation_context": trusting(ROOT)})
    common = {"validation_context_sds_secret_config": {"name": "v", "sds_config": side.source}}
    typed = {"@type": f"{TLS}.UpstreamTlsContext", "common_tls_context": common}
    made = {"name": "c", "load_assignment": assignment("c", side.port("one"))}
    clusters = side.serve(
        CDS, {**made, "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed}}
    )
    side.asked_for(SDS, "v")
    side.wait_for_stat("cluster_manager.warming_clusters", 1)
    side.plane.release(SDS)
    side.acked(SDS, version)
    side.acked(CDS, clusters)  # while clusters warm, none are asked for
    side.wait_for_stat("cluster_manager.warming_clusters", 0)


@case("b has certificate 'two.test'", "a has certificate 'two.test'")
def listeners_share_a_secret(side: Side) -> None:
    version = side.serve(SDS, {"name": "s", "tls_certificate": inline(ONE)})
    side.put(LDS, secured(side, "a", "s"))
    side.acked(SDS, version)
    side.put(LDS, secured(side, "a", "s"), secured(side, "b", "s"))
    side.put(SDS, {"name": "s", "tls_certificate": inline(TWO)})
    handshake(side, "a", "two.test")
    handshake(side, "b", "two.test")


@case("a answers 200 one", "b has certificate 'one.test'")
def names_of_all_kinds(side: Side) -> None:
    name = "a:b/c://d e.%f"
    filters = side.serve(ECDS, filter_of(name, adding("one")))
    secrets = side.serve(SDS, {"name": name, "tls_certificate": inline(ONE)})
    side.put(LDS, filtered("a", discovered(side, name)), secured(side, "b", name))
    side.acked(ECDS, filters)
    side.acked(SDS, secrets)
    header(side, "a", "200 one")
    handshake(side, "b", "one.test")
    side.wait_until(lambda: "config_reload: 1" in side.proxy.admin("/stats?filter=extension_config_discovery"))


# -- runtime ---------------------------------------------------------------------------------------------------


def layer(**values: Any) -> Json:
    """The runtime layer that both proxies have."""
    return {"name": "rt", "layer": values}


def value(side: Side, key: str, want: str) -> None:
    """Wait until a runtime key has a value; empty: is not there."""
    seen = "?"

    def has_it() -> bool:
        nonlocal seen
        entries = _entries(side)
        seen = entries.get(key, {}).get("final_value", "")
        return seen == want

    side.wait_until(has_it)
    side.note(f"{key} is {seen!r}")


def _entries(side: Side) -> Json:
    found: Json = json.loads(side.proxy.admin("/runtime")).get("entries", {})
    return found


@case("RTDS", "a is '1'", "b.c is 'x'", "a is '2'", "b.c is ''")
def a_layer_changes(side: Side) -> None:
    side.put(RTDS, layer(a=1, b={"c": "x"}))
    value(side, "a", "1")
    value(side, "b.c", "x")
    side.put(RTDS, layer(a=2))
    value(side, "a", "2")
    value(side, "b.c", "")


@case("error=13:'Invalid runtime entry value for a", "a is '3'")
def values_that_no_runtime_has(side: Side) -> None:
    side.put(RTDS, layer(a=1))
    value(side, "a", "1")
    side.put_bad(RTDS, layer(a=[1]))
    side.put(RTDS, layer(a=3))
    value(side, "a", "3")


@case("RTDS")
def a_layer_is_taken_away(side: Side) -> None:
    side.put(RTDS, layer(a=1))
    value(side, "a", "1")
    side.put(RTDS)
    value(side, "a", "" if side.variant.delta else "1")


# -- all of them -----------------------------------------------------------------------------------------------


def bootstrap_of(variant: Variant) -> Any:
    """Both have a runtime layer from the control plane."""

    def made(port: int) -> Json:
        rtds = {"name": "rt", "rtds_layer": {"name": "rt", "rtds_config": variant.source()}}
        return variant.bootstrap(port, layered_runtime={"layers": [rtds]})

    return made


def prepare(plane: ControlPlane) -> None:
    """What the proxies start with."""
    plane.set(LDS, (), "nothing")
    plane.set(CDS, (), "nothing")
    plane.set(RTDS, [layer(start="1")], "first")


@pytest.fixture(scope="module", params=[VARIANTS[0], VARIANTS[3]], ids=lambda variant: variant.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    variant: Variant = request.param
    made = XdsPair(variant, tmp_path_factory.mktemp(variant.name), bootstrap_of(variant), prepare)
    yield made
    made.close()


@pytest.mark.parametrize("sequence", CASES, ids=lambda sequence: sequence.name)
def test_same(sequence: XdsCase, pair: XdsPair) -> None:
    try:
        pair.check(sequence)
    finally:
        for side in pair.sides:
            side.put(RTDS, layer(start="1"))
