"""What ``explain request`` foretells of the requests of other tests is what Proxeny does with them: answer, flags,
details, route, cluster, and the request that the upstream sees.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential import test_http1_hostile_requests as hostile
from tests.differential import test_http1_requests as requests
from tests.differential import test_routing as routing
from tests.differential.case import Case, Reply
from tests.differential.driver import Driver
from tests.differential.proxies import CONFIGS, PROXENY, Proxy
from tests.differential.wire import Message

from proxeny import extensions
from proxeny.config.loader import unpack_any
from proxeny.explain.prediction import FORWARDED, predict
from proxeny.explain.rehearsal import Outcome, Rehearsal
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo
from proxeny.server.configuration import Configuration
from proxeny.server.explain_world import ConfiguredWorld
from proxeny.server.options import options_from
from proxeny.server.validation import load
from proxeny.stats.store import MainStore

VOLATILE = {"date", "x-request-id", "server", "x-envoy-upstream-service-time"}
FRAMING = {"transfer-encoding", "connection", "upgrade", "content-length"}
BY_THE_UPSTREAM = ("via_upstream", "websocket_handshake_unsuccessful")
ROUTE, CLUSTER = 10, 11
"""Where the access log of these configurations has them."""


def _foretold(case: Case) -> bool:
    """One whole request, answered by an upstream (if at all) with what is nothing special."""
    if case.answers or case.answers_of or case.raw or case.source or case.address:
        return False
    return isinstance(case.steps[0], bytes) and len(case.steps) > 1 and isinstance(case.steps[1], Reply)


def _cases(module: object) -> list[Case]:
    """All cases of a module's tests."""
    found: dict[str, Case] = {}
    for value in vars(module).values():
        if isinstance(value, list):
            found |= {case.name: case for case in value if isinstance(case, Case) and _foretold(case)}
    return list(found.values())


CASES = [*_cases(routing), *_cases(requests), *_cases(hostile)]


class Subject:
    """Proxeny on a configuration, and the same configuration to be asked."""

    def __init__(self, config: str, folder: Path) -> None:
        self.proxy = Proxy(PROXENY, (CONFIGS / f"{config}.yaml").read_text(), folder)
        options = options_from(["-c", str(folder / "bootstrap.yaml"), "-l", "warning"])
        self.world = ConfiguredWorld(Configuration(load(options), options, MainStore()))
        self._rehearsals: dict[str, Rehearsal] = {}

    def rehearse(self, case: Case) -> Outcome:
        rehearsal = self._rehearsals.get(case.listener)
        if rehearsal is None:
            view = next(view for view in self.world.listeners() if view.config.name == case.listener)
            message = unpack_any(view.message.filter_chains[0].filters[-1].typed_config)
            context = self.world.context.for_listener(case.listener, view.config.stat_prefix, 0)
            rehearsal = self._rehearsals[case.listener] = Rehearsal(message, self.world, context)
        ip, port = self.proxy.address_of(case.listener)
        info = ConnectionInfo(ip_address(str(ip), int(port)), ip_address("127.0.0.1", 40000), 1)
        data = case.steps[0]
        assert isinstance(data, bytes)
        return rehearsal.run(self.proxy.fill(data), info)

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
    return sorted((name.lower(), value) for name, value in pairs if name.lower() not in without)


def _seen(message: Message) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers]


def _check_sent(outcome: Outcome, seen: Message) -> None:
    headers = outcome.sent[0].headers
    assert headers is not None
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.items()]
    given = {":path": dict(pairs).get(":authority", ""), **dict(pairs)}
    assert seen.line.decode("latin-1") == f"{given[':method']} {given[':path']} HTTP/1.1"
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
    fields = lines[0].split(" ") if lines else []
    response = driver.transcript.responses[0] if driver.transcript.responses else None
    if foretold.kind == FORWARDED:
        assert fields[1] == "-" and fields[2] in BY_THE_UPSTREAM, lines
        _check_sent(outcome, next(one.seen[0] for one in subject.proxy.upstreams.values() if one.seen))
    elif foretold.code:
        assert fields[:3] == [str(foretold.code), foretold.flags, foretold.details], lines
        assert response is not None
        assert response.status == foretold.code
        assert _headers(_seen(response), VOLATILE) == _headers(foretold.headers, VOLATILE)
        assert response.body.decode("latin-1") in (foretold.body, "")
    else:
        assert response is None or not re.match(rb"HTTP/1.1 200", response.line)
        return
    if len(fields) > CLUSTER:
        assert fields[ROUTE : CLUSTER + 1] == [foretold.route_name or "-", foretold.cluster or "-"], lines
