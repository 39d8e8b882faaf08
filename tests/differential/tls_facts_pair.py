"""Envoy and Proxeny side by side on the configuration of TLS facts; one exchange on each gives a transcript of each."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from tests.differential import tls_facts_config
from tests.differential.proxies import ENVOY, POLL_SECONDS, PROXENY, Proxy
from tests.differential.upstream import READ_END
from tests.differential.wire import STALL_SECONDS, Wire, read_response

from proxeny.testing.certificates import Authority, Certificate, der_string, make

SPIFFE = "URI:spiffe://mesh.test/ns/a/sa/web"
_SESSION_ID = re.compile(r"(TLS_SESSION_ID=)([0-9a-f]+) ")


@dataclass(frozen=True)
class Exchange:
    """One exchange: a request over TLS (or plain), and what must be found in its transcript."""

    name: str
    listener: str = "main"
    certificate: str = ""
    server_name: str | None = "sni.test"
    alpn: tuple[str, ...] = ("http/1.1",)
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""
    path: str = "/"
    headers: tuple[str, ...] = ()
    plain: bool = False
    contains: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    """Regexes of what is cut out of the transcripts."""


def other_name(tag: int, content: bytes) -> x509.OtherName:
    """An alternative name of a kind of its own."""
    return x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), der_string(tag, content))


def certificates() -> dict[str, Certificate]:
    """All certificates of the test by name."""
    root = Authority("root")
    below = root.intermediate("below")
    odd = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'Müller, "Söhne" + <x>;'),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.test"),
            x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "test"),
            x509.NameAttribute(x509.ObjectIdentifier("1.2.3.4.5"), "unknown"),
            x509.NameAttribute(NameOID.COMMON_NAME, " #odd "),
        ]
    )
    two_in_one = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, "one"),
                    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "two"),
                ]
            )
        ]
    )
    kinds = [
        other_name(0x0C, "grün".encode()),
        other_name(0x02, b"\x2a"),
        other_name(0x01, b"\xff"),
        other_name(0x0A, b"\x07"),
        other_name(0x06, b"\x2a\x03\x04"),
        other_name(0x1E, "ü".encode("utf-16-be")),
        other_name(0x05, b""),
        other_name(0x30, b"\x02\x01\x05"),
    ]
    many = ("DNS:a.test", "DNS:*.b.test", SPIFFE, "URI:https://x.test/?a,b;c=%22", "IP:10.0.0.1", "IP:2001:db8::1")
    return {
        "server": root.issue("server", "DNS:server.test", "URI:spiffe://mesh.test/server"),
        "many": below.issue("many", *many, "email:a@b.test", "otherName:1.2.3;UTF8:me", serial_number=0x0A0B),
        "plain": root.issue("plain", serial_number=1),
        "spiffe": root.issue("spiffe", SPIFFE),
        "below": below.issue("below", "DNS:below.test"),
        "rsa": root.issue("rsa", "DNS:rsa.test", key="rsa2048"),
        "p384": root.issue("p384", "DNS:p384.test", key="p384"),
        "odd": root.issue("odd", "DNS:odd.test", subject=odd),
        "two": root.issue("two", subject=two_in_one),
        "nobody": root.issue("nobody", "DNS:nobody.test", subject=x509.Name([])),
        "kinds": root.issue("kinds", *kinds),
        "large": root.issue("large", serial_number=(1 << 159) - 1),
        "self": make("self", "DNS:self.test", SPIFFE),
        "stranger": Authority("another root").issue("stranger", "DNS:stranger.test"),
    }


class TlsUpstream:
    """Answers requests (and, to a TCP proxy, any bytes) over TLS, each on a connection of its own."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")
        self._context.load_verify_locations(f"{certificate.with_name('server')}.ca")
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.set_alpn_protocols(["http/1.1"])
        self._context.num_tickets = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(STALL_SECONDS)
        try:
            with self._context.wrap_socket(plain, server_side=True) as wrapped:
                wrapped.recv(65536)
                wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                wrapped.unwrap()
        except OSError:
            plain.close()

    def close(self) -> None:
        """Accept nobody any more."""
        self._socket.close()


class FactsPair:
    """The two proxies, and what they share: certificates and TLS upstreams."""

    def __init__(self, folder: Path) -> None:
        self._certificates = folder / "certificates"
        for name, certificate in certificates().items():
            certificate.write(self._certificates, name)
        self._upstreams = {name: TlsUpstream(self._certificates / name) for name in ("server", "many")}
        template = tls_facts_config.template({name: one.port for name, one in self._upstreams.items()})
        template = template.replace("{{certificates}}", str(self._certificates))
        self._pool = ThreadPoolExecutor(2)
        starts = [self._pool.submit(Proxy, kind, template, folder / kind) for kind in (ENVOY, PROXENY)]
        self.sides = [start.result() for start in starts]

    def check(self, exchange: Exchange) -> None:
        """The same exchange on both; AssertionError where their transcripts differ or lack something."""
        envoy, proxeny = self._pool.map(lambda side: self._run(side, exchange), self.sides)
        for text in exchange.contains:
            assert re.search(text, "\n".join(envoy)), f"envoy: no {text!r} in\n" + "\n".join(envoy)
        self._compare(exchange.name, envoy, proxeny)

    def _compare(self, name: str, envoy: list[str], proxeny: list[str]) -> None:
        if envoy != proxeny:
            differing = [f"envoy:   {a}\nproxeny: {b}" for a, b in zip(envoy, proxeny, strict=False) if a != b]
            pytest.fail("\n".join([name, *differing, f"{len(envoy)} {len(proxeny)} lines"]), pytrace=False)

    def check_bytes(self, listener: str, data: bytes, ends: bool, ignore: str) -> None:
        """As ``check``, of a client that sends these bytes, and its end of stream if it ``ends``."""
        envoy, proxeny = (
            [re.sub(ignore, "", line) for line in lines]
            for lines in self._pool.map(lambda side: self._send(side, listener, data, ends), self.sides)
        )
        self._compare(listener, envoy, proxeny)

    def _send(self, side: Proxy, listener: str, data: bytes, ends: bool) -> list[str]:
        log = side.log_path(listener)
        offset = log.stat().st_size if log.exists() else 0
        address = side.address_of(listener)
        assert isinstance(address, tuple)
        with socket.create_connection(address, timeout=STALL_SECONDS) as plain:
            plain.sendall(data)
            if ends:
                plain.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionError):
                while part := plain.recv(4096):
                    received += part
        # What an alert says stands in its seventh byte; a client that is gone may miss it.
        return [f"client < {received[:7].hex()}", *[side.normalise(line) for line in self._log(log, offset)]]

    def _run(self, side: Proxy, exchange: Exchange) -> list[str]:
        upstream = side.upstreams["up"]
        is_tcp = exchange.listener == "tcp"
        upstream.begin((), (READ_END, b"bye") if is_tcp else None)
        log = side.log_path(exchange.listener)
        offset = log.stat().st_size if log.exists() else 0
        lines = self._client(side, exchange)
        for seen in list(upstream.seen):
            lines += [f"upstream > {name.decode()}: {value.decode('latin-1')}" for name, value in seen.headers]
        lines += self._log(log, offset)
        return [line for line in map(lambda line: self._normalise(side, exchange, line), lines) if line]

    def _client(self, side: Proxy, exchange: Exchange) -> list[str]:
        address = side.address_of(exchange.listener)
        assert isinstance(address, tuple)
        connection = socket.create_connection(address, timeout=STALL_SECONDS)
        try:
            if not exchange.plain:
                connection = self._wrap(connection, exchange)
            request = [f"GET {exchange.path} HTTP/1.1", "host: a.test", *exchange.headers, "connection: close", "", ""]
            connection.sendall("\r\n".join(request).encode())
            if exchange.listener == "tcp":
                return self._raw(connection)
            response = read_response(Wire(connection))
        except ssl.SSLError as error:
            return [f"client: {error.reason}"]
        except ConnectionError as error:
            return [f"client: {type(error).__name__}"]
        finally:
            connection.close()
        lines = [f"client < {response.line.decode()} {response.body!r}"]
        lines += [f"client < {name.decode()}: {value.decode('latin-1')}" for name, value in response.headers]
        return lines

    def _raw(self, connection: socket.socket) -> list[str]:
        assert isinstance(connection, ssl.SSLSocket)
        connection.unwrap()
        return []

    def _wrap(self, plain: socket.socket, exchange: Exchange) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = exchange.maximum
        if exchange.alpn:
            context.set_alpn_protocols(list(exchange.alpn))
        if exchange.ciphers:
            context.set_ciphers(exchange.ciphers)
        if exchange.certificate:
            base = self._certificates / exchange.certificate
            context.load_cert_chain(f"{base}.crt", f"{base}.key")
        return context.wrap_socket(plain, server_hostname=exchange.server_name)

    def _log(self, log: Path, offset: int) -> list[str]:
        """The facts of the one line that an exchange writes, each on a line of its own."""
        deadline = time.monotonic() + STALL_SECONDS
        while time.monotonic() < deadline:
            if log.exists():
                with log.open("rb") as file:
                    file.seek(offset)
                    text = file.read()
                if text.endswith(b"\n"):
                    return re.split(r" (?=[A-Z0-9_]+=)", text.decode("utf-8", "surrogateescape"))
            time.sleep(POLL_SECONDS)
        return ["no line in the access log"]

    def _normalise(self, side: Proxy, exchange: Exchange, line: str) -> str:
        line = side.normalise(line)
        line = _SESSION_ID.sub(lambda found: f"{found[1]}<{len(found[2])} digits> ", line + " ")
        line = re.sub(r"(x-request-id|date|x-envoy-upstream-service-time): .*", r"\1: <>", line)
        line = re.sub(r"(HANDSHAKE=)-?[0-9]+", r"\1<ms>", line)
        for text in exchange.ignore:
            line = re.sub(text, "", line)
        return line.strip()

    def close(self) -> None:
        """Stop all."""
        for side in self.sides:
            side.close()
        for upstream in self._upstreams.values():
            upstream.close()
        self._pool.shutdown()


def exchanges_of(listener: str, names: Sequence[str], **more: object) -> list[Exchange]:
    """One exchange with each certificate."""
    return [Exchange(f"{listener}_{name or 'none'}", listener, name, **more) for name in names]  # type: ignore[arg-type]
