"""One proxy whose TLS contexts are made of secrets, and what becomes of them: handshakes, stats, admin pages.

A case is a function that drives a `Side`; everything worth comparing goes into its transcript. All cases share one pair
of proxies: each has listeners and secrets of its own. New contexts reach the workers a moment after main took them, so
whatever ought to change is waited for.
"""

import json
import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.differential.proxies import Proxy

from proxeny.testing.certificates import Authority, Certificate

TIMEOUT = 20.0
POLL = 0.01
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
FILTERS = "type.googleapis.com/envoy.extensions.filters"

Json = dict[str, Any]

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ONE_REQUEST: Json = {
    "@type": f"type.googleapis.com/{OPTIONS}",
    "explicit_http_config": {"http_protocol_options": {}},
    # A connection per request, so that each one meets the newest context.
    "common_http_protocol_options": {"max_requests_per_connection": 1},
}

ROOT = Authority("root")
OTHER = Authority("other")
"""Another authority."""
ONE, TWO, THREE = (ROOT.issue(name, f"DNS:{name}.test") for name in ("one", "two", "three"))
RSA = ROOT.issue("rsa", "DNS:rsa.test", key="rsa2048")
CLIENT, STRANGER = ROOT.issue("client", "DNS:client.test"), OTHER.issue("stranger", "DNS:stranger.test")
INTERMEDIATE = ROOT.intermediate()
SHOWN = INTERMEDIATE.issue(
    "shown", "DNS:shown.test", "IP:2001:db8::1", "email:a@b.test", "URI:spiffe://a/b", "DNS:*.b.test"
)
SHOWN_STAPLE = INTERMEDIATE.ocsp_response(SHOWN)
TICKET_KEYS = [bytes([number]) * 80 for number in range(3)]


def write(folder: Path) -> None:
    """All certificates as files."""
    for one in (ONE, TWO, THREE, RSA, CLIENT, STRANGER, ROOT, OTHER, SHOWN):
        one.write(folder)
    (folder / "shown.ocsp").write_bytes(SHOWN_STAPLE)
    (folder / "bundle.ca").write_text(ROOT.pem + OTHER.pem)
    for number, key in enumerate(TICKET_KEYS):
        (folder / f"ticket{number}").write_bytes(key)


def inline(certificate: Certificate) -> Json:
    """A ``TlsCertificate``, inline."""
    return {
        "certificate_chain": {"inline_string": certificate.chain_pem},
        "private_key": {"inline_string": certificate.key_pem},
    }


def in_files(folder: Path, chain: str = "chain", key: str = "key", **more: Any) -> Json:
    """A ``TlsCertificate`` in files."""
    return {
        "certificate_chain": {"filename": str(folder / chain)},
        "private_key": {"filename": str(folder / key)},
        **more,
    }


def put(folder: Path, certificate: Certificate) -> None:
    """A certificate as the files ``chain`` and ``key``."""
    (folder / "chain").write_text(certificate.chain_pem)
    (folder / "key").write_text(certificate.key_pem)


def trusting(*authorities: Authority, **more: Any) -> Json:
    """A ``CertificateValidationContext``."""
    return {"trusted_ca": {"inline_string": "".join(one.pem for one in authorities)}, **more}


def secret(name: str, **kind: Any) -> Json:
    """A ``Secret`` as a resource."""
    return {"@type": f"{TLS}.Secret", "name": name, **kind}


def move(path: Path, content: str | bytes) -> None:
    """Replace a file at once."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.rename(path)


def http(name: str, *routes: Json) -> Json:
    """A connection manager."""
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [*routes, answer]}]
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"},
    }
    manager = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": hosts},
        "http_filters": [router],
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def listener(name: str, common: Json | None, *routes: Json, pipe: str = "", **more: Any) -> Json:
    """A listener on any port, or at `pipe`; `common` is its CommonTlsContext."""
    chain: Json = {"filters": [http(name, *routes)]}
    if common is not None:
        typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common, **more}
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": typed}
    anywhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    address = {"pipe": {"path": pipe}} if pipe else anywhere
    return {"name": name, "stat_prefix": name, "address": address, "filter_chains": [chain]}


def cluster(name: str, pipe: str, common: Json, **more: Any) -> Json:
    """A cluster of one host; `common` is its CommonTlsContext."""
    address = {"pipe": {"path": pipe}}
    typed = {"@type": f"{TLS}.UpstreamTlsContext", "common_tls_context": common, **more}
    return {
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed},
        "typed_extension_protocol_options": {OPTIONS: _ONE_REQUEST},
    }


class Side:
    """One proxy under a case."""

    def __init__(self, kind: str, folder: Path, make: Callable[["Side"], Json]) -> None:
        """`make`: the bootstrap."""
        self.folder = folder / "files"
        self.folder.mkdir(parents=True)
        write(self.folder)
        for owner in ("lds", "cds"):
            self._write(owner, version="v0", text="")
        self.proxy = Proxy(kind, json.dumps(make(self)), folder / "proxy")
        self.lines: list[str] = []
        self._connections: list[ssl.SSLSocket] = []

    def begin(self) -> None:
        """Another case."""
        self.lines = []
        while self._connections:
            self._connections.pop().close()

    def note(self, text: str) -> None:
        """Put a line into the transcript; paths become names."""
        self.lines.append(text.replace(str(self.folder), "<files>"))

    def pipe(self, name: str) -> str:
        """The path of a unix socket."""
        return str(self.folder / f"{name}.sock")

    # -- secrets -----------------------------------------------------------------------------------------------

    def first(self, name: str, *resources: Json, text: str = "") -> Json:
        """Write a secret's first file; the reference to it."""
        self._write(name, *resources, version="v1", text=text)
        source = {"path": str(self.folder / f"{name}.json")}
        return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": source}}

    def deliver(self, name: str, *resources: Json, version: str = "v2", text: str = "") -> None:
        """Replace a secret's file; wait until it was looked at."""
        attempts = self.stat(f"sds.{name}.update_attempt")
        self._write(name, *resources, version=version, text=text)
        self.wait_until(lambda: self.stat(f"sds.{name}.update_attempt") > attempts)

    def _write(self, name: str, *resources: Json, version: str, text: str) -> None:
        content = text or json.dumps({"version_info": version, "resources": resources})
        path = self.folder / f"{name}.json"
        if path.exists():
            move(path, content)
        else:
            path.write_text(content)  # a rename would be news to whoever watches the folder

    def source(self, kind: str) -> Json:
        """Where listeners ("lds") or clusters ("cds") come from."""
        return {"resource_api_version": "V3", "path_config_source": {"path": str(self.folder / f"{kind}.json")}}

    def replace(self, kind: str, *resources: Json) -> None:
        """Other listeners or clusters; wait until they are taken."""
        manager = {"lds": "listener_manager.lds", "cds": "cluster_manager.cds"}[kind]
        taken = self.stat(f"{manager}.update_success")
        self._write(kind, *resources, version=f"v{taken}", text="")
        self.wait_for(f"{manager}.update_success", taken + 1)
        self.wait_for("listener_manager.total_listeners_warming", 0)
        self.wait_for("cluster_manager.warming_clusters", 0)
        self.proxy.listeners = self.proxy._listener_addresses()

    def make_folder(self, name: str, certificate: Certificate) -> Path:
        """A folder with a certificate."""
        folder = self.folder / name
        folder.mkdir()
        put(folder, certificate)
        return folder

    def link(self, name: str, target: str) -> None:
        """Have a symbolic link point to another folder, at once."""
        new = self.folder / f"{name}.new"
        new.symlink_to(target)
        new.rename(self.folder / name)

    # -- facts -------------------------------------------------------------------------------------------------

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a fact."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.proxy.kind} waits in vain; so far:\n" + "\n".join(self.lines) + self.proxy.log_tail()
                )
            time.sleep(POLL)

    def stat(self, name: str) -> int:
        """A counter or gauge."""
        return self.proxy.stats(f"^{re.escape(name)}$").get(name, 0)

    def wait_for(self, name: str, value: int) -> None:
        """Wait until a stat has a value."""
        self.wait_until(lambda: self.stat(name) == value)

    def stats(self, *patterns: str) -> None:
        """Stats whose names match, without times."""
        for line in self.proxy.admin("/stats").splitlines():
            name = line.partition(": ")[0]
            if any(re.search(pattern, name) for pattern in patterns) and not re.search("update_(time|duration)", name):
                self.note(line)

    def secret_stats(self, name: str) -> None:
        """Those of a secret's subscription."""
        self.stats(rf"^sds\.{name}\.")

    def dump(self, *names: str) -> None:
        """What /config_dump says of secrets, without times and in the order of their names."""
        configs = json.loads(self.proxy.admin("/config_dump"))["configs"]
        [dump] = [one for one in configs if one["@type"].endswith("SecretsConfigDump")]
        for field in sorted(dump.keys() - {"@type"}):
            for one in sorted(dump[field], key=lambda one: str(one["name"])):
                if one["name"] in names:
                    one.pop("error_state", None)  # Proxeny tells more than Envoy
                    had_time = one.pop("last_updated", None) is not None
                    self.note(f"{field} {had_time} {json.dumps(one)}")

    def certificates(self, *names: str) -> None:
        """The contexts of /certs in which one of these certificates is, in no order."""
        found = []
        for context in json.loads(self.proxy.admin("/certs"))["certificates"]:
            text = json.dumps(context)
            if any(f"{name}.test" in text for name in names):
                found.append(re.sub('"days_until_expiration": "(29|30)"', '"days_until_expiration": "?"', text))
        for text in sorted(found):
            self.note(text)

    def logged(self, *texts: str) -> None:
        """Wait until the log has these words."""
        for text in texts:
            self.wait_until(lambda text=text: text in self._log())  # type: ignore[misc]

    def _log(self) -> str:
        return (self.proxy.folder / "proxy.log").read_text(errors="replace")

    # -- clients -----------------------------------------------------------------------------------------------

    def connect(
        self, name: str, client: str = "", session: Any = None, context: Any = None, sni: str = "any.test"
    ) -> ssl.SSLSocket:
        """A client of a listener after its handshake; `client` names the certificate that it shows."""
        if context is None:
            context = client_context(self.folder, client)
        plain = socket.create_connection(self.proxy.listeners[name], timeout=TIMEOUT)
        try:
            connection: ssl.SSLSocket = context.wrap_socket(plain, server_hostname=sni, session=session)
        except BaseException:
            plain.close()
            raise
        self._connections.append(connection)
        return connection

    def served(self, name: str, client: str = "") -> str:
        """Whose certificate a listener shows to a client that also gets an answer; `refused` or `closed` if not."""
        try:
            with self.connect(name, client) as connection:
                shown = subject_of(connection)
                return f"{shown}, {_get(connection)}"
        except (ssl.SSLError, OSError):
            return "refused"

    def serves(self, name: str, what: str, client: str = "") -> None:
        """Wait until a listener shows a certificate, or refuses."""
        seen: list[str] = []

        def is_served() -> bool:
            seen.append(self.served(name, client))
            return seen[-1] == what

        try:
            self.wait_until(is_served)
        except AssertionError as error:
            raise AssertionError(f"{name} serves {seen[-1]}, not {what}: {error}") from None
        self.note(f"{name} serves {what}")

    def serves_rsa(self, name: str) -> None:
        """Wait until a listener serves a client that takes RSA only."""
        context = client_context(self.folder)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        found: list[ssl.SSLSocket] = []

        def is_served() -> bool:
            try:
                found.append(self.connect(name, context=context, sni="rsa.test"))
            except OSError:
                return False
            return True

        self.wait_until(is_served)
        self.get(found[0])

    def get(self, connection: ssl.SSLSocket) -> None:
        """A request on a connection, and the certificate that it began with."""
        self.note(f"{subject_of(connection)} answers {_get(connection)}")

    def is_known(self, name: str) -> bool:
        """Whether a discovered secret has statistics."""
        return bool(self.proxy.stats(rf"^sds[.]{name}[.]"))

    def fetch(self, name: str, path: str) -> str:
        """Status and body of a request to a listener without TLS; the path without its slash names a cluster."""
        with socket.create_connection(self.proxy.listeners[name], timeout=TIMEOUT) as connection:
            return _get(connection, path)

    def fetches(self, name: str, path: str, what: str) -> None:
        """Wait for an answer."""
        self.wait_until(lambda: self.fetch(name, path) == what)
        self.note(f"{path}: {what}")

    def close(self) -> None:
        self.begin()
        self.proxy.close()


def client_context(folder: Path, client: str = "") -> ssl.SSLContext:
    """A client that verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client:
        context.load_cert_chain(folder / f"{client}.crt", folder / f"{client}.key")
    return context


def subject_of(connection: ssl.SSLSocket) -> str:
    """The first name of the certificate that was shown."""
    shown = connection.getpeercert(binary_form=True)
    for one in (ONE, TWO, THREE, RSA, CLIENT, STRANGER, SHOWN):
        if one.der == shown:
            return one.name
    return "unknown"


def _get(connection: socket.socket, path: str = "/") -> str:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a.test\r\nx-cluster: {path[1:]}\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(4096)
        if not received:
            raise ConnectionResetError
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    while length is not None and len(body) < int(length[1]):
        body += connection.recv(4096)
    return f"{head.split(b' ')[1].decode()} {body.decode()}".strip()
