"""Single keys from the terminal, without echo and without Enter."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any, Final

_SEQUENCE: Final = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]")
"""What arrows and function keys send; none of them means anything here."""


class Keys:
    """A context in which ``wait`` returns keys; where standard input is no terminal it only waits."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._saved: list[Any] = []

    def __enter__(self) -> Keys:
        if self._fd is not None:
            self._saved = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._fd is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)

    def wait(self, seconds: float) -> str:
        """The keys pressed, a character each; empty when none came in time."""
        seconds = max(seconds, 0.0)
        if self._fd is None:
            time.sleep(seconds)
            return ""
        readable, _, _ = select.select([self._fd], [], [], seconds)
        return _SEQUENCE.sub("", os.read(self._fd, 1024).decode("latin-1")) if readable else ""
