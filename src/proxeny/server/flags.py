"""The command line: Envoy's flags as a table, and a parser with the verdicts and words of Envoy's (TCLAP).

As there, a value is the next argument (never ``--flag=value``), a flag given twice is an error, ``--`` ends the flags.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SWITCH: Final = ""
STRING: Final = "string"
UINT32: Final = "uint32_t"
UINT32_MAX: Final = (1 << 32) - 1

Value = str | int | bool | list[str]


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. ``kind`` is SWITCH, STRING or UINT32; ``repeats``: every use adds one string to a list."""

    name: str
    kind: str
    help: str
    short: str = ""
    default: Value = ""
    repeats: bool = False
    supported: bool = True

    @property
    def title(self) -> str:
        """How messages name it: ``-c (--config-path)`` or ``(--concurrency)``."""
        return f"-{self.short} (--{self.name})" if self.short else f"(--{self.name})"

    @property
    def usage(self) -> str:
        """How the usage text shows it."""
        spelled = f"-{self.short}" if self.short else f"--{self.name}"
        shown = f"[{spelled} <{self.kind}>]" if self.kind else f"[{spelled}]"
        return f"{shown} ..." if self.repeats else shown


class ArgumentError(Exception):
    """An argument that cannot be parsed: ``argument`` names it, ``reason`` says why."""

    def __init__(self, argument: str, reason: str) -> None:
        super().__init__(argument, reason)
        self.argument = argument
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.argument} -- {self.reason}"


DEFAULT_LOG_FORMAT: Final = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"
LOG_LEVELS_SHOWN: Final = "[trace][debug][info][warning|warn][error][critical][off]"


def _switch(name: str, help_text: str, supported: bool = True) -> Flag:
    return Flag(name, SWITCH, help_text, default=False, supported=supported)


FLAGS: Final[tuple[Flag, ...]] = (
    Flag("base-id", UINT32, "Base ID, so that several proxies can run on one host", default=0),
    _switch("use-dynamic-base-id", "Choose a free base ID; supersedes --base-id"),
    Flag("base-id-path", STRING, "File that the base ID is written to"),
    _switch("skip-hot-restart-on-no-parent", "Start normally when the hot restart parent is gone", supported=False),
    _switch("skip-hot-restart-parent-stats", "Do not take over the stats of the hot restart parent", supported=False),
    Flag("concurrency", UINT32, "Number of worker processes (default: one per core)", default=0),
    Flag("config-path", STRING, "Configuration file (.yaml .yml .json .pb .pb_text)", short="c"),
    Flag("config-yaml", STRING, "Inline YAML configuration, merged over the contents of --config-path"),
    _switch("allow-unknown-fields", "Deprecated spelling of --allow-unknown-static-fields"),
    _switch("allow-unknown-static-fields", "Accept unknown fields in the static configuration"),
    _switch("reject-unknown-dynamic-fields", "Refuse unknown fields in dynamic configuration"),
    _switch("ignore-unknown-dynamic-fields", "Ignore unknown fields in dynamic configuration, without counting them"),
    Flag("patch", STRING, "File of Istio EnvoyFilter resources to apply to the configuration; may be repeated",
         repeats=True),
    _switch("accept-unsupported-fields", "Warn of Envoy fields that Proxeny does not serve instead of refusing them"),
    _switch("accept-partial-updates", "Take what is good of a discovery response even where Envoy refuses all of it"),
    _switch("skip-deprecated-logs", "Do not log the use of deprecated fields"),
    Flag("admin-address-path", STRING, "File that the admin address is written to"),
    Flag("local-address-ip-version", STRING, "Version of the local IP address (v4 or v6)", default="v4"),
    Flag("log-level", STRING, f"Log level: {LOG_LEVELS_SHOWN}; default is [info]", short="l", default="info"),
    Flag("component-log-level", STRING, "Log levels of components, for example upstream:debug,config:trace"),
    Flag("log-format", STRING, f'Log format in spdlog syntax; default is "{DEFAULT_LOG_FORMAT}"',
         default=DEFAULT_LOG_FORMAT),
    _switch("log-format-escaped", "Escape C-style escape sequences in log messages"),
    _switch("enable-fine-grain-logging", "Log levels per source file", supported=False),
    _switch("log-stacktrace-single-entry", "Write a stack trace as one log entry (it always is one here)"),
    Flag("log-path", STRING, "Log file (default: standard error); SIGUSR1 opens it again"),
    Flag("restart-epoch", UINT32, "Hot restart epoch; only 0 is supported yet", default=0),
    _switch("hot-restart-version", "Print the hot restart compatibility version and exit"),
    Flag("service-cluster", STRING, "Cluster name of this node"),
    Flag("service-node", STRING, "Name of this node"),
    Flag("service-zone", STRING, "Zone of this node"),
    Flag("file-flush-interval-msec", UINT32, "Milliseconds between flushes of log files", default=10000),
    Flag("file-flush-min-size-kb", UINT32, "Kilobytes at which a log file is flushed before its time", default=64),
    Flag("drain-time-s", UINT32, "Seconds that a removed listener drains", default=600),
    Flag("drain-strategy", STRING, "'gradual' (default) or 'immediate'", default="gradual"),
    Flag("parent-shutdown-time-s", UINT32, "Seconds until a hot restart parent is shut down", default=900),
    Flag("mode", STRING, "'serve' (default), 'validate' (check the configuration and exit) or 'init_only'",
         default="serve"),
    _switch("disable-hot-restart", "Do not claim the base ID"),
    _switch("enable-mutex-tracing", "Trace lock contention", supported=False),
    _switch("cpuset-threads", "Count the cores of this process's cpuset for the default of --concurrency"),
    Flag("disable-extensions", STRING, "Extensions to disable, separated by commas", supported=False),
    Flag("socket-path", STRING, "Path of the hot restart socket", supported=False),
    Flag("socket-mode", STRING, "Permissions of the hot restart socket", supported=False),
    _switch("enable-core-dump", "Allow core dumps"),
    Flag("stats-tag", STRING, "A tag:value put on every stat; may be repeated", repeats=True),
    _switch("watch", "Reload the configuration whenever its files are saved"),
    _switch("version", "Print the version and exit"),
    Flag("help", SWITCH, "Print this text and exit", short="h", default=False),
)  # fmt: skip

SUBCOMMANDS: Final[tuple[tuple[str, str], ...]] = (
    ("demo [--seconds <N>] [--check]", "Run the proxy before embedded upstreams on free ports and print what to try"),
    ("config <flags as above>", "Print the configuration as it is used, merged and patched"),
    ("explain connection <facts> <flags as above>", "Say what becomes of a connection, and why; --help says more"),
    ("top [--admin <address>]", "Watch a running proxy, or an Envoy, in the terminal; --help says more"),
    ("reload [--plan] [--admin <address>]", "Have a running proxy load its files anew; --help says more"),
    ("intercept install|show|remove", "Redirect a service's connections to the proxy; --help says more"),
)
"""Usage and purpose of what may stand before the flags."""

_BY_SPELLING: Final = {f"--{flag.name}": flag for flag in FLAGS} | {f"-{f.short}": f for f in FLAGS if f.short}


def parse(argv: Sequence[str]) -> dict[str, Value]:
    """Values of the flags that ``argv`` (without the program's name) sets; raises ArgumentError.

    --help or --version ends the parse and is then the only value.
    """
    values: dict[str, Value] = {}
    arguments = iter(argv)
    for argument in arguments:
        if argument in ("--", "--ignore_rest"):
            break
        flag = _BY_SPELLING.get(argument)
        if flag is None:
            raise ArgumentError(argument, "Couldn't find match for argument")
        where = flag.title
        if flag.name in values and not flag.repeats:
            raise ArgumentError(where, "Argument already set!")
        if flag.kind == SWITCH:
            if flag.name in ("help", "version"):
                return {flag.name: True}
            values[flag.name] = True
            continue
        text = next(arguments, None)
        if text is None:
            raise ArgumentError(where, "Missing a value for this argument!")
        if flag.repeats:
            listed = values.setdefault(flag.name, [])
            assert isinstance(listed, list)
            listed.append(text)
        else:
            values[flag.name] = _uint32(where, text) if flag.kind == UINT32 else text
    return values


def _uint32(where: str, text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= UINT32_MAX:
        return int(text)
    raise ArgumentError(where, f"Couldn't read argument value from string '{text}'")


def brief_usage(program: str) -> str:
    """All flags in brackets, wrapped behind the program's name."""
    usage = " ".join(flag.usage for flag in FLAGS)
    return textwrap.fill(usage, 78, initial_indent=f"   {program}  ", subsequent_indent=" " * 8, break_on_hyphens=False)


def parse_error_text(program: str, error: ArgumentError) -> str:
    """What a bad command line prints on standard error."""
    return (
        f"PARSE ERROR: Argument: {error.argument}\n             {error.reason}\n\n"
        f"Brief USAGE: \n{brief_usage(program)}\n\n"
        f"For complete USAGE and HELP type: \n   {program} --help\n"
    )


def help_text(program: str) -> str:
    """The text of --help."""
    usages = [brief_usage(program), *(f"   {program}  {usage}" for usage, _ in SUBCOMMANDS)]
    parts = ["\nUSAGE: \n\n" + "\n".join(usages) + "\n\n\nWhere: \n"]
    for flag in FLAGS:
        value = f" <{flag.kind}>" if flag.kind else ""
        spelled = f"-{flag.short}{value},  --{flag.name}{value}" if flag.short else f"--{flag.name}{value}"
        note = flag.help if flag.supported else f"{flag.help} (not supported yet)"
        parts.append(f"   {spelled}\n{textwrap.fill(note, 75, initial_indent='     ', subsequent_indent='     ')}\n")
    parts += [f"   {usage.partition(' ')[0]}\n     {text}\n" for usage, text in SUBCOMMANDS]
    return "\n".join(parts)
