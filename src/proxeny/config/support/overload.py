"""The overload manager and its resource monitors."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_OVERLOAD: Final = "envoy.config.overload.v3"
_MONITORS: Final = "envoy.extensions.resource_monitors"

TABLE: Final[Table] = {
    f"{_OVERLOAD}.OverloadManager": fields(done="refresh_interval resource_monitors actions loadshed_points"),
    f"{_OVERLOAD}.ResourceMonitor": fields(done="name typed_config"),
    f"{_OVERLOAD}.OverloadAction": fields(done="name triggers typed_config"),
    f"{_OVERLOAD}.LoadShedPoint": fields(done="name triggers"),
    f"{_OVERLOAD}.Trigger": fields(done="name threshold scaled"),
    f"{_OVERLOAD}.ThresholdTrigger": fields(done="value"),
    f"{_OVERLOAD}.ScaledTrigger": fields(done="scaling_threshold saturation_threshold"),
    f"{_MONITORS}.fixed_heap.v3.FixedHeapConfig": extension(done="max_heap_size_bytes"),
    f"{_MONITORS}.injected_resource.v3.InjectedResourceConfig": extension(done="filename"),
    f"{_MONITORS}.cgroup_memory.v3.CgroupMemoryConfig": extension(done="max_memory_bytes"),
    f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig": extension(
        done="max_active_downstream_connections"
    ),
}
