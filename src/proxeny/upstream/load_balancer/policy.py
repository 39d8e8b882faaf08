"""Which load balancing a cluster asked for: compiled from ``lb_policy`` or ``load_balancing_policy``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import unpack_any
from proxeny.http.hash_policy import compile_hash_policy
from proxeny.upstream.load_balancer.hashing import MAGLEV, RING_HASH, HashingConfig
from proxeny.upstream.load_balancer.pickers import (
    LeastRequestPicker,
    LeastRequestScanPicker,
    NoHost,
    OneHost,
    Picker,
    RandomPicker,
    RoundRobinPicker,
    WeightedLeastRequestPicker,
    WeightedRoundRobinPicker,
)
from proxeny.upstream.load_balancer.priority_load import DEFAULT_PANIC_THRESHOLD

if TYPE_CHECKING:
    from proxeny.upstream.host import Host

ROUND_ROBIN: Final = "round_robin"
LEAST_REQUEST: Final = "least_request"
RANDOM: Final = "random"
CLUSTER_PROVIDED: Final = "cluster_provided"
"""The cluster's type brings it (ORIGINAL_DST); pickers of it are never asked."""

DEFAULT_CHOICE_COUNT: Final = 2
"""LeastRequestLbConfig.choice_count."""

_EXTENSION_PREFIX: Final = "envoy.extensions.load_balancing_policies."
_EXTENSIONS: Final = {
    f"{_EXTENSION_PREFIX}round_robin.v3.RoundRobin": ROUND_ROBIN,
    f"{_EXTENSION_PREFIX}least_request.v3.LeastRequest": LEAST_REQUEST,
    f"{_EXTENSION_PREFIX}random.v3.Random": RANDOM,
    f"{_EXTENSION_PREFIX}cluster_provided.v3.ClusterProvided": CLUSTER_PROVIDED,
    f"{_EXTENSION_PREFIX}ring_hash.v3.RingHash": RING_HASH,
    f"{_EXTENSION_PREFIX}maglev.v3.Maglev": MAGLEV,
}
_LEGACY_NAMES: Final = (ROUND_ROBIN, LEAST_REQUEST, RING_HASH, RANDOM, "", MAGLEV, CLUSTER_PROVIDED, "")
"""By Cluster.LbPolicy number."""


@dataclass(slots=True, frozen=True)
class LbPolicy:
    """The compiled policy; equal ones are shared."""

    kind: str = ROUND_ROBIN
    choice_count: int = DEFAULT_CHOICE_COUNT
    active_request_bias: float = 1.0
    full_scan: bool = False
    panic_threshold: int = DEFAULT_PANIC_THRESHOLD
    fail_traffic_on_panic: bool = False
    hashing: HashingConfig | None = None
    """Of RING_HASH and MAGLEV."""

    def make_picker(self, hosts: list[Host]) -> Picker:
        """The picker for these hosts."""
        if len(hosts) < 2:
            return OneHost(hosts[0]) if hosts else NoHost()
        if self.kind == RANDOM:
            return RandomPicker(hosts)
        weight = hosts[0].weight
        weighted = any(host.weight != weight for host in hosts)
        if self.kind == ROUND_ROBIN:
            return WeightedRoundRobinPicker(hosts) if weighted else RoundRobinPicker(hosts)
        if weighted:
            return WeightedLeastRequestPicker(hosts, self.active_request_bias)
        return LeastRequestScanPicker(hosts) if self.full_scan else LeastRequestPicker(hosts, self.choice_count)


DEFAULT: Final = LbPolicy()


def compile(cluster: Any, present: dict[str, Any], provided: bool = False) -> LbPolicy:
    """The policy of a cluster whose set fields are ``present``; ConfigError in Envoy's words.

    ``provided``: the cluster's type brings a load balancer of its own.
    """
    lb_policy = cluster.lb_policy
    if "load_balancing_policy" not in present and lb_policy == 7:
        raise ConfigError("cluster: field load_balancing_policy need to be set")
    if "load_balancing_policy" in present:
        if "lb_subset_config" in present:
            raise ConfigError("cluster: load_balancing_policy cannot be combined with lb_subset_config")
        values = _extension(cluster, present["load_balancing_policy"])
    else:
        values = _legacy(cluster, lb_policy, present)
    if (values.get("kind") == CLUSTER_PROVIDED) != provided:
        specified, did = ("not specified", "provided one") if provided else ("specified", "did not provide one")
        raise ConfigError(
            f"cluster manager: cluster provided LB {specified} but cluster '{cluster.name}' {did}. "
            "Check cluster documentation."
        )
    if "common_lb_config" in present:
        _common(present["common_lb_config"], values)
    return LbPolicy(**values) if values else DEFAULT


def _extension(cluster: Any, policy: Any) -> dict[str, Any]:
    """The first policy of the list that we know, as Envoy does."""
    names = []
    for candidate in policy.policies:
        typed = candidate.typed_extension_config
        kind = _EXTENSIONS.get(typed.typed_config.type_url.rpartition("/")[2])
        if kind is not None:
            config: Any = unpack_any(typed.typed_config)
            _refuse_slow_start(config)
            if kind in (RING_HASH, MAGLEV):
                return _hashing(kind, config, config.consistent_hashing_lb_config, config)
            return _least_request(config) if kind == LEAST_REQUEST else {"kind": kind}
        names.append(typed.name)
    raise ConfigError(
        "cluster: didn't find a registered load balancer factory implementation for cluster: "
        f"'{cluster.name}' with names from [{', '.join(names)}]"
    )


def _legacy(cluster: Any, lb_policy: int, present: dict[str, Any]) -> dict[str, Any]:
    kind = _LEGACY_NAMES[lb_policy]
    if kind == CLUSTER_PROVIDED:
        if "lb_subset_config" in present:
            raise ConfigError("cluster: LB policy CLUSTER_PROVIDED cannot be combined with lb_subset_config")
        return {"kind": kind}
    subset = present.get("lb_subset_config")
    if subset is not None:
        common = present.get("common_lb_config")
        if subset.locality_weight_aware and (common is None or not common.HasField("locality_weighted_lb_config")):
            raise ConfigError(
                f"Locality weight aware subset LB requires that a locality_weighted_lb_config be set in {cluster.name}"
            )
        if subset.subset_selectors:
            raise UnsupportedFieldError(f"lb_subset_config is not supported yet (cluster '{cluster.name}')")
    if kind == LEAST_REQUEST:
        config = present.get("least_request_lb_config")
        return {"kind": kind} if config is None else _least_request(config)
    if kind in (RING_HASH, MAGLEV):
        common = cluster.common_lb_config.consistent_hashing_lb_config
        return _hashing(kind, getattr(cluster, f"{kind}_lb_config"), common, None)
    if "round_robin_lb_config" in present:
        _refuse_slow_start(present["round_robin_lb_config"])
    return {} if kind == ROUND_ROBIN else {"kind": kind}


def _hashing(kind: str, config: Any, common: Any, older: Any) -> dict[str, Any]:
    """Both the legacy configs and the extensions'; ``older`` has the places that ``common`` took over, or is None."""
    settings: dict[str, Any] = {}
    for field, name in _HASHING_SIZES.items():
        if field in config.DESCRIPTOR.fields_by_name and config.HasField(field):
            settings[name] = getattr(config, field).value
    if kind == RING_HASH:
        settings["murmur"] = (
            config.DESCRIPTOR.fields_by_name["hash_function"].enum_type.values_by_number[config.hash_function].name
            == "MURMUR_HASH_2"
        )
        if older is not None and not older.HasField("consistent_hashing_lb_config"):
            common = older
    settings["use_hostname"] = common.use_hostname_for_hashing
    if common.HasField("hash_balance_factor"):
        settings["balance_factor"] = common.hash_balance_factor.value
    if "hash_policy" in common.DESCRIPTOR.fields_by_name:
        settings["hash_policy"] = compile_hash_policy(common.hash_policy)
    hashing = HashingConfig(**settings)
    hashing.check(kind)
    return {"kind": kind, "hashing": hashing}


_HASHING_SIZES: Final = {
    "minimum_ring_size": "min_ring_size",
    "maximum_ring_size": "max_ring_size",
    "table_size": "table_size",
}


def _least_request(config: Any) -> dict[str, Any]:
    """Both the legacy LeastRequestLbConfig and the extension's LeastRequest."""
    _refuse_slow_start(config)
    values: dict[str, Any] = {"kind": LEAST_REQUEST}
    if config.HasField("choice_count"):
        values["choice_count"] = config.choice_count.value
    if config.HasField("active_request_bias"):
        values["active_request_bias"] = config.active_request_bias.default_value
    if getattr(config, "selection_method", 0) == 1:
        values["full_scan"] = True
    if "enable_full_scan" in config.DESCRIPTOR.fields_by_name and config.HasField("enable_full_scan"):
        values["full_scan"] = config.enable_full_scan.value
    return values


def _refuse_slow_start(config: Any) -> None:
    if "slow_start_config" in config.DESCRIPTOR.fields_by_name and config.HasField("slow_start_config"):
        raise UnsupportedFieldError("slow_start_config is not supported yet")


def _common(common: Any, values: dict[str, Any]) -> None:
    if common.HasField("healthy_panic_threshold"):
        # Envoy truncates the percentage.
        values["panic_threshold"] = min(100, int(common.healthy_panic_threshold.value))
    if common.HasField("zone_aware_lb_config") and common.zone_aware_lb_config.fail_traffic_on_panic:
        values["fail_traffic_on_panic"] = True
