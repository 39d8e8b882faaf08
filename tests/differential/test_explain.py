"""What ``explain request`` foretells of the requests of other tests is what Proxeny does with them: answer, flags,
details, route, cluster, and the request that the upstream sees.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from tests.differential.case import Case, Reply, Send
from tests.differential.driver import Driver
from tests.differential.proxies import CONFIGS, PROXENY, Proxy
from tests.differential.wire import Message

from proxeny import extensions
from proxeny.config.loader import unpack_any
from proxeny.explain.prediction import FORWARDED, MOST_BODY, predict
from proxeny.explain.rehearsal import Outcome, Rehearsal
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.stream_info import ConnectionInfo
from proxeny.server.configuration import Configuration
from proxeny.server.explain_world import ConfiguredWorld
from proxeny.server.options import options_from
from proxeny.server.validation import load
from proxeny.stats.store import MainStore

VOLATILE = {"date", "x-request-id", "server", "x-envoy-upstream-service-time"}
FRAMING = {"transfer-encoding", "connection", "upgrade", "content-length"}
NOT_KNOWN = ("dns_unknown", "downstream_filter_local_reply", "proxied_v1")
"""Names are taken to resolve, filters that may do anything to let requests pass; there is no PROXY header."""
BY_THE_UPSTREAM = ("via_upstream", "websocket_handshake_unsuccessful")
FORMAT = re.compile(r'"([^"]*%RESPONSE_CODE_DETAILS%[^"]*)\\n"')
"""Of the access logs, in a configuration."""


def _foretold(case: Case) -> bool:
    """One whole request, answered by an upstream (if at all) with what is nothing special."""
    if case.answers or case.answers_of or case.raw or case.source or case.address:
        return False
    if case.name in NOT_KNOWN or sum(isinstance(step, bytes | Send) for step in case.steps) > 1:
        return False
    return isinstance(case.steps[0], bytes) and len(case.steps) > 1 and isinstance(case.steps[1], Reply)


def _cases(module: object) -> list[Case]:
    """All cases of a module's tests."""
    found: dict[str, Case] = {}
    for value in vars(module).values():
        if isinstance(value, list):
            found |= {case.name: case for case in value if isinstance(case, Case) and _foretold(case)}
    return list(found.values())


MODULES = (
    "test_routing",
    "test_http1_requests",
    "test_http1_hostile_requests",
    "test_answers",
    "test_identity",
    "test_local_replies",
    "test_upgrades",
    "test_hashing",
    "test_clusters",
    "test_matching",
    "test_router",
    "test_cors",
    "test_mirrors",
    "test_retries",
    "test_internal_redirects",
    "test_headers",
    "test_route_actions",
    "test_route_levels",
)
CASES = [case for name in MODULES for case in _cases(import_module(f"tests.differential.{name}"))]


class Subject:
    """Proxeny on a configuration, and the same configuration to be asked."""

    def __init__(self, config: str, folder: Path) -> None:
        self.proxy = Proxy(PROXENY, (CONFIGS / f"{config}.yaml").read_text(), folder)
        options = options_from(["-c", str(folder / "bootstrap.yaml"), "-l", "warning"])
        self.world = ConfiguredWorld(Configuration(load(options), options, MainStore()))
        self._rehearsals: dict[str, Rehearsal] = {}
        formats = set(FORMAT.findall((CONFIGS / f"{config}.yaml").read_text()))
        self.operators = [word.strip("%") for word in formats.pop().split(" ")] if len(formats) == 1 else []
        """Of the access log, word by word; [] where listeners log differently."""

    def rehearse(self, case: Case) -> Outcome:
        rehearsal = self._rehearsals.get(case.listener)
        view = next(view for view in self.world.listeners() if view.config.name == case.listener)
        if rehearsal is None:
            message = unpack_any(view.message.filter_chains[0].filters[-1].typed_config)
            context = self.world.context.for_listener(case.listener, view.config.stat_prefix, view.direction)
            rehearsal = self._rehearsals[case.listener] = Rehearsal(message, self.world, context)
        at = self.proxy.address_of(case.listener)
        if isinstance(at, str):
            info = ConnectionInfo(pipe_address(at), pipe_address(""), 1)
        else:
            info = ConnectionInfo(ip_address(*at), ip_address("127.0.0.1", 40000), 1)
        data = case.steps[0]
        assert isinstance(data, bytes)
        (chain,) = view.config.chains.values()
        return rehearsal.run(self.proxy.fill(data), info, 0, chain.factories)

    def close(self) -> None:
        for rehearsal in self._rehearsals.values():
            rehearsal.close()
        self.proxy.close()


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    extensions.install()
    started: dict[str, Subject] = {}
    for config in sorted({case.config for case in CASES}):
        started[config] = Subject(config, tmp_path_factory.mktemp("explain") / config)
    yield started
    for subject in started.values():
        subject.close()


def _headers(pairs: list[tuple[str, str]], without: set[str]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value.strip(" ")) for name, value in pairs if name.lower() not in without)


def _seen(message: Message) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers]


def _check_sent(outcome: Outcome, seen: Message) -> None:
    headers = outcome.sent[0].headers
    assert headers is not None
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.items()]
    given = {":path": dict(pairs).get(":authority", ""), **dict(pairs)}
    # How much of its URL a request line has is the codec's affair (send_fully_qualified_url).
    line = re.sub(r" https?://[^/]*/", " /", seen.line.decode("latin-1"))
    assert line == f"{given[':method']} {given[':path']} HTTP/1.1"
    wanted = [("host", value) if name == ":authority" else (name, value) for name, value in pairs]
    wanted = [pair for pair in wanted if not pair[0].startswith(":")]
    assert _headers(_seen(seen), VOLATILE | FRAMING) == _headers(wanted, VOLATILE | FRAMING)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.config}-{case.name}")
def test_what_is_foretold_comes_true(case: Case, subjects: dict[str, Subject]) -> None:
    subject = subjects[case.config]
    driver = Driver(subject.proxy, case)
    driver.run()
    driver.collect()
    outcome = subject.rehearse(case)
    foretold = predict(outcome)
    lines = [line.removeprefix("log ") for line in driver.transcript.lines if line.startswith("log ")]
    words = lines[0].split(" ") if lines else []
    logged = dict(zip(subject.operators, words, strict=True)) if len(words) == len(subject.operators) else {}
    response = next((one for one in driver.transcript.responses if one.status >= 200), None)
    if foretold.kind == FORWARDED:
        seen = [one.seen[0] for one in subject.proxy.upstreams.values() if one.seen]
        details = logged.get("RESPONSE_CODE_DETAILS", "via_upstream" if seen else "upstream_")
        if details in BY_THE_UPSTREAM:
            assert logged.get("RESPONSE_FLAGS", "-") == "-"
            _check_sent(outcome, seen[0])
        else:
            # What becomes of it on the network is not foretold.
            assert details.startswith(("upstream_", "request_overall_timeout")), lines
    elif foretold.code:
        expected = {"RESPONSE_CODE": str(foretold.code), "RESPONSE_FLAGS": foretold.flags}
        expected["RESPONSE_CODE_DETAILS"] = foretold.details
        assert {name: logged.get(name, value) for name, value in expected.items()} == expected, lines
        assert response is not None
        assert response.status == foretold.code
        assert _headers(_seen(response), VOLATILE) == _headers(foretold.headers, VOLATILE)
        assert response.body.decode("utf-8", "replace")[:MOST_BODY] in (foretold.body, "")
    else:
        assert response is None or not re.match(rb"HTTP/1.1 200", response.line)
        return
    where = {"ROUTE_NAME": foretold.route_name or "-", "UPSTREAM_CLUSTER": foretold.cluster or "-"}
    assert {name: logged.get(name, value) for name, value in where.items()} == where, lines
