"""Which arguments a command takes, and the words of refusal (Envoy: CommandSyntaxChecker)."""

from __future__ import annotations

from enum import IntFlag

from proxeny.config.errors import ConfigError
from proxeny.formatter.parser import Command

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class Syntax(IntFlag):
    """What may follow a command's name."""

    COMMAND_ONLY = 0
    PARAMS_REQUIRED = 1
    PARAMS_OPTIONAL = 2
    LENGTH_ALLOWED = 4


def check_syntax(command: Command, syntax: Syntax) -> None:
    """ConfigError when the command has an argument or a length that it must not have, or lacks one."""
    if syntax == Syntax.COMMAND_ONLY and (command.argument or command.max_length is not None):
        raise ConfigError(f"{command.name} does not take any parameters or length")
    if syntax & Syntax.PARAMS_REQUIRED and not command.argument:
        raise ConfigError(f"{command.name} requires parameters")
    if not syntax & Syntax.LENGTH_ALLOWED and command.max_length is not None:
        raise ConfigError(f"{command.name} does not allow length to be specified.")


def header_names(argument: str) -> tuple[bytes, bytes | None]:
    """The header and the alternative header of ``A?B``, in lower case."""
    names = argument.split("?")
    if len(names) > 2:
        raise ConfigError(f"More than 1 alternative header specified in token: {argument}")
    lower = [name.lower() for name in names]
    for name in lower:
        if not _TOKEN.issuperset(name.removeprefix(":")):
            raise ConfigError("Invalid header configuration. Format string contains invalid characters.")
    return lower[0].encode(), lower[1].encode() if len(lower) == 2 and lower[1] else None
