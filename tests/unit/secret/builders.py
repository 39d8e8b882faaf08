"""What the tests of secrets have in common: users that remember what they were built from, and files that change."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.event.dispatcher import Dispatcher
from proxeny.secret.kinds import TLS_CERTIFICATE
from proxeny.secret.manager import SecretManager
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.xds.manager import XdsManager
from proxeny.xds.validation import DynamicValidation

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
NODE = base_pb2.Node(id="node", cluster="cluster")


def run(scenario: Callable[[Dispatcher], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in a data plane's loop."""
    dispatcher = Dispatcher()
    try:
        dispatcher.run_until_complete(scenario(dispatcher))
    finally:
        dispatcher.close()


async def until(reached: Callable[[], bool]) -> None:
    """Wait for a state."""
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 - what is watched cannot set an event
            await asyncio.sleep(0.001)


def move(path: Path, content: str) -> None:
    """Replace a file at once."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(content)
    new.rename(path)


def deliver(path: Path, *secrets: dict[str, Any], version: str = "1") -> None:
    """A discovery response with these secrets."""
    resources = [{"@type": TYPE, **secret} for secret in secrets]
    move(path, json.dumps({"version_info": version, "resources": resources}))


def certificate(name: str, chain: object, key: object = "key", **more: object) -> dict[str, Any]:
    """A secret that is a certificate; paths are files, texts are inline."""
    return {"name": name, TLS_CERTIFICATE: {"certificate_chain": _source(chain), "private_key": _source(key), **more}}


def _source(value: object) -> dict[str, str]:
    return {"filename": str(value)} if isinstance(value, Path) else {"inline_string": str(value)}


def by_sds(name: str, path: Path) -> Any:
    """The reference to a secret that is discovered."""
    config: Any = tls_pb2.CommonTlsContext().tls_certificate_sds_secret_configs.add(name=name)
    config.sds_config.path_config_source.path = str(path)
    return config


def secret(**fields: Any) -> Any:
    """A ``Secret`` message."""
    return secret_pb2.Secret(**fields)


def text_of(source: Any) -> str:
    """What a data source holds inline."""
    return source.inline_string or source.inline_bytes.decode()


class Main:
    """A secret manager, and what it told the workers."""

    def __init__(self, dispatcher: Dispatcher | None, node: Any = NODE) -> None:
        self.store = MainStore()
        validation = DynamicValidation(LoadOptions())
        self.manager = SecretManager(
            self.store,
            node,
            dispatcher,
            lambda: validation,
            XdsManager(dispatcher, None, node, self.store, lambda: validation),
        )
        self.told: list[tuple[str, bytes | None]] = []
        self.manager.on_change = lambda key, data: self.told.append((key, data))

    def counters(self) -> dict[str, int]:
        """Those that are not 0."""
        return {one.name: one.value for one in StatsView(self.store).counters() if one.value}


class User:
    """Builds a text from a certificate and files; refuses what holds "bad"."""

    def __init__(self, store: Any, message: Any, *paths: Path, sds: Any = None) -> None:
        self._paths = paths
        self._sds = sds
        self.context = ""
        self.builds = 0
        self._updates: list[int] = []
        self.sources = store.sources(message, self._build, self._updates.append)

    @property
    def updates(self) -> int:
        """How many secrets it took over from their subscriptions."""
        return sum(self._updates)

    def begin(self) -> "User":
        """The first build."""
        self.sources.begin()
        return self

    def _build(self) -> None:
        parts = [self.sources.read(str(path)).decode() for path in self._paths]
        if self._sds is not None:
            found = self.sources.find(TLS_CERTIFICATE, self._sds)
            parts.append("-" if found is None else text_of(found.certificate_chain))
        text = " ".join(parts)
        if "bad" in text:
            raise ConfigError(f"cannot use {text}")
        self.context = text
        self.builds += 1


@contextlib.contextmanager
def closing(main: Main) -> Any:
    """End watches, whatever happens."""
    try:
        yield main
    finally:
        main.manager.close()
