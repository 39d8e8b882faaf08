"""The words that a control plane hears."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.inspector import VIOLATION
from proxeny.xds.rejection import LONGEST_DETAIL, told


def test_a_broken_rule_comes_behind_the_message() -> None:
    message = cluster_pb2.Cluster(name="a")
    error = ConfigError(f"{VIOLATION} (x)", "some.path")
    assert told(error) == f"{VIOLATION} (x)"
    assert told(error, message) == f'name: "a"\n: {VIOLATION} (x)'
    error.within = cluster_pb2.Cluster(name="inner")
    assert told(error, message) == f'name: "inner"\n: {VIOLATION} (x)'


def test_other_words_stand_alone() -> None:
    message: Any = cluster_pb2.Cluster(name="a")
    assert told(ConfigError("no", "some.path"), message) == "no"
    long = cluster_pb2.Cluster(name="a" * LONGEST_DETAIL)
    assert told(ConfigError(f"{VIOLATION} (x)"), long) == f"{VIOLATION} (x)"
