"""Statistics of discovered routes (Envoy: ``ALL_RDS_STATS``), beside those of their subscriptions."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

RDS: Final = Schema("rds", counters=("config_reload", "update_empty"), gauges=("config_reload_time_ms",))
"""``http.<name>.rds.<route configuration>.*``."""

CONFIG_RELOAD: Final = RDS.slot("config_reload")
UPDATE_EMPTY: Final = RDS.slot("update_empty")
CONFIG_RELOAD_TIME_MS: Final = RDS.slot("config_reload_time_ms")
