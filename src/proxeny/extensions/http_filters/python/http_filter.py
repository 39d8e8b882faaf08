"""``proxeny.HttpFilter``: the base of user filters."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.python.messages import Request, Response


class Worker:
    """One filter's state in one worker process; ``setup`` may put anything on it.

    ``index`` and ``concurrency`` say which worker of how many this is; ``loop`` is its event loop.
    """

    def __init__(self, name: str, index: int, concurrency: int, loop: asyncio.AbstractEventLoop | None) -> None:
        self.name = name
        self.index = index
        self.concurrency = concurrency
        self.loop = loop
        self.logger = logging.getLogger(f"proxeny.python.{name}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the filter's setup() has put no {name!r} on its worker")


class HttpFilter:
    """A filter in Python: override the hooks you need, each as ``def`` or as ``async def``.

    One instance is made per request, so attributes of ``self`` are the request's own; what requests of one worker
    share belongs on ``self.worker``, put there by ``setup``. A synchronous hook that takes long stalls its worker: use
    ``async`` for whatever waits. An exception becomes a 500 for this request, a traceback in the log and a counter.
    """

    config: ClassVar[dict[str, Any]] = {}
    """The ``config`` of the filter's configuration."""
    worker: ClassVar[Worker]

    buffer_request_body: ClassVar[bool] = False
    """Call ``on_request_body`` once, with the whole body (within the buffer limit), instead of piece by piece."""
    buffer_response_body: ClassVar[bool] = False
    """The same for ``on_response_body``."""
    body_is_read_only: ClassVar[bool] = False
    """The body hooks change nothing, so ``content-length`` may stay when the body is seen piece by piece."""

    @classmethod
    def setup(cls, worker: Worker) -> None:
        """Called once per worker before the first request."""

    def on_request(self, request: Request) -> Any:
        """The request's headers are here."""

    def on_request_body(self, request: Request, body: bytes, end: bool) -> Any:
        """Body bytes; return other bytes to replace them, None to leave them. ``end``: the last ones."""

    def on_response(self, response: Response) -> Any:
        """The response's headers are here."""

    def on_response_body(self, response: Response, body: bytes, end: bool) -> Any:
        """Body bytes of the response, as in ``on_request_body``."""

    def on_complete(self, request: Request) -> None:
        """The stream is over, whatever its end (never async)."""
