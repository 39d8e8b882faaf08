"""``RouteConfiguration`` compiled: host name to virtual host to route (Envoy: ``ConfigImpl``, ``RouteMatcher``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.router.cluster_specifier import compile_specifiers
from proxeny.router.header_mutation import compile_mutation
from proxeny.router.per_filter_config import PerFilterConfigs
from proxeny.router.reuse import MANY_ROUTES, Claims, Digests, Origin, digest_without
from proxeny.router.route import Route, RouteConfigInfo
from proxeny.router.route_compiler import filter_metadata
from proxeny.router.shadow import compile_mirrors
from proxeny.router.virtual_host import VirtualHostRoutes, compile_virtual_host_steps

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.rds.stats_holder import StatsHolder

_DEFAULT_MAX_DIRECT_RESPONSE_BODY: Final = 4096
"""``max_direct_response_body_size_bytes`` when unset."""

Wildcards = tuple[tuple[int, dict[bytes, VirtualHostRoutes]], ...]


class RouteTable:
    """Immutable; replaced as a whole by an update."""

    __slots__ = (
        "_default",
        "_exact",
        "_host_header",
        "_ignore_port",
        "_only_default",
        "_prefixes",
        "_suffixes",
        "info",
        "name",
        "origin",
        "virtual_hosts",
    )

    def __init__(
        self,
        info: RouteConfigInfo,
        origin: Origin,
        virtual_hosts: tuple[VirtualHostRoutes, ...],
        domains: DomainTable,
        ignore_port: bool,
        host_header: bytes,
    ) -> None:
        """``host_header``: the header whose value is looked for among the domains."""
        self.info = info
        self.origin = origin
        """What it was compiled from, its virtual hosts aside."""
        self.virtual_hosts = virtual_hosts
        """All of them, as configured."""
        self.name = info.name
        self._default = domains.default
        self._exact = domains.exact
        self._suffixes = domains.longest_suffixes
        self._prefixes = domains.longest_prefixes
        self._only_default = not (domains.exact or domains.suffixes or domains.prefixes)
        self._ignore_port = ignore_port
        self._host_header = host_header

    @classmethod
    def compile(cls, config: Any, context: FactoryContext, validate_clusters_default: bool = True) -> RouteTable:
        """From a ``RouteConfiguration`` message; ConfigError in Envoy's words.

        ``validate_clusters_default``: True for static configurations, False for RDS (Envoy's defaults).
        """
        return finish(cls.compile_steps(config, context, None, validate_clusters_default))

    @classmethod
    def compile_steps(
        cls,
        config: Any,
        context: FactoryContext,
        previous: RouteTable | None = None,
        validate_clusters_default: bool = True,
        digests: Digests | None = None,
    ) -> Steps[RouteTable]:
        """``compile`` in slices; virtual hosts and routes of ``previous``, made with the same context, are taken over
        where they say the same. ``digests``: of ``config``, where somebody made them already."""
        validate = config.validate_clusters.value if config.HasField("validate_clusters") else validate_clusters_default
        origin = Origin(digest_without(config, "virtual_hosts"), Claims(context.stats))
        kept: dict[str, VirtualHostRoutes] = {}
        # Whether the clusters of unchanged routes are still there has to be looked up again.
        rechecks = validate and context.cluster_names is not None
        if previous is not None and previous.origin.digest == origin.digest and not rechecks:
            info, origin.claims = previous.info, previous.origin.claims
            origin.renew()
            kept = yield from _by_name(previous.virtual_hosts)
        else:
            info = _compile_info(config, replace(context, stats=origin.claims))
        domains = DomainTable(config.name)
        hosts = []
        for number, host in enumerate(config.virtual_hosts):
            before, known = kept.get(host.name), None if digests is None else digests.find(number)
            if before is not None and known is not None and known[0] == before.origin.digest:
                before.origin.renew()
                routes = before
            else:
                routes = yield from compile_virtual_host_steps(host, info, context, validate, before, known)
            hosts.append(routes)
            for domain in host.domains:
                domains.add(domain, routes)
            if routes is not before or not number & 15:
                yield
        host_header = config.vhost_header.lower().encode("utf-8") or b":authority"
        yield from domains.freeze_steps()
        return cls(info, origin, tuple(hosts), domains, config.ignore_port_in_host_matching, host_header)

    @property
    def internal_only_headers(self) -> tuple[bytes, ...]:
        """Names that are removed from external requests."""
        return self.info.internal_only_headers

    def digests(self) -> Digests:
        """What its virtual hosts were compiled from."""
        return Digests.of([host.origin for host in self.virtual_hosts])

    def hold_steps(self, holder: StatsHolder) -> Steps[None]:
        """What counts for this table keeps ``holder`` alive, and no longer that of an earlier one."""
        self.info.stats_holder = holder
        for number, host in enumerate(self.virtual_hosts):
            host.virtual_host.stats_holder = holder
            if not number & 255:
                yield

    def parts(self) -> list[Any]:
        """What to let go of bit by bit (``event.slices.discard_steps``) when the table is no longer used."""
        large = [host for host in self.virtual_hosts if len(host.routes) > MANY_ROUTES]
        return [*(route for host in large for route in host.routes), *self.virtual_hosts]

    def route(self, headers: HeaderMap, stream_info: StreamInfo | None, random_value: int) -> Route | None:
        """The route of a request, None when nothing matches."""
        host = self._default if self._only_default else self._find_virtual_host(headers)
        return host.route(headers, stream_info, random_value) if host is not None else None

    def _find_virtual_host(self, headers: HeaderMap) -> VirtualHostRoutes | None:
        """Exact name, else the longest suffix, else the longest prefix, else ``*``."""
        host = headers.get(self._host_header)
        if host is None:
            return None
        if self._ignore_port:
            host = host[: port_start(host)]
        host = host.lower()
        found = self._exact.get(host)
        if found is not None:
            return found
        size = len(host)
        # A wildcard stands for at least one byte.
        for length, suffixes in self._suffixes:
            if length < size:
                found = suffixes.get(host[size - length :])
                if found is not None:
                    return found
        for length, prefixes in self._prefixes:
            if length < size:
                found = prefixes.get(host[:length])
                if found is not None:
                    return found
        return self._default


class DomainTable:
    """Collects the domains of a configuration; each may be there once."""

    def __init__(self, route_name: str) -> None:
        self._route_name = route_name
        self.default: VirtualHostRoutes | None = None
        self.exact: dict[bytes, VirtualHostRoutes] = {}
        self.suffixes: dict[bytes, VirtualHostRoutes] = {}
        self.prefixes: dict[bytes, VirtualHostRoutes] = {}
        self.longest_suffixes: Wildcards = ()
        self.longest_prefixes: Wildcards = ()

    def freeze_steps(self) -> Steps[None]:
        """All were added: order the wildcards, in slices."""
        self.longest_suffixes = yield from _by_length(self.suffixes)
        self.longest_prefixes = yield from _by_length(self.prefixes)

    def add(self, domain: str, routes: VirtualHostRoutes) -> None:
        """One domain of ``routes``'s virtual host."""
        name = domain.encode("utf-8").lower()
        if name == b"*":
            if self.default is not None:
                raise ConfigError(f"Only a single wildcard domain is permitted in route {self._route_name}")
            self.default = routes
            return
        if name.startswith(b"*"):
            table, key = self.suffixes, name[1:]
        elif name.endswith(b"*"):
            table, key = self.prefixes, name[:-1]
        else:
            table, key = self.exact, name
        if key in table:
            raise ConfigError(
                "Only unique values for domains are permitted. Duplicate entry of domain "
                f"{name.decode('utf-8')} in route {self._route_name}"
            )
        table[key] = routes


def _by_length(table: dict[bytes, VirtualHostRoutes]) -> Steps[Wildcards]:
    lengths: dict[int, dict[bytes, VirtualHostRoutes]] = {}
    for number, (text, routes) in enumerate(table.items()):
        lengths.setdefault(len(text), {})[text] = routes
        if not number & 255:
            yield
    return tuple(sorted(lengths.items(), reverse=True))


def _by_name(hosts: tuple[VirtualHostRoutes, ...]) -> Steps[dict[str, VirtualHostRoutes]]:
    made = {}
    for number, host in enumerate(hosts):
        made[host.name] = host
        if not number & 255:
            yield
    return made


def port_start(host: bytes) -> int:
    """Where ``:port`` begins in an authority; its length when there is none."""
    colon = host.rfind(b":")
    if colon < 0 or host.rfind(b"]") > colon:
        return len(host)
    return colon


def _compile_info(config: Any, context: FactoryContext) -> RouteConfigInfo:
    info = RouteConfigInfo(config.name)
    info.mirrors = compile_mirrors(config.request_mirror_policies, context)
    info.internal_only_headers = tuple([name.lower().encode("utf-8") for name in config.internal_only_headers])
    info.most_specific_wins = config.most_specific_header_mutations_wins
    info.uses_vhds = config.HasField("vhds")
    info.ignore_path_parameters = config.ignore_path_parameters_in_path_matching
    if config.HasField("max_direct_response_body_size_bytes"):
        info.max_direct_response_body_size = config.max_direct_response_body_size_bytes.value
    info.request_mutation = compile_mutation(config.request_headers_to_add, config.request_headers_to_remove)
    info.response_mutation = compile_mutation(config.response_headers_to_add, config.response_headers_to_remove)
    info.cluster_plugins = compile_specifiers(config.cluster_specifier_plugins, context)
    info.per_filter = PerFilterConfigs.compile(config.typed_per_filter_config, context)
    if config.HasField("metadata"):
        info.metadata = filter_metadata(config.metadata)
    return info
