"""Load balancing policies: slow start, localities, reported loads; the local cluster."""

from tests.differential.validate.corpus import TYPE, Verdict, cluster

_LB = f"{TYPE}/envoy.extensions.load_balancing_policies"
_SKIPPED = "Envoy skips the constraints of load balancing policies"
_REPORTED = "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"


def _typed(message: str, fields: str = "") -> str:
    return f'{{name: a, typed_config: {{"@type": {_LB}.{message}{", " if fields else ""}{fields}}}}}'


def _policies(message: str, fields: str = "") -> str:
    return f"{{policies: [{{typed_extension_config: {_typed(message, fields)}}}]}}"


def _policy(name: str, message: str, fields: str = "", stricter: str = "") -> Verdict:
    return cluster(f"policy-{name}", f"load_balancing_policy: {_policies(message, fields)}", stricter)


def _slow(name: str, fields: str) -> Verdict:
    return _policy(f"slow-start-{name}", "round_robin.v3.RoundRobin", f"slow_start_config: {{{fields}}}")


def _zones(name: str, fields: str) -> Verdict:
    config = f"locality_lb_config: {{zone_aware_lb_config: {{{fields}}}}}"
    return _policy(f"zones-{name}", "least_request.v3.LeastRequest", config)


CASES = [
    _slow("empty", ""),
    _slow("window", "slow_start_window: 10s"),
    _slow("negative", "slow_start_window: -1s"),
    _slow("aggression", "slow_start_window: 1s, aggression: {default_value: 0, runtime_key: k}"),
    _slow("least-weight", "slow_start_window: 1s, min_weight_percent: {value: 0.5}"),
    cluster(
        "legacy-slow-start",
        "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {slow_start_config: {slow_start_window: 1s}}",
    ),
    _policy("locality-empty", "random.v3.Random", "locality_lb_config: {}", _SKIPPED),
    _policy("locality-weighted", "random.v3.Random", "locality_lb_config: {locality_weighted_lb_config: {}}"),
    _policy(
        "locality-both",
        "random.v3.Random",
        "locality_lb_config: {locality_weighted_lb_config: {}, zone_aware_lb_config: {}}",
    ),
    _zones("empty", ""),
    _zones("all", "routing_enabled: {value: 50}, min_cluster_size: 2, fail_traffic_on_panic: true"),
    _zones("forced", "force_local_zone: {min_size: 2}, force_locality_direct_routing: true"),
    _zones("by-weight", "locality_basis: HEALTHY_HOSTS_WEIGHT"),
    _policy(
        "bias-negative", "least_request.v3.LeastRequest", "active_request_bias: {default_value: -1, runtime_key: k}"
    ),
    _policy("full-scan-twice", "least_request.v3.LeastRequest", "enable_full_scan: true, selection_method: FULL_SCAN"),
    _policy("reported", _REPORTED, "blackout_period: 0s, weight_update_period: 0s"),
    _policy("reported-penalty-negative", _REPORTED, "error_utilization_penalty: -1", _SKIPPED),
    _policy("reported-slow-start", _REPORTED, "slow_start_config: {slow_start_window: 1s}"),
    _policy("reported-oob", _REPORTED, "enable_oob_load_report: true", "out-of-band reports are not served"),
    _policy("wrr-empty", "wrr_locality.v3.WrrLocality"),
    _policy("wrr-without-child", "wrr_locality.v3.WrrLocality", "endpoint_picking_policy: {policies: []}"),
    _policy("wrr-reported", "wrr_locality.v3.WrrLocality", f"endpoint_picking_policy: {_policies(_REPORTED)}"),
    _policy("wrr-random", "wrr_locality.v3.WrrLocality", f"endpoint_picking_policy: {_policies('random.v3.Random')}"),
]
