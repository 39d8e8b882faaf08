"""``envoy.load_balancing_policies.override_host``: requests name their hosts, in a header or in metadata; those
that do not are served by another policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.config.errors import ConfigError
from proxeny.formatter.values import metadata_value
from proxeny.upstream.load_balancer.base import choose_none
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.policy import compile_children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import Store
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LbSetting, LoadBalancer

STATE_KEY: Final = "envoy.load_balancing_policies.override_host.filter_state"
"""Where a request keeps which of its hosts come next: every attempt takes another one."""
_BLANKS: Final = " \t\r\n\v\f"


class Source:
    """One place where hosts are named."""

    __slots__ = ("_header", "_namespace", "_path")

    def __init__(self, config: Any) -> None:
        self._header: bytes = config.header.lower().encode("utf-8")
        if not self._header and not config.HasField("metadata"):
            raise ConfigError("Empty override source")
        if self._header and config.HasField("metadata"):
            raise ConfigError("Only one override source must be set")
        self._namespace: str = config.metadata.key
        self._path = tuple([segment.key for segment in config.metadata.path])

    def text(self, context: Any) -> str | None:
        """What it says; None: nothing."""
        if self._header:
            headers = context.downstream_headers
            value = None if headers is None else headers.get(self._header)
            return None if value is None else value.decode("latin-1")
        found = metadata_value(context.request_stream_info.dynamic_metadata_map, self._namespace, self._path)
        return found if isinstance(found, str) else None


class OverrideHostPolicy(LbPolicy):
    """The compiled policy."""

    __slots__ = ("fallback", "sources")

    kind: ClassVar[str] = "override_host"

    def __init__(self, sources: tuple[Source, ...], fallback: LbPolicy) -> None:
        self.sources = sources
        self.fallback = fallback

    @property
    def shows_members(self) -> bool:  # type: ignore[override]
        """As the policy below it."""
        return self.fallback.shows_members

    def create(self, setting: LbSetting) -> OverrideHostLoadBalancer:
        """The load balancer of a worker."""
        return OverrideHostLoadBalancer(setting, self)

    def allot(self, store: Store, prefix: str) -> None:
        """Those of the policy below it."""
        self.fallback.allot(store, prefix)

    def show_members(self, setting: LbSetting) -> None:
        """Likewise."""
        self.fallback.show_members(setting)


class OverrideHostLoadBalancer:
    """The load balancer of one cluster in one worker."""

    __slots__ = ("_fallback", "_policy", "_setting", "choose_host")

    def __init__(self, setting: LbSetting, policy: OverrideHostPolicy) -> None:
        self._setting = setting
        self._policy = policy
        self._fallback: LoadBalancer = policy.fallback.create(setting)
        self.choose_host: Callable[[Any], Host | None] = self._choose

    def refresh(self) -> None:
        """The hosts, their health or their weights changed."""
        self._fallback.refresh()

    def _choose(self, context: Any) -> Host | None:
        return self._named(context) or self._fallback.choose_host(context)

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """Named hosts go first."""
        return self._named(context) or self._fallback.choose_host_by(determine, context)

    def _named(self, context: Any) -> Host | None:
        """The next host that the request names, whatever its health."""
        info = None if context is None else context.request_stream_info
        if info is None:
            return None
        state = info.filter_state_map
        names: Iterator[str] | None = None if state is None else state.get(STATE_KEY)
        if names is None:
            names = info.filter_state[STATE_KEY] = iter(self._names(context))
        for name in names:
            host = self._setting.priority_set.find(name)
            if host is not None:
                return host
        return None

    def _names(self, context: Any) -> list[str]:
        texts = [source.text(context) for source in self._policy.sources]
        names = [name.strip(_BLANKS) for text in texts if text is not None for name in text.split(",")]
        return [name for name in names if name]

    def statistics(self) -> dict[str, Any]:
        """For admin pages: what the policy below has to say."""
        return {**self._fallback.statistics(), "policy": self._policy.kind}

    def close(self) -> None:
        """The cluster goes."""
        self._fallback.close()
        self.choose_host = choose_none


class OverrideHostFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> OverrideHostPolicy:
        """``config``: an ``OverrideHost``."""
        sources = tuple([Source(source) for source in config.override_host_sources])
        return OverrideHostPolicy(sources, compile_children(config.fallback_policy, cluster, context))

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> OverrideHostPolicy:
        """No older field of a Cluster names this policy."""
        raise ConfigError("override_host is a load_balancing_policy")


FACTORY: Final = OverrideHostFactory()
