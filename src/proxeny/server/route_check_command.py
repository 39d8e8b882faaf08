"""``proxeny route-check``: tests of a route configuration, in the format and with the words of Envoy's tool."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.route.v3 import route_pb2

from proxeny import extensions
from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions, load_bootstrap, unpack_any
from proxeny.config.message_types import type_name_of
from proxeny.config.sources import Source, fill, load_json
from proxeny.config.validate import inspect
from proxeny.config.yaml_loader import Tree, load_yaml
from proxeny.explain.request import HTTP_TYPE
from proxeny.explain.route_check import RouteChecker, TestResult
from proxeny.explain.route_coverage import Coverage
from proxeny.explain.route_tests import read_route_tests

USAGE: Final = (
    "usage: proxeny route-check -c CONFIG -t TESTS [-d | --details] [--only-show-failures]\n"
    "       [-f | --fail-under PERCENT] [--covall] [--detailed-coverage] [--json] [-o | --output-path FILE]\n"
    "       [--listener NAME] [--route-config NAME]\n"
    "CONFIG is a bootstrap, a discovery response or a RouteConfiguration; TESTS is in the format of Envoy's\n"
    "router_check_tool.\n"
)
_VALUES: Final = {
    "-c": "config_path",
    "--config-path": "config_path",
    "-t": "test_path",
    "--test-path": "test_path",
    "--tests": "test_path",
    "-f": "fail_under",
    "--fail-under": "fail_under",
    "-o": "output_path",
    "--output-path": "output_path",
    "--listener": "listener",
    "--route-config": "route_config",
}
_SWITCHES: Final = {
    "-d": "details",
    "--details": "details",
    "--only-show-failures": "only_show_failures",
    "--covall": "comprehensive",
    "--covered-all": "comprehensive",
    "--detailed-coverage": "detailed_coverage",
    "--json": "as_json",
    "--disable-deprecation-check": "no_deprecation_check",
}
_BOOTSTRAP_FIELDS: Final = frozenset([field.name for field in bootstrap_pb2.Bootstrap.DESCRIPTOR.fields])
_RDS_TYPE: Final = "envoy.config.route.v3.RouteConfiguration"


@dataclass(slots=True)
class Flags:
    """The command line, by the names of the tool's flags."""

    config_path: str = ""
    test_path: str = ""
    fail_under: float = 0.0
    output_path: str = ""
    listener: str = ""
    route_config: str = ""
    details: bool = False
    only_show_failures: bool = False
    comprehensive: bool = False
    detailed_coverage: bool = False
    as_json: bool = False
    no_deprecation_check: bool = False


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status: 1 for tests that fail, and for too little coverage."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(USAGE)
        return 0
    try:
        flags = parse_flags(arguments)
    except ConfigError as error:
        sys.stderr.write(f"error: {error.message}\n{USAGE}")
        return 1
    try:
        return _check(flags)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def parse_flags(arguments: Sequence[str]) -> Flags:
    """ConfigError for what is not understood."""
    flags, left = Flags(), list(arguments)
    while left:
        name = left.pop(0)
        if name in _SWITCHES:
            setattr(flags, _SWITCHES[name], True)
        elif name not in _VALUES:
            raise ConfigError(f"Couldn't find match for argument {name}")
        elif not left:
            raise ConfigError(f"Missing a value for this argument! -- {name}")
        elif _VALUES[name] == "fail_under":
            flags.fail_under = _percent(left.pop(0))
        else:
            setattr(flags, _VALUES[name], left.pop(0))
    if not flags.config_path or not flags.test_path:
        raise ConfigError("Both --config-path/c and --test-path/t are mandatory")
    return flags


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 100.0 or "_" in text:
        raise ConfigError(f"Couldn't read argument value from string '{text}'")
    return value


def _check(flags: Flags) -> int:
    extensions.install()
    config = find_route_config(flags)
    checker = RouteChecker(config, read_route_tests(flags.test_path))
    results = checker.run()
    if flags.output_path:
        _write(flags.output_path, results)
    failed = [result for result in results if not result.passed]
    percent = checker.coverage.percent(flags.comprehensive)
    if flags.as_json:
        sys.stdout.write(json.dumps(as_json(results, checker.coverage), indent=1, ensure_ascii=False) + "\n")
    else:
        _print(flags, results)
        if failed:
            sys.stderr.write(f"{len(failed)} of {len(results)} tests failed\n")
            return 1
        if flags.detailed_coverage:
            for unit in checker.coverage.missing():
                sys.stdout.write(f"Missing test for host: {unit.virtual_host}, route: {unit.title}\n")
        sys.stdout.write(f"Current route coverage: {percent:g}%\n")
    if failed:
        return 1
    if flags.fail_under and percent < flags.fail_under:
        sys.stderr.write(f"Failed to meet coverage requirement: {flags.fail_under:g}%\n")
        return 1
    return 0


def _print(flags: Flags, results: list[TestResult]) -> None:
    for result in results:
        if not (flags.details and not flags.only_show_failures) and not (flags.only_show_failures and result.failures):
            continue
        stream = sys.stderr if result.failures else sys.stdout
        stream.write("".join([f"{line}\n" for line in (result.name, *result.failures)]))


def as_json(results: list[TestResult], coverage: Coverage) -> dict[str, Any]:
    """The whole report."""
    return {
        "passed": all(result.passed for result in results),
        "tests": _results(results),
        "coverage": {
            "percent": round(coverage.percent(), 4),
            "comprehensive_percent": round(coverage.percent(True), 4),
            "routes": [
                {
                    "virtual_host": unit.virtual_host,
                    "route": unit.name,
                    "position": unit.position,
                    "match": unit.match,
                    "weighted_cluster": unit.cluster or None,
                    "covered": unit.covered,
                    "fields": {name: name in unit.seen for name in unit.fields},
                }
                for unit in coverage.units
            ],
        },
    }


def _results(results: list[TestResult]) -> list[dict[str, Any]]:
    return [
        {
            "test_name": result.name,
            "test_passed": result.passed,
            "failures": result.failures,
            "virtual_host": result.virtual_host or None,
            "route": result.route or None,
        }
        for result in results
    ]


def _write(path: str, results: list[TestResult]) -> None:
    try:
        Path(path).write_text(json.dumps({"test_results": _results(results)}, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


# The route configuration.


def find_route_config(flags: Flags) -> Any:
    """The one that the flags name, or the only one there is; ConfigError."""
    found = list(_named(flags, _route_configs(flags)))
    if not found:
        raise ConfigError("there is no such route configuration", file=flags.config_path)
    if len(found) > 1:
        names = ", ".join([f"'{config.name}' (listener '{listener}')" for listener, config in found])
        raise ConfigError(f"which route configuration? Name one by --listener or --route-config: {names}")
    return found[0][1]


def _named(flags: Flags, configs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen = set()
    for listener, config in configs:
        if (flags.listener and listener != flags.listener) or flags.route_config not in ("", config.name):
            continue
        data = config.SerializeToString(deterministic=True)
        if data not in seen:
            seen.add(data)
            yield listener, config


def _route_configs(flags: Flags) -> Iterator[tuple[str, Any]]:
    path = flags.config_path
    tree = _read_tree(path)
    if isinstance(tree, dict) and "resources" in tree:
        yield from _resources(tree["resources"], path)
    elif tree is None or (isinstance(tree, dict) and not _looks_like_routes(tree)):
        bootstrap = load_bootstrap(path, options=LoadOptions()).bootstrap
        yield from _of_listeners(bootstrap.static_resources.listeners)
    else:
        config = route_pb2.RouteConfiguration()
        fill(config, tree, Source(path), False)
        inspect(config)
        yield "", config


def _looks_like_routes(tree: dict[str, Tree]) -> bool:
    return not _BOOTSTRAP_FIELDS & set(tree) and not {"staticResources", "dynamicResources"} & set(tree)


def _read_tree(path: str) -> Tree:
    """None for what is neither YAML nor JSON."""
    if path.lower().endswith((".pb", ".pb_text")):
        return None
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Invalid path: {path} ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ConfigError("the file is not valid UTF-8", file=path) from None
    return load_yaml(text, path) if path.lower().endswith((".yaml", ".yml")) else load_json(text, path)


def _resources(trees: Tree, path: str) -> Iterator[tuple[str, Any]]:
    """Those of a discovery response."""
    from google.protobuf import any_pb2

    from proxeny.config.builder import Builder

    for tree in trees if isinstance(trees, list) else ():
        resource = any_pb2.Any()
        Builder().build(resource, tree)
        if type_name_of(resource.type_url) == _RDS_TYPE:
            config = open_any(resource)
            inspect(config)
            yield "", config


def _of_listeners(listeners: Any) -> Iterator[tuple[str, Any]]:
    for listener in listeners:
        chains = [*listener.filter_chains]
        if listener.HasField("default_filter_chain"):
            chains.append(listener.default_filter_chain)
        for item in [item for chain in chains for item in chain.filters]:
            if type_name_of(item.typed_config.type_url) == HTTP_TYPE:
                manager: Any = unpack_any(item.typed_config)
                if manager.WhichOneof("route_specifier") == "route_config":
                    yield listener.name, manager.route_config
                scoped = manager.scoped_routes.scoped_route_configurations_list.scoped_route_configurations
                for scope in scoped:
                    if scope.HasField("route_configuration"):
                        yield listener.name, scope.route_configuration
