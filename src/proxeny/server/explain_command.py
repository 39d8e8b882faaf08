"""``proxeny explain connection``: what a configuration makes of a connection, without serving it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.explain.connection import ListenerView, explain_connection
from proxeny.explain.facts import PARAMETERS, Facts, parse_facts
from proxeny.explain.render import as_json, as_text
from proxeny.server import flags, log
from proxeny.server.configuration import Configuration
from proxeny.server.options import Options, options_from
from proxeny.server.validation import load
from proxeny.stats.store import MainStore

FORMATS = ("text", "json")
USAGE = (
    "usage: proxeny explain connection --src IP:PORT --dst IP:PORT [--sni NAME] [--alpn PROTOCOL,...] [--tls]\n"
    "       [--listener NAME] [--format text|json] -c FILE [further flags of the proxy]\n"
)


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(USAGE)
        return 0
    try:
        facts, output, rest = _split(arguments)
        options = options_from(rest)
        log.set_up(options)
    except flags.ArgumentError as error:
        sys.stderr.write(f"{error}\n{USAGE}")
        return 1
    except ConfigError as error:
        sys.stderr.write(f"{error.message}\n{USAGE}")
        return 1
    try:
        views = _views(options)
    except ConfigError as error:
        logging.getLogger("proxeny.main").critical(
            "error initializing configuration '%s': %s", options.config_path, error
        )
        return 1
    explanation = explain_connection(views, facts)
    if output == "json":
        sys.stdout.write(json.dumps(as_json(explanation), indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(as_text(explanation))
    return 0


def _split(arguments: Sequence[str]) -> tuple[Facts, str, list[str]]:
    """The facts, the format and the proxy's own flags; ConfigError."""
    if not arguments or arguments[0] != "connection":
        raise ConfigError("explain what? connection is all there is")
    given: dict[str, str] = {}
    rest: list[str] = []
    left = list(arguments[1:])
    while left:
        name = left.pop(0)
        key = name.removeprefix("--")
        if name == key or key not in (*PARAMETERS, "format"):
            rest.append(name)
        elif key == "tls":
            given[key] = ""
        elif not left:
            raise ConfigError(f"{name}: a value is missing")
        else:
            given[key] = left.pop(0)
    output = given.pop("format", "text")
    if output not in FORMATS:
        raise ConfigError(f"--format: '{output}' is none of {', '.join(FORMATS)}")
    if not {"-l", "--log-level"} & set(rest):
        rest += ["-l", "warning"]
    return parse_facts(given), output, rest


def _views(options: Options) -> list[ListenerView]:
    """The static listeners, compiled as serving would; ConfigError."""
    extensions.install()
    configuration = Configuration(load(options), options, MainStore())
    return [
        ListenerView(one.config, one.proto.traffic_direction, one.config.addresses) for one in configuration.listeners()
    ]
