"""The certificate by which main speaks to its control plane comes from SDS and is replaced while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from proxeny.testing import RunningProxy
from proxeny.testing.certificates import Authority, Certificate
from proxeny.testing.xds import CDS, LDS, ControlPlane

TYPES = "type.googleapis.com/envoy"


def put_secret(path: Path, certificate: Certificate) -> None:
    """Move a secret ``client`` to where SDS looks."""
    content = {
        "certificate_chain": {"inline_string": certificate.chain_pem},
        "private_key": {"inline_string": certificate.key_pem},
    }
    secret = {"@type": f"{TYPES}.extensions.transport_sockets.tls.v3.Secret", "name": "client"}
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps({"resources": [{**secret, "tls_certificate": content}]}))
    fresh.rename(path)


def bootstrap(port: int, sds: Path, roots: str) -> str:
    """Everything over ADS, with mutual TLS."""
    options = {
        "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    source = {"path_config_source": {"path": str(sds)}, "resource_api_version": "V3"}
    context = {
        "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": "client", "sds_config": source}],
            "validation_context": {"trusted_ca": {"inline_string": roots}},
        },
        "sni": "plane.test",
    }
    host: dict[str, Any] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    cluster = {
        "name": "plane",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "transport_socket": {"name": "tls", "typed_config": context},
        "load_assignment": {"cluster_name": "plane", "endpoints": [{"lb_endpoints": [{"endpoint": host}]}]},
    }
    back_off = {"base_interval": "0.01s", "max_interval": "0.05s"}
    service = {"envoy_grpc": {"cluster_name": "plane", "retry_policy": {"retry_back_off": back_off}}}
    ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [service]}
    own = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.2s"}
    return json.dumps(
        {
            "node": {"id": "me", "cluster": "us"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": {"ads_config": ads, "lds_config": own, "cds_config": own},
            "static_resources": {"clusters": [cluster]},
        }
    )


def test_a_certificate_is_replaced(proxy: Callable[..., RunningProxy], tmp_path: Path) -> None:
    authority, stranger = Authority("roots"), Authority("strangers")
    server = authority.issue("plane", "DNS:plane.test")
    credentials = grpc.ssl_server_credentials(
        [(server.key_pem.encode(), server.chain_pem.encode())], authority.pem.encode(), require_client_auth=True
    )
    sds = tmp_path / "sds.json"
    put_secret(sds, stranger.issue("client"))
    with ControlPlane(credentials=credentials) as plane:
        plane.set(CDS, [{"name": "one"}])
        plane.set(LDS, [])
        running = proxy(bootstrap(plane.port, sds, authority.pem))
        running.wait_for_stat("cluster_manager.cds.update_failure", 2)
        assert plane.streams == []
        put_secret(sds, authority.issue("client"))
        plane.wait_for_ack(CDS, "1")
        running.wait_for_stat("cluster_manager.active_clusters", 2)
        # A stream that is open stays open with the certificate that it began with.
        put_secret(sds, authority.issue("again"))
        running.wait_for_stat("sds.client.update_success", 3)
        plane.set(CDS, [{"name": "one"}, {"name": "two"}], version="more")
        plane.wait_for_ack(CDS, "more")
        assert len(plane.streams) == 1
