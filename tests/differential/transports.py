"""One proxy whose clusters get their endpoints over different transports, and the control planes behind them.

Each transport brings the assignment of one cluster, which has its name. Requests are kept by transport, without nonces;
polls that ask for the same again are one.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import Any

import grpc
from tests.differential.proxies import Proxy

from proxeny.testing.certificates import Authority
from proxeny.testing.xds import EDS, ControlPlane, Request

TIMEOUT = 20.0
POLL = 0.01
TYPES = "type.googleapis.com/envoy"
SERVER_NAME = "plane.test"
_FILE_METADATA = "envoy.grpc_credentials.file_based_metadata"
Json = dict[str, Any]

_POLLED = ("cluster.rest.update_attempt", "cluster.rest.update_rejected", "cluster.rest.update_failure")
"""What grows while nothing changes."""
_UNSTEADY = re.compile(r"goo\.gle/debug\w+\s+|(?<=: )[a-z_\[\]0-9.]+: (?=Proto constraint)")
"""What Envoy's library puts before messages, differently in every run, and where Proxeny says that an error is."""

PLAIN, SECURE, REST, FILE = "plain", "secure", "rest", "file"
TRANSPORTS = {
    "envoy": PLAIN, "envoy_delta": PLAIN, "envoy_dns": PLAIN, "envoy_tls": SECURE,
    "google": PLAIN, "google_delta": PLAIN, "google_tls": SECURE, "google_file": SECURE, "rest": REST, "file": FILE,
}  # fmt: skip
"""Which control plane is behind each."""
BROKEN = ("broken_name", "broken_certificate", "google_broken")
"""Clusters whose endpoints never come: the control plane does not trust us, or we do not trust it."""
GRPC = tuple(name for name, plane in TRANSPORTS.items() if plane in (PLAIN, SECURE))

CLUSTER_STATS = (
    r"update_(attempt|success|rejected|failure)|version_text|membership_total|control_plane[.]connected_state"
)
STATS = rf"^cluster[.]({'|'.join(TRANSPORTS)})[.]({CLUSTER_STATS}|grpc[.].*)$"
LIMIT = 1 << 20
"""Of messages to envoy_grpc; grpcio has one of 4 MB."""
ABOVE_ALL_LIMITS = 5 << 20
BACK_OFF = {"base_interval": "0.01s", "max_interval": "0.05s"}
LAZY = {"base_interval": "0.1s", "max_interval": "2s"}
CHANNEL = {f"grpc.{name}_reconnect_backoff_ms": {"int_value": "50"} for name in ("initial", "min", "max")}


class RestPlane:
    """Serves assignments as JSON. ``broken``: a status and a body that it answers instead."""

    def __init__(self) -> None:
        self.served: dict[str, tuple[str, Json]] = {}
        self.broken: tuple[int, bytes] | None = None
        self.requests: list[tuple[str, str, list[str]]] = []
        self.heads: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                plane.heads.append({name.lower(): value for name, value in self.headers.items()})
                status, body = plane._answer(self.path, request)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        return Handler

    def _answer(self, path: str, request: Json) -> tuple[int, bytes]:
        names = request.get("resource_names", [])
        known = request.get("version_info", "")
        self.requests.append((path, known, names))
        if self.broken is not None:
            return self.broken
        version, resource = self.served[names[0]]
        if version == known:
            return 304, b""
        return 200, json.dumps({"version_info": version, "resources": [resource]}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Plant:
    """One proxy under the cases, and its control planes."""

    def __init__(self, kind: str, folder: Path, authority: Authority) -> None:
        self.folder = folder / "plane"
        self.folder.mkdir(parents=True)
        self.secret = self.folder / "secret"
        """What the plugin of google_file sends."""
        self.secret.write_text("first")
        server = authority.issue("plane", f"DNS:{SERVER_NAME}")
        self._client = authority.issue("client").write(self.folder)
        self._roots = self.folder / "roots.pem"
        self._roots.write_text(authority.pem)
        self._others = self.folder / "others.pem"
        self._others.write_text(Authority("others").pem)
        credentials = grpc.ssl_server_credentials(
            [(server.key_pem.encode(), server.chain_pem.encode())], authority.pem.encode(), require_client_auth=True
        )
        self.planes = {PLAIN: ControlPlane(), SECURE: ControlPlane(credentials=credentials)}
        self.rest = RestPlane()
        self.lines: list[str] = []
        self.counts = True
        """Whether what is counted in the case, and how often the same is asked for, is no matter of time."""
        self._before: dict[str, int | str] = {}
        self._who: dict[tuple[int, int], str] = {}
        self._versions = 0
        self.put(*TRANSPORTS)
        self.proxy = Proxy(kind, json.dumps(self._bootstrap()), folder / "proxy")

    # -- what is served --------------------------------------------------------------------------------------------
    def put(self, *names: str, ports: tuple[int, ...] = (1001,), more: Json | None = None) -> str:
        """Serve these assignments with endpoints at these ports; returns the version."""
        self._versions += 1
        version = f"v{self._versions}"
        for plane in (PLAIN, SECURE):
            changed = [assignment(name, ports, more) for name in names if TRANSPORTS[name] == plane]
            if changed:
                self.planes[plane].update(EDS, changed, version=version)
        for name in names:
            if TRANSPORTS[name] in (REST, FILE):
                resource = {"@type": f"{TYPES}.config.endpoint.v3.ClusterLoadAssignment"}
                resource.update(assignment(name, ports, more))
                if name == REST:
                    self.rest.served[name] = (version, resource)
                else:
                    self.put_file(json.dumps({"version_info": version, "resources": [resource]}))
        return version

    def put_file(self, text: str) -> None:
        """Move a file to where the file transport looks."""
        fresh = self.folder / "fresh"
        fresh.write_text(text)
        fresh.rename(self.folder / "eds.json")

    # -- the configuration -----------------------------------------------------------------------------------------
    def _bootstrap(self) -> Json:
        ports = {name: self.planes[name].port for name in (PLAIN, SECURE)}
        clusters = [
            self._plane_cluster("plain", ports[PLAIN]),
            self._plane_cluster("dns", ports[PLAIN], "localhost"),
            {**self._plane_cluster("secure", ports[SECURE]), "transport_socket": self._tls()},
            {**self._plane_cluster("wrong_name", ports[SECURE]), "transport_socket": self._tls("other.test")},
            {**self._plane_cluster("no_certificate", ports[SECURE]), "transport_socket": self._tls(certified=False)},
            {"name": "rest_plane", "load_assignment": assignment("rest_plane", (self.rest.port,))},
        ]
        clusters += [
            {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": self._source(name)}}
            for name in (*TRANSPORTS, *BROKEN)
        ]
        address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
        node = {"id": "me", "cluster": "us"}
        return {"node": node, "admin": {"address": address}, "static_resources": {"clusters": clusters}}

    def _plane_cluster(self, name: str, port: int, host: str = "127.0.0.1") -> Json:
        options = {
            "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        cluster = {
            "name": name,
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
            "load_assignment": assignment(name, (port,), host=host),
        }
        return {**cluster, "type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY"} if host == "localhost" else cluster

    def _tls(self, expected: str = SERVER_NAME, certified: bool = True) -> Json:
        certificate = {
            "certificate_chain": {"filename": self._client.certificate_chain},
            "private_key": {"filename": self._client.private_key},
        }
        names = [{"san_type": "DNS", "matcher": {"exact": expected}}]
        validation = {"trusted_ca": {"filename": str(self._roots)}, "match_typed_subject_alt_names": names}
        context = {
            "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [certificate] if certified else [],
                "validation_context": validation,
            },
            "sni": SERVER_NAME,
        }
        return {"name": "tls", "typed_config": context}

    def _source(self, name: str) -> Json:
        if name == FILE:
            path = {"path": str(self.folder / "eds.json"), "watched_directory": {"path": str(self.folder)}}
            return {"path_config_source": path, "resource_api_version": "V3"}
        api: Json = {"api_type": "GRPC", "transport_api_version": "V3"}
        if name == REST:
            api.update(api_type="REST", cluster_names=["rest_plane"], refresh_delay="0.02s", request_timeout="5s")
        elif not name.startswith("google"):
            clusters = {
                "envoy_tls": "secure",
                "envoy_dns": "dns",
                "broken_name": "wrong_name",
                "broken_certificate": "no_certificate",
            }
            envoy = {
                "cluster_name": clusters.get(name, "plain"),
                "authority": f"{name}.test",
                "retry_policy": {"retry_back_off": LAZY if name in BROKEN else BACK_OFF},
                "max_receive_message_length": LIMIT,
            }
            api["grpc_services"] = [{"envoy_grpc": envoy, "initial_metadata": [{"key": "X-Who", "value": name}]}]
        else:
            api["grpc_services"] = [
                {"google_grpc": self._google(name), "initial_metadata": [{"key": "X-Who", "value": name}]}
            ]
        if name.endswith("_delta"):
            api["api_type"] = "DELTA_GRPC"
        source: Json = {"api_config_source": api, "resource_api_version": "V3"}
        if name in BROKEN:
            source["initial_fetch_timeout"] = "0.3s"
        return source

    def _google(self, name: str) -> Json:
        google: Json = {"stat_prefix": "counted", "channel_args": {"args": dict(CHANNEL)}}
        if TRANSPORTS.get(name) == PLAIN:
            return {**google, "target_uri": f"127.0.0.1:{self.planes[PLAIN].port}"}
        if name == "google_file":
            google["credentials_factory_name"] = _FILE_METADATA
            config = {
                "@type": f"{TYPES}.config.grpc_credential.v3.FileBasedMetadataConfig",
                "secret_data": {"filename": str(self.secret)},
                "header_prefix": "Token ",
            }
            google["call_credentials"] = [{"from_plugin": {"name": _FILE_METADATA, "typed_config": config}}]
        elif name == "google_tls":
            google["call_credentials"] = [{"access_token": "token"}]
        google["channel_args"]["args"]["grpc.ssl_target_name_override"] = {"string_value": SERVER_NAME}
        google["channel_credentials"] = {
            "ssl_credentials": {
                "root_certs": {"filename": str(self._others if name == "google_broken" else self._roots)},
                "private_key": {"filename": self._client.private_key},
                "cert_chain": {"filename": self._client.certificate_chain},
            }
        }
        return {**google, "target_uri": f"127.0.0.1:{self.planes[SECURE].port}"}

    # -- driving it ------------------------------------------------------------------------------------------------
    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a fact."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("\n".join([f"{self.proxy.kind} waits in vain:", *self.requests(), *self.state()]))
            time.sleep(POLL)

    def stat(self, name: str) -> int:
        """One counter or gauge."""
        return self.proxy.stats(f"^{name}$").get(name, 0)

    def members(self, count: int, *names: str) -> None:
        """Wait until these clusters have so many hosts."""
        self.wait_until(lambda: all(self.stat(f"cluster.{name}.membership_total") == count for name in names))

    def begin(self) -> None:
        """Another case."""
        self.requests()  # learns whose streams they are
        for plane in self.planes.values():
            plane.forget()
        self.rest.requests.clear()
        self.lines = []
        self.counts = True
        self._before = self._stats()

    def note(self, text: str) -> None:
        """Put a line into the transcript."""
        self.lines.append(text)

    def note_metadata(self) -> None:
        """What the streams of the case said when they were opened."""
        for plane in self.planes.values():
            for stream in plane.streams:
                told = {key: value for key, value in stream.metadata if key not in ("user-agent", "x-forwarded-for")}
                self.note(f"{told['x-who']}: {sorted(told.items())}")
        self.lines.sort()

    # -- what is compared ------------------------------------------------------------------------------------------
    def requests(self) -> list[str]:
        """What was asked for since the case began, by transport."""
        found: dict[str, list[str]] = {}
        for plane in self.planes.values():
            requests = plane.requests
            for stream in plane.streams:
                self._who[plane.port, stream.number] = str(dict(stream.metadata)["x-who"])
            for request in requests:
                found.setdefault(self._transport_of(plane, request), []).append(_told(request))
        last = None
        for path, version, names in list(self.rest.requests):
            told = f"{path} version={version!r} names={names}"
            if told != last:
                found.setdefault(REST, []).append(told)
            last = told
        if not self.counts:
            found = {name: [told for told, _ in groupby(all_of_it)] for name, all_of_it in found.items()}
        return [f"{name}: {told}" for name in sorted(found) for told in found[name]]

    def _transport_of(self, plane: ControlPlane, request: Request) -> str:
        return self._who[plane.port, request.stream]

    def state(self) -> list[str]:
        """How statistics moved since the case began."""
        found = []
        for name, value in sorted(self._stats().items()):
            before = self._before.get(name, 0)
            if isinstance(value, str):
                found.append(f"{name}: {value}")
            elif value != before and (self.counts or name.endswith(("membership_total", "connected_state"))):
                found.append(f"{name}: {value - (before if isinstance(before, int) else 0):+}")
        return found

    def _stats(self) -> dict[str, int | str]:
        found: dict[str, int | str] = {}
        for line in self.proxy.admin(f"/stats?filter={STATS}").splitlines():
            name, _, value = line.partition(": ")
            if not name.startswith(_POLLED):
                found[name] = int(value) if value.isdigit() else value
        return found

    def close(self) -> None:
        if hasattr(self, "proxy"):
            self.proxy.close()
        for plane in self.planes.values():
            plane.close()
        self.rest.close()


def assignment(name: str, ports: tuple[int, ...], more: Json | None = None, host: str = "127.0.0.1") -> Json:
    """A ClusterLoadAssignment."""
    hosts = [{"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}} for port in ports]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts, **(more or {})}]}


def _told(request: Request) -> str:
    return " ".join(_parts(request))


def _parts(request: Request) -> Iterator[str]:
    if not request.delta:
        yield f"version={request.version!r} names={list(request.names)}"
    if request.subscribe:
        yield f"subscribe={list(request.subscribe)}"
    if request.initial_versions:
        yield f"initial_versions={request.initial_versions}"
    if request.answers is not None:
        yield f"answers={request.answers.version!r}"
    elif request.nonce:
        yield "answers something"
    if request.error is not None:
        yield f"error={request.error_code}:{_UNSTEADY.sub('', request.error)!r}"
    if request.node is not None:
        yield "node"
