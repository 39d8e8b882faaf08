"""Compiles the Python filter's configuration: imports the user's class, once per process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from proxeny.config.errors import ConfigError
from proxeny.extensions.http_filters.python.http_filter import HttpFilter, Worker
from proxeny.extensions.http_filters.python.stats import ERRORS, PYTHON_FILTER, TIME_BUDGET_EXCEEDED
from proxeny.extensions.http_filters.python.stream_filter import build, overrides
from proxeny.http.filter import StreamFilter

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

log = logging.getLogger("proxeny.filter")

_NO_BUDGET_US: Final = 1 << 62
_TRACEBACK_INTERVAL_S: Final = 1.0
"""A filter that fails on every request writes one traceback in this time; the counter counts all."""


def import_class(path: str) -> type[Any]:
    """The class that ``package.module:Class`` names; ConfigError saying why there is none."""
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"Python filter '{path}': expected 'package.module:Class'")
    try:
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ConfigError(f"Python filter '{path}' cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type) or not issubclass(found, HttpFilter | StreamFilter):
        raise ConfigError(f"Python filter '{path}' is neither a proxeny.HttpFilter nor a StreamFilter")
    return found


def plain(struct: Any) -> dict[str, Any]:
    """A Struct as a dictionary; whole numbers become ``int``."""
    converted: dict[str, Any] = _integers(MessageToDict(struct))
    return converted


def _integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class PythonRouteConfig:
    """A compiled PythonPerRoute."""

    __slots__ = ("config", "disabled")

    def __init__(self, config: Any) -> None:
        self.disabled: bool = config.disabled
        self.config = plain(config.config)


class PythonFilterFactory:
    """One configured user filter; makes a stream filter per request."""

    is_terminal = False

    def __init__(self, config: Any, stats_prefix: str, context: FactoryContext, extension: Any) -> None:
        for folder in reversed(config.python_path):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        imported = import_class(config.filter)
        self.extension = extension
        self.name = "proxeny.filters.http.python"
        self.path: str = config.filter
        self.stats = context.stats.block(PYTHON_FILTER, f"{stats_prefix}python.{imported.__name__}.")
        self.dispatcher: Any = context.dispatcher
        self.loop: Any = context.dispatcher
        budget = config.time_budget
        self.budget_ms = budget.seconds * 1000 + budget.nanos // 1_000_000 if config.HasField("time_budget") else 0
        self.budget_us = self.budget_ms * 1000 or _NO_BUDGET_US
        self._last_traceback = 0.0
        worker = Worker(imported.__name__, context.worker_index, context.concurrency, self.loop)
        # The configuration and the worker's state are class attributes of a subclass: requests pay nothing for them.
        members = {"config": plain(config.config), "worker": worker, "__doc__": imported.__doc__}
        if issubclass(imported, HttpFilter):
            user_class: type[HttpFilter] = type(imported.__name__, (imported,), members)
            self.user_class: type[Any] = user_class
            self.body_is_read_only = user_class.body_is_read_only
            self.has_on_request = overrides(user_class, "on_request")
            self.has_on_response = overrides(user_class, "on_response")
            self.has_on_request_body = overrides(user_class, "on_request_body")
            self.has_on_response_body = overrides(user_class, "on_response_body")
            self.filter_class: type[StreamFilter] = build(user_class, self)
        else:
            self.filter_class = self.user_class = type(imported.__name__, (imported,), {**members, "__slots__": ()})
        self.create: Callable[[], StreamFilter] = self.filter_class
        if context.is_worker:
            self._setup(worker)

    def _setup(self, worker: Worker) -> None:
        setup = getattr(self.user_class, "setup", None)
        if setup is None:
            return
        try:
            setup(worker)
        except Exception as error:
            log.error("Python filter '%s': setup failed", self.path, exc_info=error)
            raise ConfigError(f"Python filter '{self.path}': setup failed: {type(error).__name__}: {error}") from error

    def report(self, error: BaseException) -> None:
        """Count an exception of a hook and log it with its traceback."""
        self.stats.inc(ERRORS)
        if isinstance(error, TimeoutError) and error.args == ("time budget spent",):
            self.stats.inc(TIME_BUDGET_EXCEEDED)
        now = monotonic()
        if now - self._last_traceback >= _TRACEBACK_INTERVAL_S:
            self._last_traceback = now
            log.error("exception in Python filter '%s'", self.path, exc_info=error)

    def over_budget(self, hook: str, microseconds: int) -> None:
        """A synchronous hook took longer than ``time_budget``: the worker stood still meanwhile."""
        self.stats.inc(TIME_BUDGET_EXCEEDED)
        log.warning("Python filter '%s': %s took %.1f ms", self.path, hook, microseconds / 1000)
