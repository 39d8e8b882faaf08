"""``proxeny explain``: what a configuration makes of a connection or of a request, without serving it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.explain import render, request_render
from proxeny.explain.connection import explain_connection
from proxeny.explain.facts import PARAMETERS, Facts, parse_facts
from proxeny.explain.request import explain_request
from proxeny.explain.request_facts import REQUEST_PARAMETERS, RequestFacts, parse_request_facts
from proxeny.server import flags, log
from proxeny.server.configuration import Configuration
from proxeny.server.explain_world import ConfiguredWorld
from proxeny.server.options import Options, options_from
from proxeny.server.validation import load
from proxeny.stats.store import MainStore

FORMATS = ("text", "json")
USAGE = (
    "usage: proxeny explain connection --src IP:PORT --dst IP:PORT [--sni NAME] [--alpn PROTOCOL,...] [--tls]\n"
    "       [--listener NAME] [--format text|json] -c FILE [further flags of the proxy]\n"
    "       proxeny explain request --url URL [-X METHOD] [-H 'NAME: VALUE']... [--src IP[:PORT]] [--dst IP:PORT]\n"
    "       [--port N] [--listener NAME] [--sni NAME] [--alpn PROTOCOL,...] [--body-size BYTES] [--http10]\n"
    "       [--random-value N] [--all] [--json | --format text|json] -c FILE [further flags of the proxy]\n"
)
KINDS = ("connection", "request")
SWITCHES = ("tls", "http10", "all")
SHORT = {"-X": "method", "-H": "header", "--json": "format"}


class Question(NamedTuple):
    """What the command line asks."""

    kind: str
    given: dict[str, str]
    headers: list[str]
    output: str
    rest: list[str]
    """The proxy's own flags."""


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(USAGE)
        return 0
    try:
        question = _split(arguments)
        facts = _facts(question)
        options = options_from(question.rest)
        log.set_up(options)
    except flags.ArgumentError as error:
        sys.stderr.write(f"{error}\n{USAGE}")
        return 1
    except ConfigError as error:
        sys.stderr.write(f"{error.message}\n{USAGE}")
        return 1
    try:
        world = _world(options)
    except ConfigError as error:
        logging.getLogger("proxeny.main").critical(
            "error initializing configuration '%s': %s", options.config_path, error
        )
        return 1
    try:
        _explain(world, facts, question.output)
    except ConfigError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


def _explain(world: ConfiguredWorld, facts: Facts | RequestFacts, output: str) -> None:
    text: str
    value: dict[str, Any]
    if isinstance(facts, RequestFacts):
        request = explain_request(world, facts)
        text, value = (
            (request_render.as_text(request), {}) if output == "text" else ("", request_render.as_json(request))
        )
    else:
        connection = explain_connection(world.listeners(), facts)
        text, value = (render.as_text(connection), {}) if output == "text" else ("", render.as_json(connection))
    sys.stdout.write(text or json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _split(arguments: Sequence[str]) -> Question:
    """ConfigError for what is not understood."""
    if not arguments or arguments[0] not in KINDS:
        raise ConfigError(f"explain what? One of {', '.join(KINDS)}")
    kind = arguments[0]
    known = {*PARAMETERS, "format"} if kind == "connection" else {*PARAMETERS, *REQUEST_PARAMETERS, "format"}
    question = Question(kind, {}, [], "text", [])
    left = list(arguments[1:])
    while left:
        name = left.pop(0)
        key = SHORT.get(name, name.removeprefix("--")) if kind == "request" else name.removeprefix("--")
        if name == key or key not in known:
            question.rest.append(name)
        elif name == "--json" or key in SWITCHES:
            question.given[key] = "json" if name == "--json" else ""
        elif not left:
            raise ConfigError(f"{name}: a value is missing")
        elif key == "header":
            question.headers.append(left.pop(0))
        else:
            question.given[key] = left.pop(0)
    output = question.given.pop("format", "text")
    if output not in FORMATS:
        raise ConfigError(f"--format: '{output}' is none of {', '.join(FORMATS)}")
    if not {"-l", "--log-level"} & set(question.rest):
        question.rest.extend(("-l", "warning"))
    return question._replace(output=output)


def _facts(question: Question) -> Facts | RequestFacts:
    if question.kind == "request":
        return parse_request_facts(question.given, question.headers)
    return parse_facts(question.given)


def _world(options: Options) -> ConfiguredWorld:
    """The static listeners and clusters, compiled as serving would; ConfigError."""
    extensions.install()
    return ConfiguredWorld(Configuration(load(options), options, MainStore()))
