"""Whatever a configuration says, loading it ends in a bootstrap or in a ConfigError."""

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions, load_bootstrap
from proxeny.config.yaml_loader import load_yaml

TYPE = "type.googleapis.com/envoy.extensions.filters"
SAMPLE: Any = load_yaml(
    f"""
node: {{id: a, cluster: b, metadata: {{x: [1, {{y: z}}]}}}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
layered_runtime: {{layers: [{{name: a, static_layer: {{b: 1}}}}]}}
static_resources:
  clusters:
  - name: c
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    circuit_breakers: {{thresholds: [{{max_connections: 5}}]}}
    load_assignment:
      cluster_name: c
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 1.2.3.4, port_value: 5}}}}}}}}]
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filter_chain_match: {{prefix_ranges: [{{address_prefix: 10.0.0.0, prefix_len: 8}}]}}
      filters:
      - name: h
        typed_config:
          "@type": {TYPE}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h
          http_filters: [{{name: r, typed_config: {{"@type": {TYPE}.http.router.v3.Router}}}}]
          route_config:
            virtual_hosts:
            - name: v
              domains: ['*']
              routes: [{{match: {{safe_regex: {{regex: a.*}}}}, route: {{cluster: c, timeout: 5s}}}}]
"""
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values below `tree`."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = [path] if path else []
    for key, value in children:
        found += places(value, (*path, key))
    return found


VALUES = (
    st.sampled_from([None, True, 0, -1, 2**40, 1.5, "", "x", "\x00", "5", "-1s", "0s", [], {}, [[]], {"@type": "a/b"}])
    | st.text(max_size=5)
    | st.integers()
)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(places(SAMPLE)), VALUES), min_size=1, max_size=3), st.booleans())
def test_changed_values(changes: list[tuple[tuple[Any, ...], Any]], lenient: bool) -> None:
    tree = copy.deepcopy(SAMPLE)
    for path, value in changes:
        holder = tree
        try:
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    load(tree, lenient)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(places(SAMPLE)), st.sampled_from(places(SAMPLE)))
def test_values_in_other_places(source: tuple[Any, ...], target: tuple[Any, ...]) -> None:
    tree = copy.deepcopy(SAMPLE)
    value = SAMPLE
    for key in source:
        value = value[key]
    holder = tree
    for key in target[:-1]:
        holder = holder[key]
    holder[target[-1]] = copy.deepcopy(value)
    load(tree, False)


def load(tree: Any, lenient: bool) -> None:
    # JSON is YAML (but for odd characters, which the YAML reader then refuses).
    options = LoadOptions(allow_unknown_static_fields=lenient, accept_unsupported_fields=lenient)
    try:
        load_bootstrap(None, json.dumps(tree, ensure_ascii=False), options=options)
    except ConfigError as error:
        assert str(error)


def test_the_sample_is_good() -> None:
    load_bootstrap(None, json.dumps(SAMPLE))
