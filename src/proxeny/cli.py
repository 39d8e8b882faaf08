"""The command: Envoy's flags with Envoy's meaning, exit codes and words, and the subcommand ``demo``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from proxeny.config.errors import ConfigError
from proxeny.server import flags, log
from proxeny.server.options import Mode, Options, OptionsError, options_from
from proxeny.server.version import HOT_RESTART_DISABLED, version_text

EXIT_OK = 0
EXIT_FAILURE = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "proxeny"
    if program == "__main__.py":
        program = "python -m proxeny"
    if arguments and arguments[0] == "demo":
        from proxeny.server import demo

        return demo.main(arguments[1:])
    try:
        options = options_from(arguments)
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
    return run(options)


def run(options: Options) -> int:
    """Serve, or check the configuration."""
    for notice in options.notices:
        logging.getLogger("proxeny.config").warning(notice)
    if options.mode is Mode.VALIDATE:
        return _validate(options)
    from proxeny.server.server import serve

    return serve(options)


def _validate(options: Options) -> int:
    from proxeny.server.validation import validate_options

    try:
        validate_options(options)
    except ConfigError as error:
        logging.getLogger("proxeny.main").critical(
            "error initializing configuration '%s': %s", options.config_path, error
        )
        return EXIT_FAILURE
    sys.stdout.write(f"configuration '{options.config_path}' OK\n")
    return EXIT_OK


def _information(what: str, program: str) -> str:
    if what == "help":
        return flags.help_text(program)
    if what == "version":
        return f"\n{program}  version: {version_text()}\n\n"
    return f"{HOT_RESTART_DISABLED}\n"
