"""`--mode validate` of Envoy and of Proxeny on the same configurations: the same verdicts.

Envoy runs as a process per configuration (two at a time), Proxeny in this process.
"""

import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.differential.proxies import envoy_binary
from tests.differential.validate import (
    balancing_cases,
    bootstrap_cases,
    cluster_cases,
    dns_cases,
    dynamic_forward_proxy_cases,
    filter_discovery_cases,
    grpc_cases,
    health_check_cases,
    http2_cases,
    http2_upstream_cases,
    http_cases,
    identity_cases,
    internal_cases,
    listener_cases,
    listener_filter_cases,
    log_cases,
    matcher_cases,
    matching_cases,
    overload_cases,
    policy_cases,
    reply_cases,
    route_action_cases,
    route_cases,
    route_discovery_cases,
    router_cases,
    runtime_cases,
    secrets_cases,
    session_cases,
    tls_cases,
    transcoder_cases,
    transport_cases,
    transport_socket_cases,
    udp_cases,
    upgrade_cases,
    xds_cases,
    yaml_cases,
)
from tests.differential.validate.corpus import Verdict

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.config.loader import load_bootstrap
from proxeny.server.validation import validate_bootstrap

CASES: list[Verdict] = [
    *yaml_cases.CASES,
    *bootstrap_cases.CASES,
    *listener_cases.CASES,
    *internal_cases.CASES,
    *overload_cases.CASES,
    *policy_cases.CASES,
    *listener_filter_cases.CASES,
    *matcher_cases.CASES,
    *transcoder_cases.CASES,
    *transport_socket_cases.CASES,
    *transport_cases.CASES,
    *udp_cases.CASES,
    *cluster_cases.CASES,
    *balancing_cases.CASES,
    *dns_cases.CASES,
    *dynamic_forward_proxy_cases.CASES,
    *grpc_cases.CASES,
    *filter_discovery_cases.CASES,
    *health_check_cases.CASES,
    *http_cases.CASES,
    *http2_cases.CASES,
    *http2_upstream_cases.CASES,
    *identity_cases.CASES,
    *log_cases.CASES,
    *reply_cases.CASES,
    *route_cases.CASES,
    *route_discovery_cases.CASES,
    *matching_cases.CASES,
    *route_action_cases.CASES,
    *router_cases.CASES,
    *runtime_cases.CASES,
    *secrets_cases.CASES,
    *session_cases.CASES,
    *tls_cases.CASES,
    *upgrade_cases.CASES,
    *xds_cases.CASES,
]


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


class Corpus:
    """Every case as a file, and Envoy's verdicts on them, asked for in the background."""

    def __init__(self, folder: Path, cases: list[Verdict]) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(2)
        self._envoy: dict[str, Future[str]] = {}
        for case in cases:
            self.path(case).write_bytes(case.text.encode("latin-1" if case.suffix == ".pb" else "utf-8"))
        binary = envoy_binary()
        for case in cases:
            self._envoy[case.name] = self._threads.submit(self._ask, binary, case)

    def path(self, case: Verdict) -> Path:
        return self._folder / (case.name + case.suffix)

    def _ask(self, binary: Path, case: Verdict) -> str:
        flags = ["--mode", "validate", "--disable-hot-restart", "--concurrency", "1", "-l", "critical"]
        command = [binary, *flags, "-c", self.path(case)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except (subprocess.TimeoutExpired, OSError):  # seen on a loaded machine (a hang, EFAULT from exec): ask again
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return "" if done.returncode == 0 else done.stderr or done.stdout or f"exit code {done.returncode}"

    def envoy(self, case: Verdict) -> str:
        """Why Envoy refuses the case; empty when it accepts it."""
        return self._envoy[case.name].result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> object:
    extensions.install()
    chosen = {
        item.callspec.params["case"].name
        for item in request.session.items
        if hasattr(item, "callspec") and isinstance(item.callspec.params.get("case"), Verdict)
    }
    made = Corpus(tmp_path_factory.mktemp("validate"), [case for case in CASES if case.name in chosen])
    yield made
    made.close()


def proxeny(path: Path) -> str:
    """Why Proxeny refuses the file; empty when it accepts it."""
    try:
        validate_bootstrap(load_bootstrap(str(path)))
    except ConfigError as error:
        return str(error) or "refused"
    return ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_verdict_is_envoys(case: Verdict, corpus: Corpus) -> None:
    envoy, own = corpus.envoy(case), proxeny(corpus.path(case))
    if case.stricter:
        assert not envoy, f"no longer stricter than Envoy: {envoy}"
        assert own
    else:
        assert bool(own) == bool(envoy), f"Envoy: {envoy or 'accepted'}\nProxeny: {own or 'accepted'}"
