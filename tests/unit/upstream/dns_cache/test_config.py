"""DnsCacheConfig compiled."""

from __future__ import annotations

import pytest
from tests.unit.upstream.dns_cache.conftest import cache_config

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.upstream.dns_cache import config
from proxeny.upstream.dns_options import V4_ONLY


def test_defaults() -> None:
    options = config.compile(cache_config())
    assert (options.refresh_ms, options.min_refresh_ms, options.host_ttl_ms) == (60_000, 5_000, 300_000)
    assert (options.query_timeout_ms, options.max_hosts, options.max_pending) == (5_000, 1024, 1024)
    assert (options.failure_base_ms, options.refresh_failures, options.resolver) == (0, True, None)


def test_all_fields() -> None:
    options = config.compile(
        cache_config(
            dns_lookup_family="V4_ONLY",
            dns_refresh_rate="1s",
            dns_min_refresh_rate="2s",
            host_ttl="3s",
            max_hosts=4,
            disable_dns_refresh_on_failure=True,
            dns_failure_refresh_rate={"base_interval": "5s"},
            dns_cache_circuit_breaker={"max_pending_requests": 6},
            use_tcp_for_dns_lookups=True,
            preresolve_hostnames=[{"address": "a.test", "port_value": 7}],
            dns_query_timeout="0s",
        )
    )
    assert (options.family, options.refresh_ms, options.min_refresh_ms, options.host_ttl_ms) == (
        V4_ONLY,
        1000,
        2000,
        3000,
    )
    assert (options.max_hosts, options.max_pending, options.refresh_failures) == (4, 6, False)
    assert (options.failure_base_ms, options.failure_max_ms, options.query_timeout_ms) == (5000, 50_000, 0)
    assert options.preresolve == (("a.test", 7),)
    assert options.resolver is not None


def test_more_names_than_hosts() -> None:
    names = [{"address": "a.test", "port_value": 1}, {"address": "b.test", "port_value": 1}]
    with pytest.raises(ConfigError, match="preresolve_hostnames=2 larger than max_hosts=1"):
        config.compile(cache_config(max_hosts=1, preresolve_hostnames=names))


def test_failure_rates_that_contradict() -> None:
    options = config.compile(cache_config(dns_failure_refresh_rate={"base_interval": "2s", "max_interval": "1s"}))
    assert (options.failure_base_ms, options.failure_max_ms) == (2000, 1000)


def test_addresses_are_not_kept_in_files() -> None:
    with pytest.raises(UnsupportedFieldError, match="key_value_config is not supported yet"):
        config.compile(cache_config(key_value_config={"config": {"name": "x"}}))
