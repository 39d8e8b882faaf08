"""What the connection manager does to headers, paths and hosts, beyond who a request is from."""

import pytest
from tests.differential.harness import Case, Do, Pairs, Reply, StatIs, case_id, request
from tests.differential.upstream import Answer
from tests.differential.wire import End

ALIVE = b"GET /alive HTTP/1.1\r\nHost: a\r\n\r\n"
PORT = r"x-forwarded-port: \d{4,}"


def get(
    name: str,
    listener: str,
    *headers: str,
    path: str = "/p",
    host: str = "any.test",
    method: str = "GET",
    status: int = 200,
    contains: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    answers: tuple[Answer, ...] = (),
    answers_of: dict[str, tuple[Answer, ...]] | None = None,
    end: End | None = End.OPEN,
    source: str = "",
) -> Case:
    """One request to a listener of the configuration."""
    lines = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""])
    return Case(
        f"{listener}_{name}",
        request(lines.encode("latin-1"), head_only=method == "HEAD"),
        config="headers",
        listener=listener,
        status=status,
        end=end,
        contains=contains,
        ignore=ignore,
        answers=answers,
        answers_of=dict(answers_of or {}),
        source=source,
    )


SERVER = (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nServer: theirs\r\nX-Own: 1\r\nvia: 1.1 before\r\n\r\nok",)
PHRASE = (b"HTTP/1.1 200 Fine Indeed\r\nContent-Length: 2\r\nX-MiXed-CaSe: 1\r\nx-lower: 2\r\n\r\nok",)

IDENTITY = [
    get("none", "agent"),
    get("agent", "agent", "User-Agent: theirs", "X-Envoy-Downstream-Service-Node: n"),
    get("empty_agent", "agent", "User-Agent:"),
    get("via", "agent", "Via: 1.1 before", answers=(SERVER,)),
    get("overwritten", "scheme", "X-Forwarded-Proto: http"),
    get("redirect", "scheme", path="/full/a"),
    get("forwarded", "scheme_upstream", "X-Forwarded-Proto: https"),
    get("forwarded_full", "scheme_upstream", "X-Forwarded-Proto: https", path="/full/a"),
    get("forwarded_full", "main", "X-Forwarded-Proto: https", path="/full/a"),
    get("none", "port", contains=(PORT,), ignore=(PORT,)),
    get("given", "port", "X-Forwarded-Port: 1"),
    get("given", "port_edge", "X-Forwarded-Port: 1", contains=(PORT,), ignore=(PORT,)),
    get("edge", "mapped", source="127.0.0.2"),
    get("xff", "mapped_inner", "X-Forwarded-For: 1.2.3.4"),
    *(
        get("header", f"cert_{mode}", "X-Forwarded-Client-Cert: By=a", "X-Forwarded-Client-Cert: By=b")
        for mode in ("forward", "append", "set", "always")
    ),
    get("forward", "cert_matched", "X-Forwarded-Client-Cert: By=a", "X-Mode: forward"),
    get("sanitize", "cert_matched", "X-Forwarded-Client-Cert: By=a", "X-Mode: sanitize"),
    get("other", "cert_matched", "X-Forwarded-Client-Cert: By=a", "X-Mode: other"),
    get("none", "cert_matched", "X-Forwarded-Client-Cert: By=a"),
    get("none", "unix"),
    get("xff", "unix", "X-Forwarded-For: 1.2.3.4"),
    get("none", "unix_far"),
    Case(
        "proxied_v1",
        request(b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 2000\r\nGET /p HTTP/1.1\r\nHost: a\r\n\r\n"),
        config="headers",
        listener="proxied",
        status=200,
    ),
    get("absent", "server_pass"),
    get("present", "server_pass", answers=(SERVER,)),
    get("absent", "server_if_absent"),
    get("present", "server_if_absent", answers=(SERVER,)),
    get("present", "server_named", answers=(SERVER,)),
    get("local", "server_pass", path="/alive"),
]

CASES_OF_NAMES = [
    get("request", "cased", "X-MiXed: 1", "x-lower: 2", "CONTENT-TYPE: a"),
    get("response", "cased", answers=(PHRASE,)),
    get("both", "cased", "X-MiXed: 1", path="/cased/a", answers_of={"cased": (PHRASE,)}),
    get("repeated", "cased", "X-MiXed: 1", "x-mixed: 2", "USER-agent: a", "user-AGENT: b", path="/cased/a"),
    get("host", "cased", "x-y: 1", path="/cased/a", host="MiXed.Test"),
    get("upstream_only", "main", "X-MiXed: 1", path="/cased/a", answers_of={"cased": (PHRASE,)}),
    get("local_reply", "cased", path="/alive"),
    get("phrase", "cased_own", "X-MiXed: 1", path="/phrase/a", answers_of={"phrase": (PHRASE,)}),
    get("phrase_of_plain", "cased_own", answers=(PHRASE,)),
    get("phrase_upstream_only", "main", "X-MiXed: 1", path="/phrase/a", answers_of={"phrase": (PHRASE,)}),
    get("phrase_through_cased", "cased_own", path="/cased/a", answers_of={"cased": (PHRASE,)}),
    get("phrase_downstream_cased", "cased", path="/phrase/a", answers_of={"phrase": (PHRASE,)}),
    get("local_reply", "cased_own", path="/alive"),
    get("request", "proper", "x-lower: 1", "X-MIXED: 2", "x-a_b-c.d: 3"),
    get("response", "proper", answers=(PHRASE,)),
    get("both", "proper", "x-lower: 1", path="/proper/a", answers_of={"proper": (PHRASE,)}),
]

HOSTS = [
    *(
        get(name, listener, host=host)
        for listener in ("port_any", "port_matching", "dot", "dot_port")
        for name, host in (
            ("port", "fixed.test:81"),
            ("no_port", "fixed.test"),
            ("dot", "fixed.test."),
            ("dot_port", "fixed.test.:81"),
            ("word_port", "fixed.test:http"),
            ("empty_port", "fixed.test:"),
            ("huge_port", "fixed.test:99999999999"),
            ("v6", "[::1]:81"),
            ("v6_bare", "[::1]"),
            ("two_dots", "fixed.test.."),
            ("only_dot", "."),
        )
    ),
    Case(
        "port_any_absolute",
        request(b"GET http://fixed.test:81/ HTTP/1.1\r\nHost: other.test\r\n\r\n"),
        config="headers",
        listener="port_any",
        status=200,
    ),
]

PATHS = [
    *(
        get(name, listener, path=path, status=status, end=None if status == 400 else End.OPEN)
        for listener, refused in (
            ("normalized", {}),
            ("merged", {}),
            ("normalized_merged", {}),
            ("slash_keep", {}),
            ("slash_plain", {}),
            ("slash_reject", {"slashes": 400, "backslash_escaped": 400}),
            ("slash_redirect", {"slashes": 307, "backslash_escaped": 307}),
            ("slash_forward", {}),
        )
        for name, path in (
            ("dots", "/a/./b/../c?x=/../y"),
            ("escaped", "/%61%2e%2E/%41?%61"),
            ("slashes", "/a%2Fb%2fc//d"),
            ("backslash", "/a\\b"),
            ("backslash_escaped", "/a%5Cb%5c"),
            ("above_root", "/../../a"),
            ("double", "//a///b?c=//d"),
            ("parameters", "/a/..;x=y/b"),
        )
        for status in (refused.get(name, 200),)
    ),
    get("nul", "normalized", path="/a%00b", status=400, end=None),
    get("bad_escape", "normalized", path="/a%zzb%2"),
    get("double_escape", "slash_forward", path="/a%252fb"),
    get("query_slash", "slash_reject", path="/a?b=%2F"),
    get("grpc", "slash_redirect", "Content-Type: application/grpc", path="/a%2fb", end=None),
    get("post", "slash_redirect", "Content-Length: 0", path="/a%2fb?q=%2f", method="POST", status=307),
    get("dots_escaped_slash", "slash_forward", path="/a%2f..%2fb"),
]

LIMITS = [
    get("underscore", "under_reject", "x_y: 1", status=400, end=None),
    get("hyphen", "under_reject", "x-y: 1"),
    get("underscore", "under_drop", "x_y: 1", "_: 2", "x-y: 3"),
    get("at_limit", "few", "a: 1", "b: 1", "c: 1"),
    get("above", "few", "a: 1", "b: 1", "c: 1", "d: 1", status=431, end=None),
    get("repeated", "few", "accept: 1", "accept: 1", "accept: 1", "accept: 1", "accept: 1"),
    get("below", "small", "a: " + "x" * 900),
    get("above", "small", "a: " + "x" * 1100, status=431, end=None),
]

UPGRADES = [
    get("ignored", "no_upgrade", "Connection: upgrade", "Upgrade: websocket"),
    get("ignored_case", "no_upgrade", "Connection: upgrade", "Upgrade: WebSocket", end=None),
    get(
        "ignored_settings",
        "no_upgrade",
        "Connection: upgrade, http2-settings",
        "Upgrade: websocket",
        "Http2-Settings: a",
    ),
    get("ignored_with_others", "no_upgrade", "Connection: upgrade, x-a", "Upgrade: websocket", "X-A: 1"),
    get("ignored_several", "no_upgrade", "Connection: Upgrade", "Upgrade: websocket, other", end=None),
    get("h2c", "no_upgrade", "Connection: upgrade, http2-settings", "Upgrade: h2c", "Http2-Settings: a"),
    get("h2c", "main", "Connection: upgrade, http2-settings", "Upgrade: h2c", "Http2-Settings: a"),
    Case(
        "no_upgrade_other",
        request(b"GET /p HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\nTe: gzip\r\n\r\n"),
        config="headers",
        listener="no_upgrade",
        status=(101, 200),
        answers=((b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n",),),
        end=None,
    ),
]

DURATIONS = [
    Case(
        "duration_used",
        (ALIVE, Reply(), StatIs("http.duration.downstream_cx_http1_soft_drain", 1), ALIVE, Reply()),
        config="headers",
        listener="duration",
        status=(200, 200),
        contains=("connection: close",),
    ),
    Case("duration_never_used", (b"", Do("end")), config="headers", listener="duration", end=End.FIN),
    Case("duration_plain_used", (ALIVE, Reply(), Do("end")), config="headers", listener="duration_plain", end=End.FIN),
    Case("duration_plain_never_used", (b"", Do("end")), config="headers", listener="duration_plain", end=End.FIN),
]


@pytest.mark.parametrize("case", IDENTITY, ids=case_id)
def test_identity(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", CASES_OF_NAMES, ids=case_id)
def test_cases_of_names(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", HOSTS, ids=case_id)
def test_hosts(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", PATHS, ids=case_id)
def test_paths(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", LIMITS, ids=case_id)
def test_limits(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", UPGRADES, ids=case_id)
def test_upgrades(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", DURATIONS, ids=case_id)
def test_durations(pairs: Pairs, case: Case) -> None:
    pairs.check(case)
