"""The command: Envoy's flags with Envoy's meaning, exit codes and words; and subcommands beside them."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence

from proxeny.config.errors import ConfigError
from proxeny.server import flags, log
from proxeny.server.options import Mode, Options, OptionsError, options_from
from proxeny.server.version import HOT_RESTART_DISABLED, version_text

_SUBCOMMANDS = {
    "demo": "proxeny.server.demo",
    "explain": "proxeny.server.explain_command",
    "route-check": "proxeny.server.route_check_command",
    "reload": "proxeny.server.reload.command",
    "intercept": "proxeny.intercept.command",
    "top": "proxeny.top.command",
}
"""Modules whose ``main`` takes the arguments that follow; imported when asked for."""

EXIT_OK = 0
EXIT_FAILURE = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "proxeny"
    if program == "__main__.py":
        program = "python -m proxeny"
    subcommand = _SUBCOMMANDS.get(arguments[0]) if arguments else None
    if subcommand is not None:
        return int(importlib.import_module(subcommand).main(arguments[1:]))
    prints = arguments[:1] == ["config"]
    try:
        options = options_from(arguments[1:] if prints else arguments)
        if options.information:
            sys.stdout.write(_information(options.information, program))
            return EXIT_OK
        log.set_up(options)
    except flags.ArgumentError as error:
        sys.stderr.write(f"{flags.parse_error_text(program, error)}\n{error}\n")
        return EXIT_FAILURE
    except OptionsError as error:
        sys.stderr.write(f"{error.message}\n")
        return EXIT_FAILURE
    except OSError as error:
        sys.stderr.write(f"error: Failed to open log-file '{error.filename}'. e.what(): {error.strerror}\n")
        return EXIT_FAILURE
    return _print_config(options) if prints else run(options)


def run(options: Options) -> int:
    """Serve, or check the configuration."""
    for notice in options.notices:
        logging.getLogger("proxeny.config").warning(notice)
    if options.mode is Mode.VALIDATE:
        return _validate(options)
    from proxeny.server.server import serve

    return serve(options)


def _print_config(options: Options) -> int:
    from proxeny.server.print_config import print_config

    return _checked(options, lambda: print_config(options))


def _validate(options: Options) -> int:
    from proxeny.server.validation import validate_options

    status = _checked(options, lambda: validate_options(options))
    if status == EXIT_OK:
        sys.stdout.write(f"configuration '{options.config_path}' OK\n")
    return status


def _checked(options: Options, look: Callable[[], None]) -> int:
    """The exit status of a look at the configuration, whose faults are logged."""
    try:
        look()
    except ConfigError as error:
        logging.getLogger("proxeny.main").critical(
            "error initializing configuration '%s': %s", options.config_path, error
        )
        return EXIT_FAILURE
    return EXIT_OK


def _information(what: str, program: str) -> str:
    if what == "help":
        return flags.help_text(program)
    if what == "version":
        return f"\n{program}  version: {version_text()}\n\n"
    return f"{HOT_RESTART_DISABLED}\n"
