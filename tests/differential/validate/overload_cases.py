"""The overload manager: resource monitors, actions, triggers, load shed points."""

from tests.differential.validate.corpus import TYPE, Verdict, bootstrap

_MONITORS = f"{TYPE}/envoy.extensions.resource_monitors"
_INJECTED = "envoy.resource_monitors.injected_resource"
_GLOBAL = "envoy.resource_monitors.global_downstream_max_connections"
_FILE = (
    f'{{name: {_INJECTED}, typed_config: {{"@type": {_MONITORS}.injected_resource.v3.InjectedResourceConfig, '
    "filename: /tmp/proxeny-validate}}"
)
_ON = f"{{name: {_INJECTED}, threshold: {{value: 0.5}}}}"
_STOP = "envoy.overload_actions.stop_accepting_connections"
_POINT = "envoy.load_shed_points.tcp_listener_accept"
_OTHER_ACTION = "an overload action that is not served"
_OTHER_POINT = "a load shed point that is not served"


def _overload(name: str, fields: str, stricter: str = "", monitors: str = _FILE) -> Verdict:
    return bootstrap(
        f"overload-{name}", f"overload_manager: {{resource_monitors: [{monitors}], {fields}}}", stricter=stricter
    )


def _monitor(name: str, message: str, fields: str = "", called: str = "") -> Verdict:
    called = called or f"envoy.resource_monitors.{message.partition('.')[0]}"
    monitor = f'{{name: {called}, typed_config: {{"@type": {_MONITORS}.{message}{fields and ", "}{fields}}}}}'
    return _overload(f"monitor-{name}", "", monitors=monitor)


def _actions(name: str, *actions: str, stricter: str = "") -> Verdict:
    return _overload(name, f"actions: [{', '.join(actions)}]", stricter)


def _action(name: str, triggers: str = _ON, fields: str = "") -> str:
    return f"{{name: {name}, triggers: [{triggers}]{fields and ', '}{fields}}}"


def _points(name: str, *points: str, stricter: str = "") -> Verdict:
    return _overload(name, f"loadshed_points: [{', '.join(points)}]", stricter)


_TYPED = f'typed_config: {{"@type": {TYPE}/google.protobuf.Empty}}'
_DOWNSTREAM = "downstream_connections.v3.DownstreamConnectionsConfig"

CASES = [
    _overload("alone", ""),
    bootstrap("overload-empty", "overload_manager: {}"),
    _overload("interval", "refresh_interval: 0.25s"),
    _overload("interval-negative", "refresh_interval: -1s"),
    _overload("two-of-one-name", "", monitors=f"{_FILE}, {_FILE}"),
    _overload("nameless-config", "", monitors=f"{{name: {_INJECTED}}}"),
    _monitor("heap", "fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes: 1000"),
    _monitor("heap-without-size", "fixed_heap.v3.FixedHeapConfig"),
    _monitor("cgroup", "cgroup_memory.v3.CgroupMemoryConfig"),
    _monitor("cgroup-size", "cgroup_memory.v3.CgroupMemoryConfig", "max_memory_bytes: 1000"),
    _monitor("other-name", "fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes: 1", called="mine"),
    _monitor("downstream", _DOWNSTREAM, "max_active_downstream_connections: 5", called=_GLOBAL),
    _monitor("downstream-zero", _DOWNSTREAM, "max_active_downstream_connections: 0", called=_GLOBAL),
    _monitor("downstream-other-name", _DOWNSTREAM, "max_active_downstream_connections: 5", called="mine"),
    _monitor("downstream-other-type", "injected_resource.v3.InjectedResourceConfig", "filename: /x", called=_GLOBAL),
    *(
        _actions(name, _action(f"envoy.overload_actions.{name}"))
        for name in (
            "stop_accepting_connections",
            "reject_incoming_connections",
            "stop_accepting_requests",
            "disable_http_keepalive",
            "shrink_heap",
        )
    ),
    _actions("reset-without-buffers", _action("envoy.overload_actions.reset_high_memory_stream")),
    _actions("close-idle", _action("envoy.overload_actions.close_idle_http_connections"), stricter=_OTHER_ACTION),
    _actions("reduce-timeouts-without-config", _action("envoy.overload_actions.reduce_timeouts")),
    _actions("unknown-action", _action("nothing")),
    _actions("unknown-resource", _action(_STOP, "{name: nothing, threshold: {value: 0.5}}")),
    _actions("same-trigger", _action(_STOP, f"{_ON}, {_ON}")),
    _actions("same-action", _action(_STOP), _action(_STOP)),
    _actions("unexpected-config", _action(_STOP, fields=_TYPED)),
    _actions("no-triggers", f"{{name: {_STOP}}}"),
    _actions("no-trigger-kind", _action(_STOP, f"{{name: {_INJECTED}}}")),
    _actions("threshold-too-high", _action(_STOP, f"{{name: {_INJECTED}, threshold: {{value: 1.1}}}}")),
    _actions(
        "scaled",
        _action(_STOP, f"{{name: {_INJECTED}, scaled: {{scaling_threshold: 0.5, saturation_threshold: 0.9}}}}"),
    ),
    _actions(
        "scaled-flat",
        _action(_STOP, f"{{name: {_INJECTED}, scaled: {{scaling_threshold: 0.5, saturation_threshold: 0.5}}}}"),
    ),
    _points("point", _action(_POINT)),
    _points("point-unknown", _action("nothing"), stricter=_OTHER_POINT),
    _points("same-point", _action(_POINT), _action(_POINT)),
    _points("point-same-trigger", _action(_POINT, f"{_ON}, {_ON}")),
    _points("point-unknown-resource", _action(_POINT, "{name: nothing, threshold: {value: 0.5}}")),
]
