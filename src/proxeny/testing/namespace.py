"""Network namespaces for tests: do something inside one, without this process leaving its own."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

NAMED: Final = Path("/run/netns")
"""Where ``ip netns add`` keeps its names."""

_CLONE_NEWNET: Final = 0x40000000

T = TypeVar("T")


def namespace_path(namespace: str) -> str:
    """The file of a namespace given by name (``ip netns add``) or by path."""
    return namespace if "/" in namespace else str(NAMED / namespace)


def run_inside(namespace: str, function: Callable[[], T]) -> T:
    """What ``function`` returns, called by a thread inside the namespace; sockets that it makes stay there.

    Raises what it raises, and OSError when the namespace cannot be entered (it needs CAP_SYS_ADMIN).
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            _enter(namespace_path(namespace))
            result.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name=f"inside {namespace}")
    thread.start()
    thread.join()
    if failure:
        raise failure.pop()
    return result.pop()


def _enter(path: str) -> None:
    """Move the calling thread (and nothing else) into the namespace."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def command_inside(
    command: Sequence[str], namespace: str | None = None, uid: int | None = None, capabilities: Sequence[str] = ()
) -> list[str]:
    """A command that runs ``command`` in a namespace and under a uid (and the gid of the same number), same pid.

    ``capabilities`` (as ``setpriv`` names them: ``net_admin``) are kept under that uid.
    """
    prefix: list[str] = []
    if namespace is not None:
        prefix += ["nsenter", f"--net={namespace_path(namespace)}", "--"]
    if uid is not None:
        prefix += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        if capabilities:
            kept = ",".join(f"+{name}" for name in capabilities)
            prefix += [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
        prefix.append("--")
    return [*prefix, *command]
