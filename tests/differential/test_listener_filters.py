"""Listener filters: ClientHellos, request lines and PROXY headers, good, malformed and cut; limits and time-outs."""

import pytest
from tests.differential.harness import Case, Do, Expect, Pairs, Send, Step, case_id, request
from tests.differential.upstream import Read
from tests.differential.wire import End
from tests.unit.headers_of_proxies import SIGNATURE, V1, V1_IPV6, ipv4, ipv6, tlv, v2
from tests.unit.hellos import (
    EMPTY,
    WARNING,
    alpn,
    extension,
    handshake,
    hello,
    hello_body,
    real_hello,
    record,
    server_name,
    short,
    v2_hello,
)

STATS = r"^(listener\.LISTENER\.|tls_inspector|http_inspector|proxy_proto|downstream_cx_proxy|listener_local_ratelimit)"
REAL = real_hello("a.test", ("h2", "http/1.1"))
REAL_NAMELESS = real_hello(None, ("h2",))
SHORTEST = len(hello(extension(99)))
MESSAGE = handshake(hello_body(server_name(b"b.test")))


def case(name: str, listener: str, *steps: Step, **rest: object) -> Case:
    """One log line for each connection; the first connection ends."""
    fields = {"logged": 1, "stats": STATS, "end": End.CLOSED, **rest}
    return Case(name, steps, config="listener_filters", listener=listener, **fields)  # type: ignore[arg-type]


def echoed(name: str, listener: str, data: bytes, chain: str, *, drained: int = 0, **rest: object) -> Case:
    """What was peeked comes back, without ``drained`` bytes; ``chain`` is in the log."""
    steps = (data, Expect(data[drained:]), Do("fin"), Do("end"))
    return case(name, listener, *steps, log=f" {chain} ", **rest)


def bytewise(name: str, listener: str, data: bytes, chain: str, *, drained: int = 0) -> Case:
    steps = (Send(data, each_byte=True), Expect(data[drained:]), Do("fin"), Do("end"))
    return case(name, listener, *steps, log=f" {chain} ")


def closed(name: str, listener: str, data: bytes, log: str = "", **rest: object) -> Case:
    return case(name, listener, data, Do("end"), log=log, **rest)


TLS = [
    echoed("tls_real", "tls", REAL, "named"),
    bytewise("tls_real_bytewise", "tls", REAL, "named"),
    echoed("tls_protocol", "tls", REAL_NAMELESS, "two"),
    echoed("tls_bare", "tls", hello(), "tls"),
    echoed("tls_no_extensions", "tls", record(handshake(hello_body()[:-2])), "tls"),
    echoed("tls_records", "tls", b"".join([record(MESSAGE[at : at + 7]) for at in range(0, len(MESSAGE), 7)]), "tls"),
    echoed("tls_warnings_and_empty_records", "tls", WARNING * 4 + EMPTY * 32 + record(MESSAGE), "tls"),
    echoed("tls_sslv2_form", "tls", v2_hello(), "tls"),
    echoed("tls_odd_name", "tls", hello(server_name(b'A.b"\xff\n%')), "tls"),
    echoed("tls_many_extensions", "tls", hello(*[extension(0x2000 + kind) for kind in range(150)]), "tls"),
    echoed(
        "tls_grease",
        "tls",
        hello(
            extension(0x2A2A),
            extension(10, b"\x00\x04\x1a\x1a\x00\x1d"),
            extension(11, b"\x01\x00"),
            extension(13, b"\x00\x04\x1a\x1a\x04\x01"),
            extension(43, short(b"\x1a\x1a\x03\x04")),
            alpn(b"\xab\xcd"),
            ciphers=(0x3A3A, 0x1301),
        ),
        "tls",
    ),
    echoed("tls_plain_text", "tls", b"hello world", "raw"),
    echoed("tls_request", "tls", b"GET / HTTP/1.1\r\n\r\n", "raw"),
    echoed("tls_long_plain_text", "tls", b"x" * 20000, "raw"),
    echoed("tls_bad_name", "tls", hello(server_name(b"a\x00b")), "raw"),
    echoed("tls_two_same_extensions", "tls", hello(extension(99), extension(99)), "raw"),
    echoed("tls_cut_extensions", "tls", record(handshake(hello_body() + b"x")), "raw"),
    echoed("tls_five_warnings", "tls", WARNING * 5, "raw"),
    echoed("tls_alert", "tls", record(b"\x02\x28", 21), "raw"),
    echoed("tls_long_message", "tls", record(b"\x01\x00\x40\x01"), "raw"),
    echoed("tls_server_hello", "tls", record(handshake(b"", 2)), "raw"),
    closed("tls_old_version", "tls", hello(server_name(b"q.test"), version=0x0300), "ClientHelloInvalidTlsVersion"),
    closed("tls_close_notify", "tls", record(b"\x01\x00", 21)),
    closed("tls_hello_never_ends", "tls", record(b"\x01\x00\x40\x00" + b"a" * 16380) * 2, "ClientHelloTooLarge"),
    case("tls_cut_hello", "tls", REAL[:100], Do("fin"), Do("end")),
    echoed("tls_600_bytes", "tls_small", hello(extension(99, b"x" * (600 - SHORTEST))), "tls"),
    closed("tls_601_bytes", "tls_small", hello(extension(99, b"x" * (601 - SHORTEST))), "ClientHelloTooLarge"),
    closed("tls_strict_plain_text", "tls_strict", b"hello world", "ClientHelloNotDetected"),
    closed("tls_strict_long_plain_text", "tls_strict", b"hello world" * 40, "ClientHelloTooLarge"),
    echoed("tls_strict_hello", "tls_strict", hello(), "tls"),
]

LONG = b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n"
HTTP = [
    echoed("http_one_one", "http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "one_one"),
    bytewise("http_one_zero_bytewise", "http", b"GET / HTTP/1.0\r\n\r\n", "one_zero"),
    bytewise("http_two_bytewise", "http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "two"),
    echoed("http_preface_broken", "http", b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", "one_zero"),
    echoed("http_without_version", "http", b"GET /\r\n", "one_zero"),
    echoed("http_long", "http", LONG, "one_one"),
    echoed("http_bare_lf", "http", b"OPTIONS * HTTP/1.1\n", "one_one"),
    echoed("http_absolute", "http", b"GET http://u@h:80/x?y HTTP/1.1\r\n", "one_one"),
    echoed("http_connect", "http", b"CONNECT a:80 HTTP/1.1\r\n", "one_one"),
    echoed("http_odd_target", "http", b"GET a HTTP/1.1\r\n", "none"),
    echoed("http_high_byte", "http", b"GET /\xff HTTP/1.1\r\n", "none"),
    echoed("http_blank_line_first", "http", b"\r\nGET / HTTP/1.1\r\n", "none"),
    echoed("http_no_method", "http", b"\x00\x01", "none"),
    echoed("http_response", "http", b"HTTP/1.1 200 OK\r\n", "none"),
    closed("http_endless_line", "http", b"G" * 65536),
    case("http_cut", "http", b"GET / HT", Do("fin"), Do("end")),
    echoed("both_tls", "both", REAL, "tls"),
    case(
        "both_request_reaches_the_upstream",
        "both",
        b"GET / HTTP/1.1\r\n\r\n",
        Expect(b"ok"),
        Do("fin"),
        Do("end"),
        raw=(Read(18), b"ok"),
        log=" one_one ",
        contains=(r"upstream up > 'GET / HTTP/1.1\\r\\n\\r\\n'",),
        ignore=("upstream_flush",),
    ),
    echoed("both_neither", "both", b"SSH-2.0-x\r\n", "none"),
]


def passed_on(name: str, header: bytes, log: str, *, each_byte: bool = False) -> Case:
    """The header is taken off; the rest reaches the upstream, whose answer comes back."""
    data = Send(header + b"ping", each_byte=each_byte)
    return case(
        name,
        "pp",
        data,
        Expect(b"pong"),
        Do("fin"),
        Do("end"),
        raw=(Read(4), b"pong"),
        forwarded=1,
        log=log,
        contains=("upstream up > 'ping'",),
        ignore=("upstream_flush",),
    )


def refused(name: str, header: bytes, listener: str = "pp_local", **rest: object) -> Case:
    return closed(name, listener, header, forwarded=0, **rest)


PROXY = [
    passed_on("pp_v1", V1, "1.2.3.4:1111 5.6.7.8:2222 127.0.0.1 "),
    passed_on("pp_v1_bytewise", V1, "1.2.3.4:1111 5.6.7.8:2222 127.0.0.1 ", each_byte=True),
    passed_on("pp_v1_ipv6", V1_IPV6, "[2001:db8::1]:1111 [2001:db8::2]:2222"),
    passed_on("pp_v2", v2(ipv4()), "1.2.3.4:1111 5.6.7.8:2222"),
    passed_on("pp_v2_bytewise", v2(ipv4(), tlv(1, b"h2")), "1.2.3.4:1111 5.6.7.8:2222", each_byte=True),
    passed_on("pp_v2_ipv6", v2(ipv6(), family=0x21), "[2001:db8::1]:1111 [2001:db8::2]:2222"),
    passed_on("pp_v2_mapped", v2(ipv6("::ffff:1.2.3.4"), family=0x21), "[::ffff:1.2.3.4]:1111"),
    passed_on("pp_v2_datagram", v2(ipv4(), family=0x12), "1.2.3.4:1111"),
    passed_on("pp_v2_long", v2(ipv4(), tlv(4, b"x" * 65000)), "1.2.3.4:1111"),
    echoed("pp_v1_unknown", "pp_local", b"PROXY UNKNOWN a b\r\nx", "all", drained=19),
    echoed("pp_v2_local", "pp_local", v2(ipv4(), command=0x20) + b"x", "all", drained=28),
    refused("pp_v1_lf", V1[:-2] + b"\nGET / HTTP/1.1\r\n"),
    refused("pp_v1_few", b"PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n"),
    refused("pp_v1_lower_case", b"proxy TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n"),
    refused("pp_v1_port", b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2222\r\n"),
    refused("pp_v1_family", b"PROXY TCP4 ::1 ::2 1111 2222\r\n"),
    refused("pp_v1_multicast", b"PROXY TCP4 224.0.0.1 5.6.7.8 1111 2222\r\n"),
    refused("pp_v1_108_bytes", b"PROXY UNKNOWN " + b"a" * 93 + b"\r\n"),
    refused("pp_v1_endless", b"PROXY UNKNOWN " + b"a" * 300),
    refused("pp_v2_version", v2(ipv4(), command=0x11)),
    refused("pp_v2_command", v2(ipv4(), command=0x22)),
    refused("pp_v2_unspecified", v2(b"", family=0)),
    refused("pp_v2_unix", v2(b"a" * 216, family=0x31)),
    refused("pp_v2_short", v2(ipv4(), length=11)),
    refused("pp_v2_wildcard", v2(ipv4("0.0.0.0"))),
    refused("pp_v2_tlv_cut", v2(ipv4(), b"\x01\x00\x05abc")),
    refused("pp_v2_tlv_of_64_kb", v2(ipv4(), b"\x01\xff\xff") + b"x" * 70000),
    refused("pp_missing", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("pp_v2_cut", "pp_local", v2(ipv4())[:20], Do("fin"), Do("end")),
    case("pp_signature_only", "pp_local", SIGNATURE, Do("fin"), Do("end")),
    case(
        "pp_v1_signed_port",
        "pp_local",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 +80 2222\r\n",
        Do("fin"),
        Do("end"),
        stricter="a sign is no part of a port",
    ),
    echoed("pp_optional_missing", "pp_optional", b"GET / HTTP/1.1\r\n\r\n", "all"),
    bytewise("pp_optional_nearly", "pp_optional", SIGNATURE[:11] + b"x", "all"),
    echoed("pp_optional_there", "pp_optional", V1 + b"x", "all", drained=len(V1)),
    refused("pp_optional_malformed", b"PROXY TCP9\r\n", "pp_optional"),
    refused("pp_disallowed_one", V1, "pp_no_one"),
    echoed("pp_allowed_two", "pp_no_one", v2(ipv4()) + b"x", "all", drained=28),
    echoed("pp_disallowed_two_is_data", "pp_no_two", v2(ipv4()) + b"x", "all"),
    echoed(
        "pp_rules",
        "pp_rules",
        v2(ipv4(), tlv(1, b"h2"), tlv(2, "hé".encode()), tlv(3, b"other"), tlv(1, b"again")) + b"x",
        "all",
        drained=28 + 5 + 6 + 8 + 8,
        contains=('"alpn":"h2"',),
    ),
    echoed("pp_rules_bytes", "pp_rules", v2(ipv4(), tlv(1, b"\xff\xe2\x82a")) + b"x", "all", drained=35),
    echoed("pp_rules_local", "pp_rules", v2(ipv4(), tlv(1, b"h2"), command=0x20) + b"x", "all", drained=33),
    refused("pp_rules_cut", v2(ipv4(), tlv(1, b"h2"), b"\x02\x00\x05abc"), "pp_rules"),
    echoed(
        "pp_state",
        "pp_state",
        v2(ipv4(), tlv(1, b"h2"), tlv(1, b"again")) + b"x",
        "all",
        drained=28 + 5 + 8,
        contains=('"alpn":"again"',),
    ),
    echoed("pp_chain_of_the_destination", "pp_chains", V1 + b"\x00" * 5, "where", drained=len(V1)),
    echoed(
        "pp_chain_of_the_source",
        "pp_chains",
        b"PROXY TCP4 9.9.9.9 5.6.7.8 1 80\r\n" + b"\x00" * 5,
        "who",
        drained=33,
    ),
    echoed("pp_then_tls", "pp_chains", b"PROXY UNKNOWN\r\n" + REAL, "tls", drained=15),
    bytewise("pp_then_http", "pp_chains", b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n", "one_one", drained=15),
]

LIMITS = [
    case(
        "limit",
        "limit",
        b"a",
        Expect(b"a"),
        Send(b"b", on=1),
        Expect(b"b", on=1),
        Do("fin"),
        Do("end"),
        Do("fin", on=1),
        Do("end", on=1),
        Send(b"c", on=2),
        Do("end", on=2),
        logged=3,
        contains=("rate_limited",),
    ),
    case(
        "limit_off",
        "limit_off",
        b"a",
        Expect(b"a"),
        Send(b"b", on=1),
        Expect(b"b", on=1),
        Do("fin"),
        Do("end"),
        Do("fin", on=1),
        Do("end", on=1),
        logged=2,
    ),
    closed("slow_sender", "slow", b"\x16\x03", contains=("pre_cx_timeout",)),
    closed("slow_silent", "slow", b"", contains=("pre_cx_timeout",)),
    case("slow_goes_on", "slow_go", b"PROXY ", Expect(b"PROXY "), Do("fin"), Do("end"), contains=("pre_cx_timeout",)),
    case(
        "slow_goes_on_behind_the_header",
        "slow_go",
        V1 + b"\x16\x03",
        Expect(b"\x16\x03"),
        Do("fin"),
        Do("end"),
        log="1.2.3.4 5.6.7.8:2222",
    ),
]


GET = b"GET /who HTTP/1.1\r\nHost: a.test\r\n\r\n"
REQUESTS = [
    Case(
        name,
        request(header + GET),
        config="listener_filters",
        listener=listener,
        status=200,
        end=End.OPEN,
        forwarded=1,
        stats=STATS,
        logged=2,
        contains=(f"x-forwarded-for: {client}",),
    )
    for name, listener, header, client in (
        ("request_v1", "requests", V1, "1.2.3.4"),
        ("request_v2", "requests", v2(ipv4(), tlv(1, b"h2")), "1.2.3.4"),
        ("request_ipv6", "requests", v2(ipv6(), family=0x21), "2001:db8::1"),
        ("request_state", "requests_state", v2(ipv4(), tlv(1, b"h2")), "1.2.3.4"),
        ("request_local", "requests_state", v2(b"", command=0x20), ""),
        ("request_without", "requests_state", b"", ""),
    )
]


@pytest.mark.parametrize("case", [*TLS, *HTTP, *PROXY, *LIMITS, *REQUESTS], ids=case_id)
def test_listener_filters(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
