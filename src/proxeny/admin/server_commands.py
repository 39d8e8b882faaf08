"""Commands that change the server, only by POST: levels, health, runtime, logs, exit (Envoy: ServerCmdHandler)."""

from __future__ import annotations

from proxeny.admin.context import AdminContext
from proxeny.admin.query import Query, parse_parameters
from proxeny.admin.response import OK, AdminResponse, respond
from proxeny.config.errors import ConfigError

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_LOGGING_USAGE = (
    "usage: /logging?<name>=<level> (change single level)\n"
    "usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"
    "usage: /logging?level=<level> (change all levels)\n"
    "usage: /logging?group=<group_name>:<level> (change group of loggers)\n"
    "levels: " + " ".join(LEVELS) + " \n"
)
_RUNTIME_USAGE = (
    "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n"
    "       or send the parameters as form values\n"
    "use an empty value to remove a previously added override"
)


class ServerCommands:
    """Everything that a GET must not do."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def quit(self, query: Query, body: bytes) -> AdminResponse:
        """/quitquitquit"""
        self._context.shutdown()
        return respond(OK)

    def health_check_fail(self, query: Query, body: bytes) -> AdminResponse:
        """/healthcheck/fail"""
        self._context.fail_health_check(True)
        return respond(OK)

    def health_check_ok(self, query: Query, body: bytes) -> AdminResponse:
        """/healthcheck/ok"""
        self._context.fail_health_check(False)
        return respond(OK)

    def reopen_logs(self, query: Query, body: bytes) -> AdminResponse:
        """/reopen_logs"""
        self._context.reopen_logs()
        return respond(OK)

    def drain_listeners(self, query: Query, body: bytes) -> AdminResponse:
        """/drain_listeners"""
        graceful, skip_exit, inbound_only = (
            name in query.parameters for name in ("graceful", "skip_exit", "inboundonly")
        )
        self._context.drain_listeners(graceful, skip_exit, inbound_only)
        return respond(OK)

    def runtime_modify(self, query: Query, body: bytes) -> AdminResponse:
        """/runtime_modify: values come in the query or as a form"""
        values = query.parameters or parse_parameters(body.decode("utf-8", "surrogateescape"))
        if not values:
            return respond(_RUNTIME_USAGE, 400)
        try:
            self._context.runtime.merge_admin_values(values)
        except ConfigError as error:
            return respond(error.message, 503)
        return respond(OK)

    def logging(self, query: Query, body: bytes) -> AdminResponse:
        """/logging: without parameters the levels, with one a change"""
        problem = self._change_levels(query.parameters)
        lines = "".join(f"  {name}: {level}\n" for name, level in self._context.log_levels().items())
        levels = f"active loggers:\n{lines}\n"
        if problem:
            return respond(f"error: {problem}\n\n{_LOGGING_USAGE}{levels}", 400)
        return respond(levels)

    def _change_levels(self, parameters: dict[str, str]) -> str:
        if not parameters:
            return ""
        if len(parameters) > 1:
            return "invalid number of parameters"
        ((name, value),) = parameters.items()
        changes: list[tuple[str | None, str]] = []
        if name == "level":
            changes = [(None, value)] if value else []
        elif name == "paths":
            changes = [_pair(part) for part in value.split(",") if part]
            if not all(component and level for component, level in changes):
                return "empty logger name or empty logger level"
        elif name == "group":
            return "group parameter requires fine-grain logging to be enabled"
        else:
            changes = [(name, value)]
        return self._apply(changes)

    def _apply(self, changes: list[tuple[str | None, str]]) -> str:
        # All or nothing: every name and level is looked at first.
        known = self._context.log_levels()
        for component, level in changes:
            if level not in LEVELS:
                return "unknown logger level"
            if component is not None and component not in known:
                return "unknown logger name"
        for component, level in changes:
            self._context.set_log_level(component, level)
        return ""


def _pair(text: str) -> tuple[str | None, str]:
    name, _, level = text.rpartition(":")
    return name, level
