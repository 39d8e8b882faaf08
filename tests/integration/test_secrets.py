"""Certificates that change while they are used: no handshake fails, bad files change nothing, new workers know."""

import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxeny.testing.certificates import Authority, Certificate
from proxeny.testing.proxy import RunningProxy

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
ECHO = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
ROOT, OTHER = Authority("root"), Authority("other")
ONE, TWO = ROOT.issue("one", "DNS:one.test"), ROOT.issue("two", "DNS:two.test")
CLIENTS = 3
SWAPS = 8
TIMEOUT_S = 20.0

Start = Callable[..., RunningProxy]


def write(folder: Path, certificate: Certificate) -> Path:
    folder.mkdir()
    (folder / "chain").write_text(certificate.chain_pem)
    (folder / "key").write_text(certificate.key_pem)
    return folder


def replace(path: Path, content: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(content)
    new.rename(path)


def mount(folder: Path, certificate: Certificate) -> None:
    """A folder as Kubernetes makes it: files are links to ``data``, a link to the folder of now."""
    write(folder / "1", certificate)
    (folder / "data").symlink_to("1")
    for name in ("chain", "key"):
        (folder / name).symlink_to(f"data/{name}")


def swap(folder: Path, number: int, certificate: Certificate) -> None:
    """Another content of the whole folder at once."""
    write(folder / str(number), certificate)
    (folder / "data.new").symlink_to(str(number))
    (folder / "data.new").rename(folder / "data")


def in_files(folder: Path) -> dict[str, Any]:
    return {
        "certificate_chain": {"filename": str(folder / "chain")},
        "private_key": {"filename": str(folder / "key")},
    }


def discovered(folder: Path, secret: dict[str, Any]) -> dict[str, Any]:
    """A CommonTlsContext of one discovered certificate."""
    path = folder / "sds.json"
    resource = {"@type": f"{TLS}.Secret", "name": "cert", "tls_certificate": secret}
    replace(path, json.dumps({"resources": [resource]}))
    source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
    return {"tls_certificate_sds_secret_configs": [{"name": "cert", "sds_config": source}]}


def bootstrap(common: dict[str, Any], **more: Any) -> str:
    """A TLS echo."""
    typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common, **more}
    chain = {
        "filters": [{"name": "envoy.filters.network.echo", "typed_config": {"@type": ECHO}}],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed},
    }
    anywhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    listener = {"name": "tls", "stat_prefix": "tls", "address": anywhere, "filter_chains": [chain]}
    return json.dumps(
        {
            "node": {"id": "node", "cluster": "cluster"},
            "admin": {"address": anywhere},
            "static_resources": {"listeners": [listener]},
        }
    )


def client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=ROOT.pem)
    return context


def shown(port: int, context: ssl.SSLContext) -> str:
    """Whose certificate a connection is shown that is answered."""
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"ping")
        assert connection.recv(4) == b"ping"
        return name_of(connection.getpeercert(binary_form=True))


def is_served(port: int, context: ssl.SSLContext) -> bool:
    try:
        return bool(shown(port, context))
    except (OSError, AssertionError):
        return False


def name_of(der: bytes | None) -> str:
    return next(one.name for one in (ONE, TWO) if one.der == der)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Load:
    """Clients that connect again and again."""

    def __init__(self, port: int) -> None:
        self.seen: list[str] = []
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port,)) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int) -> None:
        context = client()
        while not self._stop.is_set():
            try:
                self.seen.append(shown(port, context))
            except Exception as error:
                self.failures.append(error)

    def wait_for(self, name: str) -> None:
        """Until some client was shown the certificate."""
        begin = len(self.seen)
        wait_until(lambda: name in self.seen[begin:] or bool(self.failures))

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("way", ["static", "sds"])
def test_rotation_under_load_fails_no_handshake(proxy: Start, tmp_path: Path, way: str) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    mount(folder, ONE)
    common = {"tls_certificates": [in_files(folder)]}
    if way == "sds":
        common = discovered(tmp_path, {**in_files(folder), "watched_directory": {"path": str(folder)}})
    running = proxy(bootstrap(common), concurrency=2)
    load = Load(running.port("tls"))
    try:
        load.wait_for("one")
        for number in range(2, 2 + SWAPS):
            certificate = (ONE, TWO)[number % 2 == 0]
            swap(folder, number, certificate)
            load.wait_for(certificate.name)
    finally:
        load.end()
    assert load.failures == []
    assert len(load.seen) > SWAPS
    assert running.stat("server.worker_restarts") == 0
    assert running.stat("listener.tls.ssl.connection_error") == 0


def test_trusted_certificates_and_revocation_lists_of_static_configuration(proxy: Start, tmp_path: Path) -> None:
    folder = write(tmp_path / "secret", ONE)
    replace(folder / "ca", OTHER.pem)
    replace(folder / "crl", ROOT.crl() + OTHER.crl())
    peer = ROOT.issue("peer", "DNS:peer.test")
    peers = peer.write(tmp_path)
    validation = {"trusted_ca": {"filename": str(folder / "ca")}, "crl": {"filename": str(folder / "crl")}}
    common = {"tls_certificates": [in_files(folder)], "validation_context": validation}
    running = proxy(bootstrap(common, require_client_certificate=True))
    port, context = running.port("tls"), client()
    context.load_cert_chain(peers.certificate_chain, peers.private_key)
    assert not is_served(port, context)
    replace(folder / "ca", ROOT.pem)
    wait_until(lambda: is_served(port, context))
    replace(folder / "ca", "garbage")
    running.wait_for_stat("secret_files.update_rejected", 1)
    assert is_served(port, context)
    replace(folder / "ca", ROOT.pem)
    replace(folder / "crl", ROOT.crl([peer]))
    wait_until(lambda: not is_served(port, context))


def test_a_handshake_that_began_keeps_its_certificate(proxy: Start, tmp_path: Path) -> None:
    folder = write(tmp_path / "secret", ONE)
    running = proxy(bootstrap({"tls_certificates": [in_files(folder)]}))
    port = running.port("tls")
    context = client()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as plain:
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        hello = outgoing.read()
        plain.sendall(hello[:10])  # the context is the connection's from its beginning
        wait_until(lambda: running.stat("listener.tls.downstream_cx_active") == 1)
        replace(folder / "chain", TWO.chain_pem)
        replace(folder / "key", TWO.key_pem)
        wait_until(lambda: shown(port, context) == "two")
        plain.sendall(hello[10:])
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(plain.recv(65536))
        plain.sendall(outgoing.read())
        assert name_of(session.getpeercert(binary_form=True)) == "one"


def test_bad_files_of_static_configuration_change_nothing(proxy: Start, tmp_path: Path) -> None:
    folder = write(tmp_path / "secret", ONE)
    running = proxy(bootstrap({"tls_certificates": [in_files(folder)]}), concurrency=2)
    port, context = running.port("tls"), client()
    replace(folder / "chain", TWO.chain_pem)
    running.wait_for_stat("secret_files.update_rejected", 1)
    assert {shown(port, context) for _ in range(8)} == {"one"}
    names = f"{folder}/chain, {folder}/key"
    assert f"new content of {names} is refused, what was there before stays in use" in running.log()
    replace(folder / "key", TWO.key_pem)
    running.wait_for_stat("secret_files.update_success", 1)
    wait_until(lambda: {shown(port, context) for _ in range(8)} == {"two"})
    replace(folder / "chain", "garbage")
    running.wait_for_stat("secret_files.update_rejected", 2)
    assert {shown(port, context) for _ in range(8)} == {"two"}


@pytest.mark.parametrize("way", ["static", "sds"])
def test_a_new_worker_has_what_the_others_have(proxy: Start, tmp_path: Path, way: str) -> None:
    folder = write(tmp_path / "secret", ONE)
    secret = in_files(folder)
    running = proxy(bootstrap(discovered(tmp_path, secret) if way == "sds" else {"tls_certificates": [secret]}))
    port, context = running.port("tls"), client()
    assert shown(port, context) == "one"
    replace(folder / "key", TWO.key_pem)
    replace(folder / "chain", TWO.chain_pem)
    wait_until(lambda: shown(port, context) == "two")
    # What is refused now must not reach the replacement either.
    stat = "sds.cert.key_rotation_failed" if way == "sds" else "secret_files.update_rejected"
    before = running.stat(stat)
    replace(folder / "chain", "garbage")
    running.wait_for_stat(stat, before + 1)
    [pid] = running.worker_pids()
    os.kill(pid, signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    wait_until(lambda: running.worker_pids() not in ([], [pid]))
    assert shown(port, context) == "two"
