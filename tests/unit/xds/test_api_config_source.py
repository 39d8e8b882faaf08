"""What an ApiConfigSource must be like, in Envoy's words."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3 import config_source_pb2
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.xds import backoff, rate_limit
from proxeny.xds.api_config_source import check_ads, check_subscription, primary_clusters

PRIMARIES = frozenset({"a"})
LISTENER = "envoy.config.listener.v3.Listener"
SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"
VIA_A = [{"envoyGrpc": {"clusterName": "a"}}]
VIA_B = [{"envoyGrpc": {"clusterName": "b"}}]
GOOGLE = [{"googleGrpc": {"targetUri": "b", "statPrefix": "p"}}]


def api(kind: str = "GRPC", services: Any = VIA_A, version: str = "V3", **more: Any) -> Any:
    tree = {"apiType": kind, "grpcServices": services, "transportApiVersion": version, **more}
    return ParseDict(tree, config_source_pb2.ApiConfigSource())


def source(*args: Any, **more: Any) -> config_source_pb2.ConfigSource:
    return config_source_pb2.ConfigSource(api_config_source=api(*args, **more))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (api(version="V2"), "V2 xDS transport protocol version is deprecated in api_type: GRPC\n"),
        (api(services=[]), "API configs must have either a gRPC service or a cluster name defined: api_type: GRPC\n"),
        (api(services=[], clusterNames=["a"]), "GRPC must not have a cluster name specified: api_type: GRPC\n"),
        (api(services=VIA_A * 2), "GRPC must have no more than 1 gRPC services specified: api_type: GRPC\n"),
        (api("REST"), "ApiConfigSource, if not a gRPC type, must not have a gRPC service specified: api_type: REST\n"),
        (api("REST", [], clusterNames=["a"]), "ApiConfigSource type must be of non-aggregated gRPC: api_type: REST\n"),
        (api("AGGREGATED_GRPC"), "ApiConfigSource type must be of non-aggregated gRPC: api_type: AGGREGATED_GRPC\n"),
        (api(services=VIA_B), "Unknown gRPC client cluster 'b'"),
        (
            api(rateLimitSettings={"fillRate": "Infinity"}),
            "The value of fill_rate in RateLimitSettings (inf) must not be NaN nor Inf",
        ),
    ],
)
def test_ads_configurations_that_are_refused(made: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_ads(made, PRIMARIES)
    assert words in str(caught.value)


@pytest.mark.parametrize("made", [api(), api("DELTA_GRPC"), api(version="AUTO"), api(services=GOOGLE)])
def test_ads_configurations_that_are_taken(made: Any) -> None:
    check_ads(made, PRIMARIES)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (source(services=VIA_B), "must have a statically defined non-EDS cluster: 'b' does not exist, was added via"),
        (source(version="V2"), "V2 xDS transport protocol version is deprecated in "),
        (source("AGGREGATED_GRPC"), "Unsupported config source AGGREGATED_GRPC"),
        (source("AGGREGATED_DELTA_GRPC", []), "Unsupported config source AGGREGATED_DELTA_GRPC"),
        (
            source("DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE", [], clusterNames=["a"]),
            "REST_LEGACY no longer a supported ApiConfigSource. Please specify an explicit supported api_type in the "
            "following config:\napi_config_source {\n",
        ),
        (source("REST", [], clusterNames=["a", "b"]), "must have a singleton cluster name specified: api_type: REST"),
    ],
)
def test_sources_that_are_refused(made: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_subscription(made, LISTENER, PRIMARIES)
    assert words in str(caught.value)


def test_sources_that_are_taken() -> None:
    for made in (source(), source("DELTA_GRPC"), source(services=GOOGLE)):
        check_subscription(made, LISTENER, PRIMARIES)
    check_subscription(source(services=VIA_B), SECRET, PRIMARIES)


def test_primary_clusters_need_no_control_plane() -> None:
    tree = {
        "staticResources": {
            "clusters": [
                {"name": "static"},
                {"name": "of_files", "type": "EDS", "edsClusterConfig": {"edsConfig": {"path": "/a"}}},
                {"name": "eds", "type": "EDS", "edsClusterConfig": {"edsConfig": {"ads": {}}}},
            ]
        }
    }
    assert primary_clusters(ParseDict(tree, bootstrap_pb2.Bootstrap())) == {"static", "of_files"}


def _with_back_off(**fields: str) -> Any:
    return api(services=[{"envoyGrpc": {"clusterName": "a", "retryPolicy": {"retryBackOff": fields}}}])


@pytest.mark.parametrize(
    ("made", "intervals"),
    [
        (api(), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]),
        (api(services=GOOGLE), [500, 1000]),
        (_with_back_off(baseInterval="0.1s"), [100, 200, 400, 800, 1000, 1000]),
        (_with_back_off(baseInterval="0.1s", maxInterval="0.15s"), [100, 150, 150]),
    ],
)
def test_back_off(made: Any, intervals: list[int]) -> None:
    strategy = backoff.from_api_config_source(made)
    strategy._below = lambda interval: interval  # type: ignore[assignment]
    assert [strategy.next_ms() for _ in intervals] == intervals
    strategy.reset()
    assert strategy.next_ms() == intervals[0]
    assert not strategy.is_over_time_limit(max(intervals[0], 150))


def test_a_back_off_that_shrinks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^max_interval must be greater than or equal to the base_interval$"):
        backoff.from_api_config_source(_with_back_off(baseInterval="2s", maxInterval="1s"))


def test_rate_limits() -> None:
    time = SimulatedTimeSource()
    assert rate_limit.from_api_config_source(api(), time) is None
    default = rate_limit.from_api_config_source(api(rateLimitSettings={}), time)
    assert default is not None
    assert (default.max_tokens, default.fill_rate) == (100, 10.0)
    bucket = rate_limit.from_api_config_source(api(rateLimitSettings={"maxTokens": 2, "fillRate": 4.0}), time)
    assert bucket is not None
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    assert bucket.next_token_ms() == 250
    time.advance_ms(250)
    assert [bucket.take(), bucket.take()] == [True, False]
    time.advance_ms(60_000)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
