"""Which filter chain a connection gets: FilterChainMatch and the unified matcher; what is told where none is found."""

import ssl

import pytest
from tests.differential.harness import Case, Do, Pairs, case_id
from tests.differential.wire import End

STATS = r"(^listener\.[^a]|ip_parsing_failed$)"


def chosen(
    listener: str,
    chain: str | None,
    source: str = "",
    address: str = "",
    stat: str = "",
    sends: bytes = b"",
    name: str = "",
) -> Case:
    """The chain that answers with its name; None: none, the connection is closed and the listener's log says why."""
    name = "_".join(part for part in (listener, address.strip("+"), source, name) if part)
    contains = (f"client 0 < '{chain}'",) if chain else (r"stat \+1 listener\..*\.no_filter_chain_match",)
    return Case(
        name,
        (sends, Do("end")),
        config="filter_chains",
        listener=listener,
        address=address,
        source=source,
        end=End.CLOSED,
        contains=(*contains, stat),
        logged=1,
        log=chain or "NR filter_chain_not_found",
        stats=STATS,
    )


def proxied(destination: str, port: int, source: str = "10.9.8.7", source_port: int = 5000) -> bytes:
    """A PROXY header: whatever addresses one likes."""
    family = "TCP6" if ":" in destination else "TCP4"
    return f"PROXY {family} {source} {destination} {source_port} {port}\r\n".encode()


def hello(name: str = "", *protocols: str) -> bytes:
    """A ClientHello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name or None)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def by_header(chain: str | None, header: bytes, name: str, source: str = "", listener: str = "proxied") -> Case:
    """Some text goes behind it, which the inspector of TLS looks at."""
    return chosen(listener, chain, source, sends=header + b"GET / HTTP/1.1\r\n\r\n", name=name)


def by_hello(chain: str | None, name: str = "", *protocols: str, listener: str = "names") -> Case:
    sends = hello(name, *protocols)
    return chosen(listener, chain, sends=sends, name="_".join([name or "nameless", *protocols]))


CASES = [
    chosen("none", None),
    chosen("only_default", "default"),
    chosen("pipe_any", "any"),
    chosen("pipe_broadcast", "broadcast"),
    chosen("pipe_local", "local"),
    chosen("types", "local"),
    chosen("types", "external", source="127.0.0.2"),
    chosen("types", "local", source="127.0.0.2", address="+1"),
    chosen("types", "external", source="127.0.0.3", address="+1"),
    chosen("addresses", "wide"),
    chosen("addresses", "narrow", address="+1"),
    chosen("addresses", "six", address="+2"),
    chosen("addresses", "wide", address="+3"),
    chosen("sources", "wide"),
    chosen("sources", None, source="127.0.0.3"),
    chosen("sources", "direct", source="127.0.0.4"),
    chosen("final", None),
    chosen("final", "free", address="+1"),
    chosen("long_prefix", "long"),
    chosen("long_prefix", "none", source="127.0.0.2"),
    chosen("by_ip", "one"),
    chosen("by_ip", None, address="+1"),
    chosen("by_ip", "two", address="+2"),
    chosen("by_ip", "default", address="+3"),
    chosen("by_nothing", None),
    chosen("by_prefix", "one"),
    chosen("by_prefix", "two", source="127.0.0.2"),
    chosen("by_prefix", "one", source="127.0.0.3"),
    chosen("by_prefix", "one", source="127.0.0.4"),
    chosen("by_prefix", "three", source="127.0.0.5"),
    chosen("by_list", "not", source="127.0.0.2"),
    chosen("by_list", "range", source="127.0.0.77"),
    chosen("by_list", "both", source="127.0.0.7"),
    chosen("by_list", "either", source="127.0.0.8"),
    chosen("by_list", "either", source="127.0.0.9"),
    chosen("by_list", "default", source="127.0.0.10"),
    chosen("by_list", "default", source="127.0.0.1"),
    chosen("by_range", "sixteen"),
    chosen("by_range", "host", source="127.0.0.2"),
    chosen("by_range", "sixteen", source="127.0.0.3"),
    chosen("by_range", "rest", source="127.1.0.1"),
    chosen("by_range", "eight", source="127.3.0.1"),
    chosen("by_range", "equal", source="127.2.0.2"),
    chosen("by_type", "local"),
    chosen("by_type", "default", source="127.0.0.2"),
    chosen("by_direct", "one"),
    chosen("by_absent", "rest"),
    chosen("by_no_ip", "default", stat=r"stat \+1 wrong\.ip_parsing_failed"),
    chosen("by_hash", "half"),
    chosen("by_hash", "default", source="127.0.0.3"),
    chosen("by_hash", "share", source="127.0.0.9"),
    chosen("by_hash", "share", source="127.0.0.11"),
    chosen("by_domain", "one"),
    chosen("by_domain", "one", source="127.0.0.2"),
    chosen("by_domain", "rest", source="127.0.0.3"),
    chosen("by_domain", "rest", source="127.0.0.4"),
    chosen("by_chain_match", "one"),
    chosen("by_unset", "default"),
    by_header("port", proxied("192.0.2.1", 80), "port"),
    by_header("port_ten", proxied("10.0.0.1", 80), "port_and_address"),
    by_header("default", proxied("10.1.0.1", 80), "final_at_the_name"),
    chosen("proxied", "port_ten_named", sends=proxied("10.1.0.1", 80) + hello("a.test"), name="port_address_name"),
    by_header("ten", proxied("10.0.0.1", 81), "address"),
    by_header("ten_narrow", proxied("10.2.0.1", 81, source_port=2000), "source_port"),
    by_header("default", proxied("10.2.0.1", 81, source_port=2001), "final_at_the_source_port"),
    by_header("six", proxied("2001:db8::1", 81, "2001:db8:1::1"), "six"),
    by_header("default", proxied("2001:db8::1", 81, "2001:db8:2::1"), "final_at_the_source"),
    by_header("direct", proxied("192.0.2.1", 81, "127.0.0.8"), "direct", source="127.0.0.9"),
    by_header("external", proxied("192.0.2.1", 81, "192.0.2.2"), "external"),
    by_header("same", proxied("192.0.2.1", 81, "192.0.2.1"), "same"),
    by_header("external", proxied("192.0.2.1", 81, "127.0.0.8"), "not_canonical_loopback"),
    by_header("same", proxied("192.0.2.1", 81, "127.0.0.1"), "loopback"),
    by_header("source", proxied("198.51.100.1", 81, "10.8.0.1"), "source"),
    by_header("source_port", proxied("198.51.100.1", 81, "10.9.0.1", 7), "source_and_port"),
    by_header("default", proxied("198.51.100.1", 81, "10.9.0.1", 8), "final_at_the_port"),
    by_header("default", b"", "without_header"),
    by_hello("exact", "www.A.test"),
    by_hello("deep", "x.a.test"),
    by_hello("deep", "x.y.a.test"),
    by_hello("wide", "a.test"),
    by_hello("wide", "b.test"),
    by_hello("h2", "p.test", "h2", "http/1.1"),
    by_hello("h1", "p.test", "http/1.1", "h2"),
    by_hello("h1", "p.test", "odd", "custom"),
    by_hello(None, "p.test", "odd"),
    by_hello("tls", "other.example"),
    by_hello("tls"),
    by_hello("tls_h2", "", "h2"),
    by_header("raw", b"", "no_hello", listener="names"),
    by_header("a", proxied("10.0.0.1", 80), "port", listener="by_proxied"),
    by_header("b", proxied("10.0.0.1", 443, source_port=1001), "source_port", listener="by_proxied"),
    by_header("c", proxied("10.0.0.1", 443, source_port=2001), "other_source_port", listener="by_proxied"),
    by_header("c", proxied("10.0.0.1", 8443), "direct_source", listener="by_proxied"),
    by_header("default", proxied("10.0.0.1", 8443), "no_action", source="127.0.0.2", listener="by_proxied"),
    by_hello("domain", "x.ends.test", listener="by_hello"),
    by_hello("domain", "no.ends.test", listener="by_hello"),
    by_hello(None, "lost.ends.test", listener="by_hello"),
    by_hello("protocols", "a.test", "h2", "http/1.1", listener="by_hello"),
    by_hello("tls", "a.test", "h2", listener="by_hello"),
    by_header("raw", b"", "no_hello", listener="by_hello"),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_filter_chains(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
