"""``Route`` messages of one virtual host to runtime routes (Envoy: ``RouteEntryImplBase``'s constructor).

Written for 10,000 routes at a time: what a route has in common with others of its virtual host is found by the bytes of
its message and compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from envoy.config.route.v3 import route_components_pb2
from google.protobuf.json_format import MessageToDict

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.http.hash_policy import compile_hash_policy
from proxeny.http.tracing import Sampling
from proxeny.http.upgrades import upgrade_type
from proxeny.router.cluster_specifier import SpecifiedClusters, compile_specifier
from proxeny.router.connect_config import compile_connect_config
from proxeny.router.cors_policy import CorsPolicy
from proxeny.router.direct_response import DirectResponseEntry, RedirectEntry, WatchedResponseEntry, read_data_source
from proxeny.router.durations import milliseconds, optional_milliseconds
from proxeny.router.header_mutation import HeaderMutation, combine, compile_mutation
from proxeny.router.internal_redirect import compile_internal_redirect
from proxeny.router.path_policy import PolicyRewrite, check_rewrites, compile_pattern, compile_rewriter
from proxeny.router.path_rewrite import WHOLE_PATH, HostRewrite, PathRewrite, TemplateRewrite
from proxeny.router.per_filter_config import PerFilterConfigs
from proxeny.router.rate_limit import compile_rate_limits
from proxeny.router.retry_policy import RetryPolicy
from proxeny.router.route import NO_EXTRA, Route, RouteEntry, RouteExtra, RoutePolicy, VirtualHost
from proxeny.router.route_condition import RouteCondition
from proxeny.router.route_list import RouteList
from proxeny.router.shadow import compile_mirrors
from proxeny.router.virtual_cluster import route_stats
from proxeny.router.weighted_cluster import WeightedClusters
from proxeny.upstream.metadata_criteria import LB_NAMESPACE, criteria_of

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.path_policy import PathPattern
    from proxeny.router.reuse import RouteReuse

Mutations = tuple[HeaderMutation, ...]

_NOT_FOUND_CODES: Final = (503, 404, 500)
"""By ``RouteAction.ClusterNotFoundResponseCode``."""

_FEW_POLICIES: Final = 64

_LITERAL_KINDS: Final = frozenset(("prefix", "path", "path_separated_prefix"))


def filter_metadata(message: Any) -> dict[str, Any]:
    """``core.v3.Metadata`` as plain dictionaries by namespace."""
    return {name: MessageToDict(struct) for name, struct in message.filter_metadata.items()}


class RouteCompiler:
    """Compiles the routes of one virtual host. ConfigError in Envoy's words."""

    def __init__(self, virtual_host: VirtualHost, context: FactoryContext, validate_clusters: bool) -> None:
        self.virtual_host = virtual_host
        self._context = context
        self._clusters = context.cluster_names if validate_clusters else None
        self._most_specific_wins = virtual_host.config.most_specific_wins
        self._request_base = self._combine_request(None)
        self._response_base = self._combine_response(None)
        self._policies: dict[bytes, RoutePolicy] = {}
        self._most_policies = _FEW_POLICIES
        self.rereads = False
        """Whether a route holds what a file or the environment said when it was compiled."""
        self._default_policy = compile_policy(route_components_pb2.RouteAction(), virtual_host, context)

    def compile_list(self, configs: Sequence[Any]) -> RouteList:
        """Some routes, of which the first that matches counts."""
        return finish(self.compile_list_steps(configs))

    def compile_list_steps(self, configs: Sequence[Any], reuse: RouteReuse | None = None) -> Steps[RouteList]:
        """``compile_list`` in slices; ``reuse`` has those that need not be compiled."""
        patterns: dict[int, PathPattern] = {}
        routes: list[Route] = []
        while (number := len(routes)) < len(configs):
            config = configs[number]
            known = () if reuse is None else reuse.run(config)
            if known:
                routes += known
                yield
                continue
            pattern = compile_pattern(config.match, self._context)
            if pattern is not None:
                patterns[number] = pattern
            route = self.compile(config, pattern)
            if reuse is not None:
                reuse.made(number, route)
            routes.append(route)
            if not number & 7:
                yield
        ignores_parameters = self.virtual_host.config.ignore_path_parameters
        before = None if reuse is None else reuse.finish()
        if before is not None:
            return RouteList(tuple(routes), before.index, ignores_parameters)
        return (yield from self._index(configs, routes, patterns, ignores_parameters))

    def _index(
        self, configs: Sequence[Any], routes: list[Route], patterns: dict[int, PathPattern], ignores_parameters: bool
    ) -> Steps[RouteList]:
        """``patterns``: of the routes that were compiled just now."""
        matches = []
        for number, config in enumerate(configs):
            match = config.match
            matches.append(match)
            if number not in patterns and match.HasField("path_match_policy"):
                pattern = compile_pattern(match, self._context)
                if pattern is not None:
                    patterns[number] = pattern
            if not number & 63:
                yield
        return (yield from RouteList.build_steps(routes, matches, patterns, ignores_parameters))

    def forget_unused(self, routes: Sequence[Route]) -> None:
        """Keep only policies that one of ``routes`` has; of use once updates brought many others."""
        if len(self._policies) <= self._most_policies:
            return
        used = {id(route.entry.policy) for route in routes if isinstance(route.entry, RouteEntry)}
        self._policies = {key: policy for key, policy in self._policies.items() if id(policy) in used}
        self._most_policies = 2 * len(self._policies) + _FEW_POLICIES

    def compile(self, config: Any, pattern: PathPattern | None) -> Route:
        """One route; ``pattern`` is its ``path_match_policy``."""
        match = config.match
        kind = match.WhichOneof("path_specifier")
        if kind is None:
            raise ConfigError("Invalid route config")
        matched = len(getattr(match, kind).encode("utf-8")) if kind in _LITERAL_KINDS else WHOLE_PATH
        check_rewrites(config, pattern)
        request, response = self._mutations(config)
        weighted: WeightedClusters | SpecifiedClusters | None = None
        entry: RouteEntry | DirectResponseEntry
        action = config.WhichOneof("action")
        if action == "route":
            policy = self._policy(config, pattern)
            entry = self._route_entry(config.route, policy, matched, request, response)
            if config.route.HasField("weighted_clusters"):
                weighted = self._weighted(config, policy, pattern, matched, request, response)
            else:
                weighted = self._specified(config, policy, matched, request, response)
        elif action == "redirect":
            entry = RedirectEntry(self.virtual_host, config.redirect, matched, response)
        elif action == "direct_response":
            entry = self._direct_response(config.direct_response, matched, response)
        else:
            # Envoy forwards a non_forwarding_action, and a filter_action, to a cluster without name: 503 with flag NC.
            entry = RouteEntry(self.virtual_host, self._default_policy, "", matched, request, response)
        per_filter = PerFilterConfigs.compile(config.typed_per_filter_config, self._context)
        condition = RouteCondition.compile(match, kind, self._context.runtime)
        if isinstance(weighted, WeightedClusters) and weighted.by_runtime:
            condition = condition or RouteCondition()
            condition.state += (weighted,)
        return Route(config.name, self.virtual_host, entry, per_filter, self._extra(config), condition, weighted)

    def _extra(self, config: Any) -> RouteExtra:
        has_decorator = config.HasField("decorator")
        has_tracing = config.HasField("tracing")
        if not (has_decorator or has_tracing or config.stat_prefix or config.HasField("metadata")):
            return NO_EXTRA
        decorator = config.decorator
        propagate = decorator.propagate.value if decorator.HasField("propagate") else True
        stats = route_stats(self.virtual_host.name, config.stat_prefix, self._context)
        sampling = Sampling.of_route(config.tracing) if has_tracing else None
        operation = decorator.operation if has_decorator else ""
        return RouteExtra(filter_metadata(config.metadata), operation, propagate, sampling, stats)

    def _mutations(self, config: Any) -> tuple[Mutations, Mutations]:
        request, response = self._request_base, self._response_base
        if config.request_headers_to_add or config.request_headers_to_remove:
            request = self._combine_request(
                compile_mutation(config.request_headers_to_add, config.request_headers_to_remove)
            )
        if config.response_headers_to_add or config.response_headers_to_remove:
            response = self._combine_response(
                compile_mutation(config.response_headers_to_add, config.response_headers_to_remove)
            )
        return request, response

    def _combine_request(self, own: HeaderMutation | None) -> Mutations:
        host = self.virtual_host
        return combine((own, host.request_mutation, host.config.request_mutation), self._most_specific_wins)

    def _combine_response(self, own: HeaderMutation | None) -> Mutations:
        host = self.virtual_host
        return combine((own, host.response_mutation, host.config.response_mutation), self._most_specific_wins)

    def _check_cluster(self, name: str, words: str) -> None:
        if self._clusters is not None and name and name not in self._clusters:
            raise ConfigError(f"route: unknown {words} '{name}'")

    def _route_entry(
        self, action: Any, policy: RoutePolicy, matched: int, request: Mutations, response: Mutations
    ) -> RouteEntry:
        cluster = intern(action.cluster)
        if cluster:
            self._check_cluster(cluster, "cluster")
        for mirror in policy.mirrors:
            mirror.check_cluster(self._clusters)
        header = action.cluster_header.lower().encode("utf-8")
        return RouteEntry(self.virtual_host, policy, cluster, matched, request, response, header)

    def _policy(self, config: Any, pattern: PathPattern | None) -> RoutePolicy:
        """The policy of a ``route`` action; one object for all that say the same."""
        action = config.route
        limit = _buffer_limit(config)
        if limit is None and len(action.ListFields()) == 1 and action.cluster:
            return self._default_policy
        bare = type(action)()
        bare.CopyFrom(action)
        for field in (
            "cluster",
            "cluster_header",
            "weighted_clusters",
            "inline_cluster_specifier_plugin",
            "cluster_specifier_plugin",
        ):
            bare.ClearField(field)
        key = bare.SerializeToString(deterministic=True) + b"%d" % (-1 if limit is None else limit)
        if pattern is not None:
            key += pattern.template
        policy = self._policies.get(key)
        if policy is None:
            policy = self._policies[key] = compile_policy(action, self.virtual_host, self._context)
            rewriter = compile_rewriter(action, pattern, self._context)
            if rewriter is not None:
                policy.path_rewrite = PolicyRewrite(rewriter)
            policy.request_buffer_limit = limit
            policy.freeze()
        return policy

    def _weighted(
        self,
        config: Any,
        policy: RoutePolicy,
        pattern: PathPattern | None,
        matched: int,
        request: Mutations,
        response: Mutations,
    ) -> WeightedClusters:
        clusters = config.route.weighted_clusters
        for one in clusters.clusters:
            if not one.HasField("weight"):
                raise ConfigError(f"Field 'weight' is missing in: {str(one).strip()}")
        routes = []
        for one in clusters.clusters:
            own = self._policy(_asking_for(config, one), pattern) if one.HasField("metadata_match") else policy
            routes.append(self._weighted_route(config, one, own, matched, request, response))
        made = WeightedClusters(
            routes,
            [one.name for one in clusters.clusters],
            [one.weight.value for one in clusters.clusters],
            config.name,
            clusters.header_name.lower().encode("utf-8"),
            clusters.runtime_key_prefix,
            self._context.runtime,
            policy.hash_policy if clusters.use_hash_policy.value else None,
        )
        if not self._context.is_worker:
            made.check_runtime()
        return made

    def _specified(
        self, config: Any, policy: RoutePolicy, matched: int, request: Mutations, response: Mutations
    ) -> SpecifiedClusters | None:
        """Of a route whose cluster a plugin names."""
        action = config.route
        if action.HasField("inline_cluster_specifier_plugin"):
            specifier = compile_specifier(action.inline_cluster_specifier_plugin, self._context)
        elif action.cluster_specifier_plugin:
            name = action.cluster_specifier_plugin
            known = self.virtual_host.config.cluster_plugins
            if name not in known:
                raise ConfigError(f"Unknown cluster specifier plugin name: {name} is used in the route")
            specifier = known[name]
        else:
            return None
        host, extra = self.virtual_host, self._extra(config)
        per_filter = PerFilterConfigs.compile(config.typed_per_filter_config, self._context)
        route_name = config.name

        def make(cluster: str) -> Route:
            entry = RouteEntry(host, policy, cluster, matched, request, response)
            return Route(route_name, host, entry, per_filter, extra)

        return SpecifiedClusters(specifier, make)

    def _weighted_route(
        self, config: Any, one: Any, policy: RoutePolicy, matched: int, request: Mutations, response: Mutations
    ) -> Route:
        if bool(one.name) == bool(one.cluster_header):
            words = "Only one of name or cluster_header can be specified"
            raise ConfigError(words if one.name else "At least one of name or cluster_header need to be specified")
        self._check_cluster(one.name, "weighted cluster")
        # A weighted cluster's own mutations come first whatever most_specific_header_mutations_wins says.
        own_request = compile_mutation(one.request_headers_to_add, one.request_headers_to_remove)
        own_response = compile_mutation(one.response_headers_to_add, one.response_headers_to_remove)
        entry = RouteEntry(
            self.virtual_host,
            policy,
            one.name,
            matched,
            (own_request, *request) if own_request else request,
            (own_response, *response) if own_response else response,
            one.cluster_header.lower().encode("utf-8"),
            one.host_rewrite_literal.encode("utf-8"),
        )
        below = PerFilterConfigs.compile(config.typed_per_filter_config, self._context)
        own = PerFilterConfigs.compile(one.typed_per_filter_config, self._context)
        per_filter = below if own is None else own.above(below)
        return Route(config.name, self.virtual_host, entry, per_filter, self._extra(config))

    def _direct_response(self, config: Any, matched: int, response: Mutations) -> DirectResponseEntry:
        entry = DirectResponseEntry(self.virtual_host, config.status, b"", matched, response)
        if config.HasField("body"):
            limit = self.virtual_host.config.max_direct_response_body_size
            entry.body = read_data_source(config.body, limit)
            self.rereads |= _may_change(config.body)
            if config.body.HasField("watched_directory") and config.body.filename and self._context.is_worker:
                entry = WatchedResponseEntry(entry, config.body, limit)
        if config.HasField("body_format"):
            from proxeny.formatter.format_string import compile_format_string

            compiled = compile_format_string(config.body_format)
            self.rereads |= _may_change(config.body_format.text_format_source)
            entry.formatter = compiled.formatter
            entry.content_type = compiled.content_type
        return entry


def _may_change(source: Any) -> bool:
    """Whether a ``DataSource`` may say something else another time."""
    return source.WhichOneof("specifier") in ("filename", "environment_variable")


def _asking_for(config: Any, weighted: Any) -> Any:
    """The route, asking for the endpoint metadata that one of its weighted clusters adds."""
    added = weighted.metadata_match.filter_metadata
    if LB_NAMESPACE not in added:
        return config
    merged = type(config)()
    merged.CopyFrom(config)
    fields = merged.route.metadata_match.filter_metadata[LB_NAMESPACE].fields
    for name, value in added[LB_NAMESPACE].fields.items():
        fields[name].CopyFrom(value)
    return merged


def _buffer_limit(config: Any) -> int | None:
    if config.HasField("request_body_buffer_limit"):
        return int(config.request_body_buffer_limit.value)
    if config.HasField("per_request_buffer_limit_bytes"):
        return int(config.per_request_buffer_limit_bytes.value)
    return None


def compile_policy(action: Any, host: VirtualHost, context: FactoryContext) -> RoutePolicy:
    """All of a ``RouteAction`` but its cluster."""
    own_retries = action.HasField("retry_policy")
    policy = RoutePolicy(RetryPolicy.compile(action.retry_policy) if own_retries else host.retry_policy)
    policy.hedge_on_per_try_timeout = host.hedge_on_per_try_timeout
    if action.HasField("hedge_policy"):
        policy.hedge_on_per_try_timeout = action.hedge_policy.hedge_on_per_try_timeout
    policy.mirrors = compile_mirrors(action.request_mirror_policies, context) or host.mirrors
    if action.HasField("timeout"):
        policy.timeout_ms = milliseconds(action.timeout)
    policy.idle_timeout_ms = optional_milliseconds(action, "idle_timeout")
    policy.flush_timeout_ms = optional_milliseconds(action, "flush_timeout")
    policy.max_grpc_timeout_ms = optional_milliseconds(action, "max_grpc_timeout")
    policy.grpc_timeout_offset_ms = optional_milliseconds(action, "grpc_timeout_offset")
    if action.HasField("max_stream_duration"):
        durations = action.max_stream_duration
        policy.using_new_timeouts = True
        policy.max_stream_duration_ms = optional_milliseconds(durations, "max_stream_duration")
        policy.grpc_timeout_header_max_ms = optional_milliseconds(durations, "grpc_timeout_header_max")
        policy.grpc_timeout_header_offset_ms = optional_milliseconds(durations, "grpc_timeout_header_offset")
    policy.priority = action.priority
    policy.cluster_not_found_response_code = _NOT_FOUND_CODES[action.cluster_not_found_response_code]
    policy.path_rewrite = TemplateRewrite(action.path_rewrite) if action.path_rewrite else PathRewrite.compile(action)
    policy.hash_policy = compile_hash_policy(action.hash_policy)
    policy.internal_redirect = compile_internal_redirect(action)
    policy.rate_limits = compile_rate_limits(action.rate_limits, action.include_vh_rate_limits.value)
    if action.HasField("cors"):
        policy.cors = CorsPolicy(action.cors, context)
    _compile_host_rewrite(policy, action)
    if action.HasField("metadata_match"):
        policy.metadata_match = criteria_of(action.metadata_match)
    for upgrade in action.upgrade_configs:
        name = upgrade_type(upgrade)
        if name in policy.upgrades:
            raise ConfigError(f"Duplicate upgrade {upgrade.upgrade_type}")
        policy.upgrades[name] = upgrade.enabled.value if upgrade.HasField("enabled") else True
        policy.connect = compile_connect_config(upgrade, name) or policy.connect
    return policy


def _compile_host_rewrite(policy: RoutePolicy, action: Any) -> None:
    kind = action.WhichOneof("host_rewrite_specifier")
    if kind == "auto_host_rewrite":
        policy.auto_host_rewrite = action.auto_host_rewrite.value
        policy.append_x_forwarded_host = action.append_x_forwarded_host
    elif kind is not None:
        policy.host_rewrite = HostRewrite(action)
