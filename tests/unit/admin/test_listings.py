"""/clusters, /listeners and /config_dump."""

import json
from dataclasses import replace

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import scoped_route_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2

from proxeny.admin.context import (
    DynamicClusters,
    DynamicListener,
    DynamicSecret,
    Packed,
    RefusedUpdate,
    ResourceState,
    ScopedRoutes,
)
from proxeny.admin.proto_json import message_to_json
from proxeny.upstream.cluster_status import CircuitBreakerStatus, ClusterStatus, OutlierStatus


def test_clusters_as_text(get):
    lines = get("/clusters")[1].splitlines()
    assert lines[:3] == [
        "c::observability_name::alt",
        "c::default_priority::max_connections::1024",
        "c::default_priority::max_pending_requests::1024",
    ]
    assert lines[9:13] == [
        "c::added_via_api::false",
        "c::127.0.0.1:1::cx_active::1",
        "c::127.0.0.1:1::cx_total::3",
        "c::127.0.0.1:1::rq_total::0",
    ]
    assert lines[13:23] == [
        "c::127.0.0.1:1::hostname::",
        "c::127.0.0.1:1::health_flags::healthy",
        "c::127.0.0.1:1::weight::1",
        "c::127.0.0.1:1::region::",
        "c::127.0.0.1:1::zone::",
        "c::127.0.0.1:1::sub_zone::",
        "c::127.0.0.1:1::canary::false",
        "c::127.0.0.1:1::priority::0",
        "c::127.0.0.1:1::success_rate::-1",
        "c::127.0.0.1:1::local_origin_success_rate::-1",
    ]
    assert "c::[::1]:1::health_flags::/failed_eds_health" in lines
    assert "c::/tmp/up::weight::1" in lines


def test_clusters_are_chosen_by_name(get):
    assert get("/clusters?filter=^d$")[1] == "d::observability_name::d\nd::added_via_api::true\n"
    assert get("/clusters?filter=(") == (400, "Invalid re2 regex")


def test_clusters_as_json(get):
    statuses = json.loads(get("/clusters?format=json")[1])["cluster_statuses"]
    assert statuses[1] == {
        "name": "d", "added_via_api": True, "circuit_breakers": {"thresholds": []}, "observability_name": "d",
    }  # fmt: skip
    first, second, third = statuses[0]["host_statuses"]
    assert first == {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        "stats": [
            {"value": "3", "name": "cx_total"},
            {"name": "rq_total"},
            {"type": "GAUGE", "value": "1", "name": "cx_active"},
        ],
        "health_status": {"eds_health_status": "HEALTHY"},
        "weight": 1,
        "locality": {},
    }
    assert second["health_status"] == {"eds_health_status": "UNHEALTHY"}
    assert (second["hostname"], second["priority"], second["locality"]) == ("x", 1, {"zone": "z"})
    assert third["address"] == {"pipe": {"path": "/tmp/up"}}


def test_what_outlier_detection_found(server, get, monkeypatch):
    limits = CircuitBreakerStatus(1, 2, 3, 4)
    good = replace(server.clusters()[0].hosts[0], success_rate=100.0, local_origin_success_rate=0.0)
    flags = "/failed_outlier_check/degraded_outlier_detection"
    bad = replace(server.clusters()[0].hosts[0], port=2, health_flags=flags, success_rate=100 / 7)
    status = ClusterStatus(
        "c", "c", False, (limits, limits), [good, bad], OutlierStatus(200 / 3, 61.952621, -1.0, -1.0), "of_eds"
    )
    monkeypatch.setattr(server, "clusters", lambda matches=None: [status])
    lines = get("/clusters")[1].splitlines()
    assert lines[1:5] == [
        "c::outlier::success_rate_average::66.6667",
        "c::outlier::success_rate_ejection_threshold::61.9526",
        "c::outlier::local_origin_success_rate_average::-1",
        "c::outlier::local_origin_success_rate_ejection_threshold::-1",
    ]
    assert lines[13:15] == ["c::added_via_api::false", "c::eds_service_name::of_eds"]
    assert "c::127.0.0.1:1::success_rate::100" in lines
    assert "c::127.0.0.1:1::local_origin_success_rate::0" in lines
    assert "c::127.0.0.1:2::success_rate::14.285714285714286" in lines
    (shown,) = json.loads(get("/clusters?format=json")[1])["cluster_statuses"]
    assert list(shown) == [
        "name",
        "success_rate_ejection_threshold",
        "host_statuses",
        "circuit_breakers",
        "observability_name",
        "eds_service_name",
    ]
    assert shown["success_rate_ejection_threshold"] == {"value": 61.952621}
    first, second = shown["host_statuses"]
    assert (first["success_rate"], first["local_origin_success_rate"]) == ({"value": 100}, {})
    assert list(second["health_status"].items()) == [
        ("failed_outlier_check", True),
        ("eds_health_status", "HEALTHY"),
        ("failed_degraded_outlier_detection", True),
    ]


def test_listeners(server, get):
    assert get("/listeners")[1] == "l::127.0.0.1:80\nl::/tmp/sock\n"
    assert get("/listeners?format=json")[1] == (
        '{\n "listener_statuses": [\n  {\n   "name": "l",\n   "local_address": {\n    "socket_address": {\n'
        '     "address": "127.0.0.1",\n     "port_value": 80\n    }\n   },\n   "additional_local_addresses": [\n'
        '    {\n     "pipe": {\n      "path": "/tmp/sock"\n     }\n    }\n   ]\n  }\n ]\n}\n'
    )
    server.listeners = lambda matches=None: []
    assert get("/listeners?format=json")[1] == "{}\n"


def configs(get, query=""):
    status, body = get(f"/config_dump{query}")
    assert status == 200
    return json.loads(body).get("configs")


def kinds(dumps):
    return [dump["@type"].rpartition(".")[2] for dump in dumps]


def test_the_dump_has_all_parts_in_order(get):
    dumps = configs(get)
    assert kinds(dumps) == [
        "BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "ScopedRoutesConfigDump",
        "RoutesConfigDump", "SecretsConfigDump",
    ]  # fmt: skip
    assert dumps[0]["bootstrap"]["node"] == {"id": "n"}
    assert dumps[0]["last_updated"] == "2026-11-23T09:01:34.591Z"
    assert dumps[1]["static_clusters"][0]["cluster"] == {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "c",
    }  # fmt: skip
    assert dumps[4]["static_route_configs"][0]["route_config"]["name"] == "r"


def test_endpoints_are_shown_when_asked_for(get):
    dumps = configs(get, "?include_eds")
    assert kinds(dumps)[2] == "EndpointsConfigDump"
    first = dumps[2]["static_endpoint_configs"][0]["endpoint_config"]
    assert first["policy"] == {"overprovisioning_factor": 140}
    assert first["endpoints"][1]["lb_endpoints"][0]["health_status"] == "UNHEALTHY"


def test_one_resource(get):
    names = [dump["cluster"]["name"] for dump in configs(get, "?resource=static_clusters")]
    assert names == ["c", "d"]
    assert configs(get, "?resource=dynamic_active_clusters") is None
    assert get("/config_dump?resource=x") == (404, "x not found in config dump")
    assert get("/config_dump?resource=bootstrap") == (
        400,
        "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field",
    )


def test_masks(get):
    assert configs(get, "?mask=bootstrap.node.id") == [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": "n"}}}
    ]
    assert configs(get, "?resource=static_clusters&mask=last_updated")[0]["last_updated"]
    only_names = configs(get, "?resource=static_clusters&mask=cluster.name")
    assert [dump["cluster"]["name"] for dump in only_names] == ["c", "d"]
    assert "last_updated" not in only_names[0]
    assert kinds(configs(get, "?mask=static_clusters")) == ["ClustersConfigDump"]


@pytest.mark.parametrize("mask", ["static_clusters.cluster.name", "node,bootstrap.node.id", "x", "bootstrap..", "."])
def test_masks_that_fit_nowhere(get, mask):
    assert get(f"/config_dump?mask={mask}") == (
        400,
        f"FieldMask {mask} could not be successfully applied to any configs.",
    )


def test_a_mask_that_does_not_fit_the_resource(get):
    status, body = get("/config_dump?resource=static_clusters&mask=x")
    assert (status, body) == (400, 'FieldMask paths: "x"\n could not be successfully used.')


def test_names_are_matched_whole(get):
    dumps = configs(get, "?name_regex=d")
    assert [entry["cluster"]["name"] for entry in dumps[1]["static_clusters"]] == ["d"]
    assert "static_listeners" not in dumps[2]
    assert get("/config_dump?name_regex=(") == (
        400,
        "INVALID_ARGUMENT: Error while parsing name_regex from (: missing ): (",
    )


def test_secrets_are_blanked():
    certificate = common_pb2.TlsCertificate()
    certificate.private_key.inline_string = "-----BEGIN"
    certificate.certificate_chain.filename = "/cert"
    certificate.pkcs12.inline_bytes = b"bundle"
    assert message_to_json(certificate) == {
        "certificate_chain": {"filename": "/cert"},
        "private_key": {"inline_string": "[redacted]"},
        "pkcs12": {"inline_bytes": "W3JlZGFjdGVkXQ=="},
    }


def test_config_dump_of_secrets(get, server):
    def certificate(key):
        source = base_pb2.DataSource(inline_string=key)
        return common_pb2.TlsCertificate(private_key=source)

    server.secrets = (
        [secret_pb2.Secret(name="static", tls_certificate=certificate("key"))],
        [
            DynamicSecret("there", "tls_certificate", "7", 1.5, certificate("key")),
            DynamicSecret("awaited", "validation_context", "uninitialized", 1.5, None),
        ],
    )
    kind = {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"}
    shown = {"tls_certificate": {"private_key": {"inline_string": "[redacted]"}}}
    dump = configs(get, "")[-1]
    assert dump == {
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
        "static_secrets": [{"name": "static", "secret": {**kind, "name": "static", **shown}}],
        "dynamic_active_secrets": [
            {
                "name": "there",
                "version_info": "7",
                "last_updated": "1970-01-01T00:00:01.500Z",
                "secret": {**kind, "name": "there", **shown},
            }
        ],
        "dynamic_warming_secrets": [
            {
                "name": "awaited",
                "version_info": "uninitialized",
                "last_updated": "1970-01-01T00:00:01.500Z",
                "secret": {**kind, "name": "awaited"},
            }
        ],
    }
    assert list(configs(get, "?name_regex=s.*")[-1]) == ["@type", "static_secrets"]


def test_config_dump_of_dynamic_listeners(get, server):
    def state(version, name="one"):
        return ResourceState(version, listener_pb2.Listener(name=name), 1.5)

    refused = listener_pb2.Listener(name="two")
    server.version_info = "7"
    server.dynamic = [
        DynamicListener("one", state("7"), state("8"), state("6")),
        DynamicListener("two", error=RefusedUpdate(refused, "why", 2.0)),
        DynamicListener(error=RefusedUpdate(refused, "why", 0.0)),
    ]
    dump = json.loads(get("/config_dump?resource=dynamic_listeners")[1])["configs"]
    assert [one.get("name") for one in dump] == ["one", "two", None]
    states = {field: one for field, one in dump[0].items() if field.endswith("_state")}
    assert {field: one["version_info"] for field, one in states.items()} == {
        "active_state": "7",
        "warming_state": "8",
        "draining_state": "6",
    }
    assert states["active_state"]["last_updated"] == "1970-01-01T00:00:01.500Z"
    assert states["active_state"]["listener"]["name"] == "one"
    assert dump[1]["error_state"]["last_update_attempt"] == "1970-01-01T00:00:02Z"
    assert dump[2]["error_state"]["details"] == "why"
    assert dump[2]["error_state"]["failed_configuration"]["name"] == "two"
    assert "last_update_attempt" not in dump[2]["error_state"]
    whole = json.loads(get("/config_dump?name_regex=o.e")[1])["configs"]
    [listeners] = [one for one in whole if one["@type"].endswith("ListenersConfigDump")]
    assert listeners["version_info"] == "7"
    assert [one.get("name") for one in listeners["dynamic_listeners"]] == ["one", "two", None]


def error_of(dump):
    return dump["error_state"]["details"], dump["error_state"]["version_info"]


def test_every_type_says_what_was_refused(get, server):
    def refused(name, type_name):
        message = None if type_name == "tls.v3.Secret" else Packed(f"envoy.{type_name}", b"")
        return {name: RefusedUpdate(message, f"why {name}", 2.0, "9")}

    def state(name, type_name):
        return ResourceState("1", Packed(f"envoy.{type_name}", b""), 1.5, name)

    cluster, routes = "config.cluster.v3.Cluster", "config.route.v3.RouteConfiguration"
    extension = "config.core.v3.TypedExtensionConfig"
    server.clusters_of_cds = DynamicClusters("1", [state("known", cluster)], [])
    server.routes = [state("routes", routes)]
    server.scopes = [ScopedRoutes("scoped", "1", [scoped_route_pb2.ScopedRouteConfiguration(name="scope")], 1.5, True)]
    server.extensions = [("ecds_filter_network", []), ("ecds_filter_http", [state("filter", extension)])]
    server.refusals = {
        "Cluster": {**refused("known", cluster), **refused("new", cluster)},
        "RouteConfiguration": {**refused("routes", routes), **refused("other", routes)},
        "ScopedRouteConfiguration": refused("scope", "config.route.v3.ScopedRouteConfiguration"),
        "TypedExtensionConfig": refused("filter", extension),
        "ClusterLoadAssignment": refused("d", "config.endpoint.v3.ClusterLoadAssignment"),
        "Secret": refused("s", "tls.v3.Secret"),
    }

    def resource(name):
        return json.loads(get(f"/config_dump?include_eds&resource={name}")[1])["configs"]

    (known,), (new,) = resource("dynamic_active_clusters"), resource("dynamic_warming_clusters")
    assert (error_of(known), error_of(new)) == (("why known", "9"), ("why new", "9"))
    assert new["error_state"]["failed_configuration"] == {"@type": f"type.googleapis.com/envoy.{cluster}"}
    assert [error_of(one) for one in resource("dynamic_route_configs")] == [("why routes", "9"), ("why other", "9")]
    scoped, scope = resource("dynamic_scoped_route_configs")
    assert (scoped["name"], scope["name"], error_of(scope)) == ("scoped", "scope", ("why scope", "9"))
    (filter_,) = resource("ecds_filters")
    assert error_of(filter_) == ("why filter", "9")
    (endpoints,) = resource("dynamic_endpoint_configs")
    assert (endpoints["endpoint_config"]["cluster_name"], error_of(endpoints)) == ("d", ("why d", "9"))
    (secret,) = resource("dynamic_warming_secrets")
    assert (secret["name"], error_of(secret)) == ("s", ("why s", "9"))
    assert "failed_configuration" not in secret["error_state"]
    assert kinds(configs(get))[2:4] == ["EcdsConfigDump", "EcdsConfigDump"]


def test_there_are_no_routes_without_a_connection_manager(get, server):
    del server.message.static_resources.listeners[:]
    server.routes = [ResourceState("1", Packed("envoy.config.route.v3.RouteConfiguration", b""), 1.5, "r")]
    assert "RoutesConfigDump" not in kinds(configs(get))
