"""The configured router filter (Envoy: ``Router::FilterConfig``): what all its requests share."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from proxeny.event.time_source import RealTimeSource, TimeSource
from proxeny.http.filter_compiler import UPSTREAM_FILTERS, compile_filters
from proxeny.kernel.timer import TimerWheel
from proxeny.router.stats import ROUTER
from proxeny.router.upstream_log import UpstreamLog

if TYPE_CHECKING:
    from proxeny.http.filter_chain import FilterChain
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

_random_bits: Final = random.Random().getrandbits


class RouterConfig:
    """Compiled from an ``envoy.extensions.filters.http.router.v3.Router`` message (None: all defaults)."""

    __slots__ = (
        "_mirror_config",
        "clock",
        "emit_dynamic_stats",
        "get_cluster",
        "insert_envoy_headers",
        "random_value",
        "respect_expected_timeout",
        "runtime",
        "stats",
        "strict_check_headers",
        "suppress_grpc_failure_stats",
        "upstream_chain",
        "upstream_log",
        "wheel",
        "zone",
    )

    _mirror_config: RouterConfig | None

    def __init__(self, config: Any, stats_prefix: str, context: FactoryContext) -> None:
        self.stats = context.stats.block(ROUTER, stats_prefix)
        dispatcher = context.dispatcher
        # Past the dispatcher: both are asked several times for every request (main serves none).
        self.clock: TimeSource = RealTimeSource() if dispatcher is None else dispatcher.time_source
        self.wheel: TimerWheel = TimerWheel() if dispatcher is None else dispatcher.wheel
        self.get_cluster: Callable[[str], Any] = context.cluster_manager.get if context.cluster_manager else _no_cluster
        self.runtime: Any = context.runtime
        self.random_value: Callable[[], int] = getattr(context.random, "random", None) or _any_number
        self.zone: str = context.local_info.zone
        self._mirror_config = None
        self.emit_dynamic_stats = True
        self.insert_envoy_headers = True
        self.respect_expected_timeout = False
        self.suppress_grpc_failure_stats = False
        self.strict_check_headers: tuple[bytes, ...] = ()
        self.upstream_chain: FilterChain | None = None
        """``upstream_http_filters``, which every attempt passes through; None = none."""
        self.upstream_log: UpstreamLog | None = None
        if config is not None:
            if config.HasField("dynamic_stats"):
                self.emit_dynamic_stats = config.dynamic_stats.value
            self.insert_envoy_headers = not config.suppress_envoy_headers
            self.respect_expected_timeout = config.respect_expected_rq_timeout
            self.suppress_grpc_failure_stats = config.suppress_grpc_request_failure_code_stats
            self.strict_check_headers = tuple([name.encode("utf-8") for name in config.strict_check_headers])
            if config.upstream_log:
                self.upstream_log = UpstreamLog(config, context)
            if config.upstream_http_filters:
                self.upstream_chain = compile_filters(
                    config.upstream_http_filters, stats_prefix, context, UPSTREAM_FILTERS
                )

    def with_stats(self, stats: Block) -> RouterConfig:
        """The same options for mirrors, which count elsewhere."""
        config = self._mirror_config
        if config is None:
            config = RouterConfig.__new__(RouterConfig)
            for name in self.__slots__:
                setattr(config, name, getattr(self, name))
            config.stats = stats
            config.upstream_log = None
            self._mirror_config = config
        return config


def _any_number() -> int:
    return _random_bits(64)


def _no_cluster(name: str) -> None:
    """Main has no clusters to route to."""
    return None
