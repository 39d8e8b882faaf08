"""``envoy.filters.listener.local_ratelimit``: connections beyond a rate are closed at once."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from proxeny.listener.filter import ListenerFilter
from proxeny.network.filter import FilterStatus
from proxeny.network.token_bucket import compile_token_bucket
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.listener.local_ratelimit"
STATS: Final = Schema("listener_local_ratelimit", counters=("rate_limited",))
RATE_LIMITED: Final = STATS.slot("rate_limited")


class LocalRateLimitConfig:
    """The compiled message."""

    __slots__ = ("_default", "_key", "_runtime", "bucket", "stats")

    def __init__(self, message: Any, context: FactoryContext) -> None:
        self.stats = context.stats.block(STATS, f"listener_local_ratelimit.{message.stat_prefix}.")
        # A changed limit is another bucket: what was drawn from the old one does not count.
        content = blake2b(message.SerializeToString(deterministic=True), digest_size=16).hexdigest()
        self.bucket = compile_token_bucket(message.token_bucket, f"{context.listener_name}|{NAME}|{content}", context)
        flag = message.runtime_enabled
        self._runtime = context.runtime
        self._key = flag.runtime_key
        self._default = flag.default_value.value if flag.HasField("default_value") else True

    @property
    def enabled(self) -> bool:
        """As the runtime says, or else the configuration."""
        if not self._key or self._runtime is None:
            return self._default
        return bool(self._runtime.get_boolean(self._key, self._default))


class LocalRateLimit(ListenerFilter):
    """Draws a token for one socket."""

    __slots__ = ("_config",)

    def __init__(self, config: LocalRateLimitConfig) -> None:
        self._config = config

    def on_accept(self) -> FilterStatus:
        """Without a token the socket is closed."""
        config = self._config
        if not config.enabled or config.bucket.consume(self.socket.dispatcher.monotonic_ns()):
            return FilterStatus.CONTINUE
        config.stats.inc(RATE_LIMITED)
        self.socket.close()
        return FilterStatus.STOP_ITERATION


class LocalRateLimitFactory:
    """The listener filter factory."""

    __slots__ = ("_config",)

    name = NAME

    def __init__(self, config: LocalRateLimitConfig) -> None:
        self._config = config

    def create(self) -> LocalRateLimit:
        """The filter of one socket."""
        return LocalRateLimit(self._config)


class LocalRateLimitExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> LocalRateLimitFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return LocalRateLimitFactory(LocalRateLimitConfig(config, context))


FACTORY = LocalRateLimitExtension()
