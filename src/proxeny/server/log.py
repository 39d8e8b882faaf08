"""Logging of main, zygote and workers: set up once in main, inherited through the forks.

Lines go to standard error or to ``--log-path`` by one ``write`` each on an O_APPEND descriptor, so that processes
never mix inside a line.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from proxeny.server.components import COMPONENTS, FOLDERS, LEVEL_NAMES, LEVELS, TRACE
from proxeny.server.log_format import compile_format
from proxeny.server.options import Options

ROOT: Final = "proxeny"
_FILE_MODE: Final = 0o644


class LogHandler(logging.Handler):
    """Writes rendered records to a descriptor that can be opened again."""

    def __init__(self, path: str, pattern: str, escaped: bool) -> None:
        super().__init__()
        self._path = path
        self._render = compile_format(pattern)
        self._escaped = escaped
        self._fd = self._open() if path else 2

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)

    def fileno(self) -> int:
        """The descriptor in use."""
        return self._fd

    def reopen(self) -> None:
        """Open the file again (after a log rotation); the old one stays when that fails."""
        if not self._path:
            return
        try:
            fresh = self._open()
        except OSError as error:
            logging.getLogger("proxeny.main").error("cannot reopen log file '%s': %s", self._path, error.strerror)
            return
        old, self._fd = self._fd, fresh
        os.close(old)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self._render(record)
            if self._escaped:
                text = text.encode("unicode_escape").decode("ascii")
            data = text.encode("utf-8", "backslashreplace") + b"\n"
            while data:
                data = data[os.write(self._fd, data) :]
        except BlockingIOError:
            return
        except Exception:
            self.handleError(record)


class LogLevels:
    """The levels of all components (admin's ``/logging``)."""

    def __init__(self) -> None:
        self._levels = dict.fromkeys(COMPONENTS, "info")

    def levels(self) -> dict[str, str]:
        """Level name of every component."""
        return dict(self._levels)

    def set_all(self, level: str) -> None:
        """One level for all; KeyError when there is no such level."""
        number = LEVELS[level]
        logging.getLogger().setLevel(max(number, logging.DEBUG))
        logging.getLogger(ROOT).setLevel(number)
        for component in COMPONENTS:
            self.set(component, level)

    def set(self, component: str, level: str) -> None:
        """The level of one component; KeyError when there is no such component or level."""
        number = LEVELS[level]
        if component not in self._levels:
            raise KeyError(component)
        self._levels[component] = LEVEL_NAMES[number]
        for name in (component, *(folder for folder, owner in FOLDERS.items() if owner == component)):
            logging.getLogger(f"{ROOT}.{name}").setLevel(number)


LOG_LEVELS: Final = LogLevels()
_handler: LogHandler | None = None


def set_up(options: Options) -> None:
    """Install the handler and the levels that ``options`` ask for; OSError when --log-path cannot be opened."""
    global _handler
    fresh = LogHandler(options.log_path, options.log_format, options.log_format_escaped)
    logging.addLevelName(TRACE, "TRACE")
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
    _handler = fresh
    root.addHandler(fresh)
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    LOG_LEVELS.set_all(options.log_level)
    for component, level in options.component_log_levels.items():
        LOG_LEVELS.set(component, level)


def reopen() -> None:
    """SIGUSR1: open the log file again."""
    if _handler is not None:
        _handler.reopen()


def descriptor() -> int:
    """The descriptor that lines are written to."""
    return 2 if _handler is None else _handler.fileno()


def log_uncaught() -> None:
    """Write tracebacks of uncaught exceptions through the log."""

    def hook(kind: type[BaseException], value: BaseException, trace: object) -> None:
        logging.getLogger("proxeny.main").critical("uncaught exception", exc_info=(kind, value, trace))  # type: ignore[arg-type]

    sys.excepthook = hook
