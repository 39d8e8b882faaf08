"""``proxeny route-check``: the example of the documentation, and what else a command line may say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "route_check"
ROUTES = """
name: routes
virtual_hosts:
- name: all
  domains: ["*"]
  routes:
  - {name: one, match: {path: /one}, route: {cluster: c}}
  - {name: two, match: {prefix: /}, direct_response: {status: 404}}
"""
TESTS = """
tests:
- {test_name: good, input: {authority: a, path: /one, method: GET}, validate: {cluster_name: c}}
- {test_name: bad, input: {authority: a, path: /two, method: GET}, validate: {code_redirect: 403}}
"""


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxeny", "route-check", *arguments],
        capture_output=True, text=True, timeout=60, cwd=cwd, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    (tmp_path / "tests.yaml").write_text(TESTS)
    (tmp_path / "good.yaml").write_text("\n".join(TESTS.splitlines()[:3]))
    return tmp_path


def test_the_example_is_covered() -> None:
    done = command("-c", "envoy.yaml", "-t", "tests.yaml", "--details", "--fail-under", "100", cwd=EXAMPLE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "most carts"
    assert done.stdout.splitlines()[-1] == "Current route coverage: 100%"


def test_failures_and_their_details(folder: Path) -> None:
    done = command("-c", "routes.yaml", "--tests", "tests.yaml", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "1 of 2 tests failed\n")
    done = command("-c", "routes.yaml", "-t", "tests.yaml", "-d", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "good\n")
    assert done.stderr.splitlines()[:2] == ["bad", "expected: [403], actual: [404], test type: code_redirect"]
    done = command("-c", "routes.yaml", "-t", "tests.yaml", "-d", "--only-show-failures", cwd=folder)
    assert done.stdout == ""
    assert done.stderr.startswith("bad\n")


def test_coverage(folder: Path) -> None:
    done = command("-c", "routes.yaml", "-t", "good.yaml", "--detailed-coverage", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "Missing test for host: all, route: 'two' prefix '/'",
        "Current route coverage: 50%",
    ]
    done = command("-c", "routes.yaml", "-t", "good.yaml", "-f", "50.5", cwd=folder)
    assert (done.returncode, done.stderr) == (1, "Failed to meet coverage requirement: 50.5%\n")
    done = command("-c", "routes.yaml", "-t", "good.yaml", "-f", "13", "--covall", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "Current route coverage: 12.5%\n")


def test_reports(folder: Path) -> None:
    done = command("-c", "routes.yaml", "-t", "tests.yaml", "--json", "-o", "out.json", cwd=folder)
    report = json.loads(done.stdout)
    assert (done.returncode, report["passed"]) == (1, False)
    assert [test["test_passed"] for test in report["tests"]] == [True, False]
    assert report["tests"][0]["route"] == "one"
    assert [route["covered"] for route in report["coverage"]["routes"]] == [True, False]
    assert json.loads((folder / "out.json").read_text())["test_results"] == report["tests"]


def test_bootstraps_and_discovery_responses(folder: Path) -> None:
    (folder / "rds.yaml").write_text(
        'resources:\n- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\n'
        + "\n".join([f"  {line}" for line in ROUTES.strip().splitlines()])
    )
    assert command("-c", "rds.yaml", "-t", "good.yaml", cwd=folder).stdout == "Current route coverage: 50%\n"
    lines = ROUTES.strip().splitlines()[1:]
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    listeners = [
        f"""
  - name: l{number}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {number}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {manager}
          stat_prefix: x
          route_config:
            name: r{number}
{chr(10).join([" " * 12 + line for line in lines])}
"""
        for number in (1, 2)
    ]
    (folder / "boot.yaml").write_text("static_resources:\n  listeners:" + "".join(listeners))
    done = command("-c", "boot.yaml", "-t", "good.yaml", cwd=folder)
    assert done.returncode == 1
    assert "which route configuration?" in done.stderr
    assert "'r1' (listener 'l1'), 'r2' (listener 'l2')" in done.stderr
    for choice in (("--listener", "l2"), ("--route-config", "r1")):
        done = command("-c", "boot.yaml", "-t", "good.yaml", *choice, cwd=folder)
        assert (done.returncode, done.stdout) == (0, "Current route coverage: 50%\n")
    assert (
        "no such route configuration"
        in command("-c", "boot.yaml", "-t", "good.yaml", "--listener", "l3", cwd=folder).stderr
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Both --config-path/c and --test-path/t are mandatory"),
        (("-c", "routes.yaml"), "Both --config-path/c and --test-path/t are mandatory"),
        (("-c",), "Missing a value for this argument! -- -c"),
        (("--bogus",), "Couldn't find match for argument --bogus"),
        (("-c", "a", "-t", "b", "-f", "x"), "Couldn't read argument value from string 'x'"),
        (("-c", "a", "-t", "b", "-f", "101"), "Couldn't read argument value from string '101'"),
        (("-c", "none.yaml", "-t", "tests.yaml"), "Invalid path: none.yaml"),
        (("-c", "routes.yaml", "-t", "none.yaml"), "Invalid path: none.yaml"),
        (("-c", "routes.yaml", "-t", "routes.yaml"), "no such field: 'name' in Validation"),
        (("-c", "tests.yaml", "-t", "tests.yaml"), "tests"),
    ],
)
def test_wrong_command_lines(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = command(*arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
