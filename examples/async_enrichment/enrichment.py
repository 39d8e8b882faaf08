"""Adds what another service knows of the user to every request.

The user is named by a cookie; a profile service answers ``GET /profiles/<user>`` with a JSON object. The look-up
runs on the proxy's own event loop, so a slow profile service delays its own requests only. Answers are cached per
worker for a while; several requests for one unknown user wait for a single look-up. When the service fails, requests go
on without a profile: enrichment is not worth an outage.
"""

import asyncio
import json
import time
from collections import OrderedDict
from functools import partial
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

import proxeny

MAX_ANSWER = 64 * 1024


class ProfileClient:
    """Asks the profile service; remembers answers for ``ttl`` seconds, at most ``size`` of them."""

    def __init__(self, host: str, port: int, ttl: float, size: int, timeout: float) -> None:
        self.host = host
        self.port = port
        self.ttl = ttl
        self.size = size
        self.timeout = timeout
        self.cache: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()
        self.asking: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def profile(self, user: str) -> dict[str, Any]:
        """The user's profile."""
        known = self.cache.get(user)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        asking = self.asking.get(user)
        if asking is None:
            asking = self.asking[user] = asyncio.create_task(self.ask(user))
            asking.add_done_callback(partial(self.asked, user))
        # One request giving up must not end the look-up that others wait for.
        return await asyncio.shield(asking)

    def asked(self, user: str, task: asyncio.Task[dict[str, Any]]) -> None:
        """A look-up is over; whoever waits for it sees its outcome."""
        self.asking.pop(user, None)
        if not task.cancelled():
            task.exception()

    async def ask(self, user: str) -> dict[str, Any]:
        """One request to the profile service."""
        async with asyncio.timeout(self.timeout):
            reader, writer = await asyncio.open_connection(self.host, self.port, limit=MAX_ANSWER)
            try:
                target = quote(user, safe="")
                writer.write(f"GET /profiles/{target} HTTP/1.0\r\nHost: {self.host}\r\n\r\n".encode())
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.read(MAX_ANSWER)
            finally:
                writer.close()
        status = int(head.split(b" ", 2)[1])
        profile = json.loads(body) if status == 200 else {}
        self.remember(user, profile)
        return profile

    def remember(self, user: str, profile: dict[str, Any]) -> None:
        """Cache an answer; the oldest goes when there are too many."""
        self.cache[user] = (time.monotonic() + self.ttl, profile)
        self.cache.move_to_end(user)
        while len(self.cache) > self.size:
            self.cache.popitem(last=False)


class Enrichment(proxeny.HttpFilter):
    """Sets ``x-user-plan`` and ``x-user-region`` from the profile of the user in the ``user`` cookie."""

    @classmethod
    def setup(cls, worker: proxeny.Worker) -> None:
        config = cls.config
        worker.client = ProfileClient(
            config["host"],
            config["port"],
            config.get("ttl", 30),
            config.get("cache_size", 10_000),
            config.get("timeout_ms", 250) / 1000,
        )

    async def on_request(self, request: proxeny.Request) -> None:
        for name in ("x-user-plan", "x-user-region"):
            request.headers.pop(name, None)
        user = user_of(request.headers.get("cookie", ""))
        if user is None:
            return
        try:
            profile = await self.worker.client.profile(user)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.worker.logger.warning("no profile of %r: %r", user, error)
            request.metadata["enrichment"] = {"failed": True}
            return
        for field in ("plan", "region"):
            value = profile.get(field)
            if isinstance(value, str):
                request.headers[f"x-user-{field}"] = value


def user_of(cookie: str) -> str | None:
    """The value of the ``user`` cookie."""
    try:
        morsel = SimpleCookie(cookie).get("user")
    except CookieError:
        return None
    return morsel.value if morsel is not None else None
