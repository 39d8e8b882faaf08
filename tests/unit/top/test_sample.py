"""Samples from answers in the shapes that Envoy 1.40 gives."""

from typing import Any

import pytest

from proxeny.top.sample import address_text, take

ANSWERS: dict[str, Any] = {
    "/server_info": {"version": "abc/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE", "uptime_current_epoch": "6s"},
    "/stats": {
        "stats": [
            {"name": "http.main.downstream_rq_total", "value": 7},
            {"name": "cluster_manager.cds.version_text", "value": ""},
            {
                "histograms": {
                    "supported_quantiles": [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100],
                    "computed_quantiles": [
                        {
                            "name": "cluster.up.upstream_rq_time",
                            "values": [{"interval": number, "cumulative": 9} for number in range(10)],
                        },
                        {"name": "http.main.downstream_rq_time", "values": [{"interval": None, "cumulative": 1}] * 10},
                    ],
                }
            },
        ]
    },
    "/clusters": {
        "cluster_statuses": [
            {
                "name": "up",
                "observability_name": "other",
                "host_statuses": [
                    {
                        "address": {"socket_address": {"address": "::1", "port_value": 80}},
                        "hostname": "a.test",
                        "stats": [{"name": "cx_total", "value": "4"}, {"type": "GAUGE", "name": "rq_active"}],
                        "health_status": {"failed_active_health_check": True, "eds_health_status": "DRAINING"},
                        "weight": 3,
                        "priority": 1,
                        "locality": {"zone": "z"},
                    },
                    {"address": {"pipe": {"path": "/a"}}, "health_status": {"eds_health_status": "HEALTHY"}},
                ],
            },
            {"name": "empty"},
        ]
    },
    "/listeners": {
        "listener_statuses": [
            {"name": "main", "local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}
        ]
    },
}


def test_take() -> None:
    asked: list[str] = []

    def get(path: str) -> Any:
        asked.append(path)
        return ANSWERS[path.partition("?")[0]]

    sample = take(get, 5.0)
    assert (sample.time_s, sample.state, sample.uptime) == (5.0, "LIVE", "6s")
    assert sample.stats == {"http.main.downstream_rq_total": 7}
    assert sample.texts == {"cluster_manager.cds.version_text": ""}
    assert sample.quantiles == {"cluster.up.upstream_rq_time": [2, 4, 6], "http.main.downstream_rq_time": [None] * 3}
    assert sample.listeners == {"main": "127.0.0.1:1"}
    assert list(sample.hosts) == ["other", "empty"]
    first, second = sample.hosts["other"]
    assert (first.address, first.hostname, first.health) == (
        "[::1]:80",
        "a.test",
        "failed active health check, eds draining",
    )
    assert (first.weight, first.priority, first.zone, first.stats) == (3, 1, "z", {"cx_total": 4, "rq_active": 0})
    assert (second.address, second.health) == ("/a", "healthy")
    assert all(" " not in path and "\\" not in path for path in asked)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ({"socket_address": {"address": "10.0.0.1", "port_value": 9}}, "10.0.0.1:9"),
        ({"envoy_internal_address": {"server_listener_name": "in"}}, "internal:in"),
        ({}, ""),
    ],
)
def test_addresses(address: dict[str, Any], text: str) -> None:
    assert address_text(address) == text
