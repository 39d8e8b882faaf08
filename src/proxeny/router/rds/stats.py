"""Statistics of discovered routes, beside those of their subscriptions."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

RDS: Final = Schema("rds", counters=("config_reload", "update_empty"), gauges=("config_reload_time_ms",))
"""``http.<name>.rds.<route configuration>.*`` (Envoy: ``ALL_RDS_STATS``)."""
CONFIG_RELOAD: Final = RDS.slot("config_reload")
UPDATE_EMPTY: Final = RDS.slot("update_empty")
CONFIG_RELOAD_TIME_MS: Final = RDS.slot("config_reload_time_ms")

VHDS: Final = Schema("vhds", counters=("config_reload", "update_empty"))
"""``http.<name>.rds.vhds.<route configuration>.*`` (Envoy: ``ALL_VHDS_STATS``)."""
VHDS_CONFIG_RELOAD: Final = VHDS.slot("config_reload")

SCOPED_RDS: Final = Schema(
    "scoped_rds",
    counters=("config_reload", "update_empty"),
    gauges=("active_scopes", "all_scopes", "config_reload_time_ms", "on_demand_scopes"),
)
"""``http.<name>.scoped_rds.<scoped routes>.*`` (Envoy: ``ALL_SCOPED_RDS_STATS``)."""
SCOPED_CONFIG_RELOAD: Final = SCOPED_RDS.slot("config_reload")
ACTIVE_SCOPES: Final = SCOPED_RDS.slot("active_scopes")
ALL_SCOPES: Final = SCOPED_RDS.slot("all_scopes")
SCOPED_CONFIG_RELOAD_TIME_MS: Final = SCOPED_RDS.slot("config_reload_time_ms")
ON_DEMAND_SCOPES: Final = SCOPED_RDS.slot("on_demand_scopes")
