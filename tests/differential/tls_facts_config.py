"""The configuration of the tests of TLS facts: listeners by how they treat certificates, and by who logs."""

import json
from typing import Any

from proxeny.formatter.tls_commands import tls_commands

_TYPE = "type.googleapis.com/envoy.extensions."
_BOTH_SIDES = sorted(set(tls_commands()) - {"DOWNSTREAM_HANDSHAKE_DURATION"})
FORMAT = "".join([f"{name}=%{name}% " for name in _BOTH_SIDES])
TIMES = "".join(
    [
        f"{side}_{end}_{number}=%{side}_PEER_CERT_V_{end}({pattern})% "
        for side in ("DOWNSTREAM", "UPSTREAM")
        for end in ("START", "END")
        for number, pattern in enumerate(("%s", "%Y-%m-%d", "%b %e %H:%M:%S %Y %Z", "%3f", "%s.%6f"))
    ]
)
OTHERS = (
    "SNI=%REQUESTED_SERVER_NAME% SNI_ONLY=%REQUESTED_SERVER_NAME(SNI_ONLY)% "
    "SNI_FIRST=%REQUESTED_SERVER_NAME(SNI_FIRST)% HOST_FIRST=%REQUESTED_SERVER_NAME(HOST_FIRST)% "
    "HANDSHAKE=%DOWNSTREAM_HANDSHAKE_DURATION% "
    "DETAILS=%CONNECTION_TERMINATION_DETAILS% CLOSED=%DOWNSTREAM_DETECTED_CLOSE_TYPE% "
    "JA3=%TLS_JA3_FINGERPRINT% JA4=%TLS_JA4_FINGERPRINT% "
    "CHAIN=%FILTER_CHAIN_NAME% XFCC_URI=%XFCC_VALUE(uri)% FLAGS=%RESPONSE_FLAGS% "
    "DOWN=%DOWNSTREAM_TRANSPORT_FAILURE_REASON% UP=%UPSTREAM_TRANSPORT_FAILURE_REASON%"
)
LOG_FORMAT = f"{FORMAT}{TIMES}{OTHERS}\n"
DETAILS = {"subject": True, "cert": True, "chain": True, "dns": True, "uri": True}


def typed(name: str, message: str, **fields: Any) -> dict[str, Any]:
    """An extension's name and its configuration."""
    return {"name": name, "typed_config": {"@type": f"{_TYPE}{message}", **fields}}


def file_log(name: str) -> list[dict[str, Any]]:
    """The access log of a listener."""
    text = {"text_format_source": {"inline_string": LOG_FORMAT}}
    return [typed("file", "access_loggers.file.v3.FileAccessLog", path=f"{{{{log:{name}}}}}", log_format=text)]


def files(certificate: str) -> dict[str, Any]:
    """A certificate of the folder."""
    return {
        "certificate_chain": {"filename": f"{{{{certificates}}}}/{certificate}.crt"},
        "private_key": {"filename": f"{{{{certificates}}}}/{certificate}.key"},
    }


def downstream(untrusted: bool = False, certificate: str = "server", resumes: bool = False) -> dict[str, Any]:
    """The transport socket of a listener."""
    validation: dict[str, Any] = {"trusted_ca": {"filename": "{{certificates}}/server.ca"}}
    if untrusted:
        validation["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
    common = {
        "tls_certificates": [files(certificate)],
        "validation_context": validation,
        "alpn_protocols": ["http/1.1"],
        # Both libraries choose these.
        "tls_params": {"ecdh_curves": ["X25519", "P-256"]},
    }
    return typed(
        "tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        disable_stateless_session_resumption=not resumes,
        disable_stateful_session_resumption=not resumes,
    )


def upstream(certificate: str, **more: Any) -> dict[str, Any]:
    """The transport socket of a cluster; no certificate where the name is empty."""
    common: dict[str, Any] = {"tls_params": {"ecdh_curves": ["X25519", "P-256"]}, **more}
    if certificate:
        common["tls_certificates"] = [files(certificate)]
    return typed("tls", "transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=common, sni="up.test")


def direct(status: int, **match: Any) -> dict[str, Any]:
    """A route that answers by itself."""
    return {"match": {"prefix": "/route", **match}, "direct_response": {"status": status}}


ROUTES = [
    direct(201, headers=[{"name": "ask", "string_match": {"exact": "presented"}}], tls_context={"presented": True}),
    direct(202, headers=[{"name": "ask", "string_match": {"exact": "absent"}}], tls_context={"presented": False}),
    direct(203, headers=[{"name": "ask", "string_match": {"exact": "validated"}}], tls_context={"validated": True}),
    direct(205, headers=[{"name": "ask", "string_match": {"exact": "invalid"}}], tls_context={"validated": False}),
    direct(206, headers=[{"name": "ask", "string_match": {"exact": "any"}}], tls_context={}),
    direct(404),
]
ADDED = [
    ("x-peer", "%DOWNSTREAM_PEER_SUBJECT%"),
    ("x-san", "%DOWNSTREAM_PEER_URI_SAN%"),
    ("x-version", "%DOWNSTREAM_TLS_VERSION%"),
]


def matcher(name: str, message: str, exact: str) -> dict[str, Any]:
    """A tree that sets the header for certificates with this fact, else forwards what came."""
    only = {"input": typed(name, f"matching.common_inputs.ssl.v3.{message}"), "value_match": {"exact": exact}}
    config = "filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertConfig"

    def action(mode: str) -> dict[str, Any]:
        details = {"uri": True, "subject": True}
        made = typed("set", config, forward_client_cert_details=mode, set_current_client_cert_details=details)
        return {"action": made}

    found = {"predicate": {"single_predicate": only}, "on_match": action("SANITIZE_SET")}
    return {"matcher_list": {"matchers": [found]}, "on_no_match": action("ALWAYS_FORWARD_ONLY")}


def http(name: str, mode: str = "SANITIZE_SET", details: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A filter: an HTTP connection manager."""
    cluster = more.pop("cluster", "up")
    routes = [*ROUTES, {"match": {"prefix": "/"}, "route": {"cluster": cluster}}]
    host = {"name": "all", "domains": ["*"], "routes": routes}
    return typed(
        "hcm",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        access_log=file_log(name),
        forward_client_cert_details=mode,
        set_current_client_cert_details=DETAILS if details is None else details,
        route_config={
            "virtual_hosts": [host],
            "request_headers_to_add": [{"header": {"key": key, "value": value}} for key, value in ADDED],
        },
        http_filters=[typed("router", "filters.http.router.v3.Router")],
        **more,
    )


def tcp(name: str, cluster: str = "raw") -> dict[str, Any]:
    """A filter: a TCP proxy."""
    message = "filters.network.tcp_proxy.v3.TcpProxy"
    return typed("tcp", message, stat_prefix=name, cluster=cluster, access_log=file_log(name))


def listener(name: str, network_filter: dict[str, Any], socket: dict[str, Any] | None) -> dict[str, Any]:
    """One listener; without a transport socket it is plain."""
    chain: dict[str, Any] = {"name": f"chain {name}", "filters": [network_filter]}
    if socket is not None:
        chain["transport_socket"] = socket
    inspector = typed(
        "inspector",
        "filters.listener.tls_inspector.v3.TlsInspector",
        enable_ja3_fingerprinting=True,
        enable_ja4_fingerprinting=True,
    )
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": [inspector] if socket is not None else [],
        "filter_chains": [chain],
    }


def of_connections(name: str, timeout: str) -> dict[str, Any]:
    """A listener that logs its connections, whose handshakes must be done in time."""
    made = listener(name, http(f"{name}_requests"), downstream())
    made["access_log"] = file_log(name)
    made["listener_filters"] = []
    made["filter_chains"][0]["transport_socket_connect_timeout"] = timeout
    return made


def cluster(name: str, port: int | str, socket: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """One cluster with one host."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    made: dict[str, Any] = {
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        **more,
    }
    if socket is not None:
        made["transport_socket"] = socket
    return made


def internal(name: str, socket: dict[str, Any]) -> dict[str, Any]:
    """A cluster that leads to an internal listener."""
    around = typed("x", "transport_sockets.internal_upstream.v3.InternalUpstreamTransport", transport_socket=socket)
    address = {"envoy_internal_address": {"server_listener_name": name}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "transport_socket": around,
    }


MODES = ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "ALWAYS_FORWARD_ONLY")
PARTS = ("subject", "cert", "chain", "dns", "uri")
MATCHERS = {
    "uri_san": ("UriSanInput", "spiffe://mesh.test/ns/a/sa/web"),
    "dns_san": ("DnsSanInput", "a.test,*.b.test"),
    "subject": ("SubjectInput", "CN=plain,O=Proxeny tests"),
}
UPSTREAMS = ("tls_up", "mutual", "tls12", "tcp_tls")


def template(ports: dict[str, int]) -> str:
    """The bootstrap; ``ports`` are those of TLS servers by name. Marks: ``{{certificates}}`` and the usual ones."""
    listeners = [
        listener("main", http("main"), downstream()),
        listener("untrusted", http("untrusted"), downstream(untrusted=True)),
        listener("resuming", http("resuming"), downstream(resumes=True)),
        listener("tcp", tcp("tcp"), downstream()),
        listener("many_names", http("many_names"), downstream(certificate="many")),
        *[listener(mode.lower(), http(mode.lower(), mode), downstream()) for mode in MODES],
        *[listener(f"only_{part}", http(f"only_{part}", details={part: True}), downstream()) for part in PARTS],
        *[
            listener(
                f"by_{name}",
                http(
                    f"by_{name}", forward_client_cert_matcher=matcher(f"envoy.matching.inputs.{name}", message, exact)
                ),
                downstream(),
            )
            for name, (message, exact) in MATCHERS.items()
        ],
        listener("to_inside", http("to_inside", cluster="inside"), None),
        {
            "name": "inside",
            "internal_listener": {},
            "filter_chains": [{"filters": [http("inside")], "transport_socket": downstream()}],
        },
        of_connections("handshakes", "60s"),
        of_connections("timed", "0.1s"),
        listener("plain", http("plain", "ALWAYS_FORWARD_ONLY"), None),
        listener("to_tls", http("to_tls", cluster="tls_up"), None),
        listener("to_mutual", http("to_mutual", cluster="mutual"), None),
        listener("to_tls12", http("to_tls12", cluster="tls12"), None),
        listener("to_tcp", tcp("to_tcp", "tcp_tls"), None),
        listener("to_many", http("to_many", cluster="many"), None),
    ]
    tls12 = {"tls_params": {"tls_maximum_protocol_version": "TLSv1_2", "ecdh_curves": ["P-256"]}}
    clusters = [
        cluster("up", "{{upstream:up}}"),
        cluster("raw", "{{upstream:up}}"),
        cluster("tls_up", ports["server"], upstream("")),
        cluster("mutual", ports["server"], upstream("many", alpn_protocols=["http/1.1"])),
        cluster("tls12", ports["server"], upstream("spiffe", **tls12)),
        cluster("tcp_tls", ports["server"], upstream("spiffe")),
        cluster("many", ports["many"], upstream("")),
        internal("inside", upstream("spiffe")),
    ]
    text = json.dumps(
        {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "bootstrap_extensions": [typed("internal", "bootstrap.internal_listener.v3.InternalListener")],
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }
    )
    # Ports are numbers.
    return text.replace('"{{upstream:up}}"', "{{upstream:up}}")
