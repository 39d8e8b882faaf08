"""Tag extraction, as Envoy 1.40 labels the same names in /stats/prometheus."""

import pytest
from envoy.config.metrics.v3 import stats_pb2
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.stats.tags import TagProducer

DEFAULT = TagProducer()


@pytest.mark.parametrize(
    ("name", "extracted", "tags"),
    [
        ("cluster.c.upstream_rq_503", "cluster.upstream_rq", "response_code=503 cluster_name=c"),
        ("cluster.c.upstream_rq_5xx", "cluster.upstream_rq_xx", "response_code_class=5 cluster_name=c"),
        ("cluster.c.upstream_rq_total", "cluster.upstream_rq_total", "cluster_name=c"),
        (
            "listener.127.0.0.1_0.http.h.downstream_rq_2xx",
            "listener.http.downstream_rq_xx",
            "response_code_class=2 http_conn_manager_prefix=h listener_address=127.0.0.1_0",
        ),
        (
            "listener.[__1]_80.downstream_cx_total",
            "listener.downstream_cx_total",
            "listener_address=[__1]_80",
        ),
        (
            "listener.127.0.0.1_0.worker_0.downstream_cx_total",
            "listener.worker_downstream_cx_total",
            "worker_id=0 listener_address=127.0.0.1_0",
        ),
        (
            "listener.admin.main_thread.downstream_cx_total",
            "listener.admin.main_thread.downstream_cx_total",
            "",
        ),
        ("server.worker_1.watchdog_miss", "server.worker_watchdog_miss", "worker_id=1"),
        ("http.admin.downstream_rq_total", "http.downstream_rq_total", "http_conn_manager_prefix=admin"),
        (
            "http.h.user_agent.ios.downstream_cx_total",
            "http.user_agent.downstream_cx_total",
            "http_user_agent=ios http_conn_manager_prefix=h",
        ),
        (
            "vhost.v.vcluster.other.upstream_rq_200",
            "vhost.vcluster.upstream_rq",
            "response_code=200 virtual_cluster=other virtual_host=v",
        ),
        ("proxy_proto.not_found_allowed", "proxy_proto.not_found_allowed", ""),
        ("proxy_proto.versions.v2.found", "proxy_proto.found", "proxy_protocol_version=2"),
        ("proxy_proto.x.not_found_allowed", "proxy_proto.not_found_allowed", "proxy_protocol_prefix=x"),
        ("proxy_proto.x.versions.v1.error", "proxy_proto.error", "proxy_protocol_prefix=x proxy_protocol_version=1"),
        ("proxy_proto.a.b.versions.v1.error", "proxy_proto.b.versions.v1.error", "proxy_protocol_prefix=a"),
        ("tcp.t.downstream_cx_total", "tcp.downstream_cx_total", "tcp_prefix=t"),
        ("listener_manager.listener_added", "listener_manager.listener_added", ""),
        ("x.http_local_rate_limit.enabled", "http_local_rate_limit.enabled", "local_http_ratelimit_prefix=x"),
    ],
)
def test_default_tags(name, extracted, tags):
    got_name, got_tags = DEFAULT.produce(name)
    assert got_name == extracted
    assert " ".join(f"{tag.removeprefix('envoy.')}={value}" for tag, value in got_tags) == tags


def producer(config):
    return TagProducer(ParseDict(config, stats_pb2.StatsConfig()))


def test_tags_of_the_configuration():
    made = producer(
        {"stats_tags": [{"tag_name": "zone", "fixed_value": "a"}, {"tag_name": "x", "regex": r"((\d+)_)q"}]}
    )
    assert made.produce("http.h.7_q") == (
        "http.q",
        (("x", "7"), ("envoy.http_conn_manager_prefix", "h"), ("zone", "a")),
    )


def test_single_default_tags_can_be_chosen():
    made = producer({"use_all_default_tags": False, "stats_tags": [{"tag_name": "envoy.cluster_name"}]})
    assert made.produce("cluster.c.upstream_rq_503") == ("cluster.upstream_rq_503", (("envoy.cluster_name", "c"),))
    assert made.produce("http.h.x") == ("http.h.x", ())


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ([{"tag_name": "", "regex": "x"}], "tag_name cannot be empty"),
        ([{"tag_name": "x"}], "No regex specified for tag specifier and no default regex for name: 'x'"),
        ([{"tag_name": "a", "regex": "b"}, {"tag_name": "a", "regex": "c"}], "Tag name 'a' specified twice."),
        ([{"tag_name": "envoy.cluster_name", "regex": "b"}], "specified twice"),
        ([{"tag_name": "a", "regex": "("}], "Invalid regex"),
    ],
)
def test_bad_tags_are_refused(tags, words):
    with pytest.raises(ConfigError, match=words):
        producer({"stats_tags": tags})


def test_a_last_token_that_is_a_tag_is_not_taken_for_a_name():
    for cipher in ("AES128", "ECDHE-RSA", "anything"):
        name, tags = DEFAULT.produce(f"listener.127.0.0.1_0.ssl.ciphers.{cipher}")
        assert (name, tags[0]) == ("listener.ssl.ciphers", ("envoy.ssl_cipher", cipher))
    assert DEFAULT.produce("listener.0.0.0.0_1.ssl.versions.TLSv1.2")[0] == "listener.ssl.versions"
    assert DEFAULT.produce("plain") == ("plain", ())
