"""A name server of the tests' own: answers over UDP and TCP from a table that a test changes as it goes.

A name that is not in the table does not exist (NXDOMAIN). What a name does is a list of addresses (A and AAAA records
by their family; a type without any is an empty answer), or a `Fault`.
"""

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

A, CNAME, OPT, AAAA = 1, 5, 41, 28
UDP_PAYLOAD = 512


class Fault(Enum):
    """What else a server does when it is asked."""

    SERVFAIL = 2
    NOTIMP = 4
    REFUSED = 5
    SILENCE = "silence"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"
    """Over UDP and over TCP: nobody ever gets the answer."""
    LOOP = "loop"
    """A CNAME that leads to itself."""


class Query(NamedTuple):
    """One question as it came in."""

    name: str
    kind: int
    tcp: bool
    payload: int
    """The EDNS0 payload size it offered; 0 without."""
    source_port: int


@dataclass
class NameServer:
    """Runs in a thread of its own from the first moment; `close` ends it."""

    records: dict[str, Sequence[str] | Fault] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    """CNAMEs."""
    faults: dict[tuple[str, int], Fault] = field(default_factory=dict)
    """Of one record type of a name: before `records`."""
    ttl: int = 300
    garble: Callable[[bytes], bytes] | None = None
    """Does something to every answer before it goes."""
    queries: list[Query] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopper = socket.socketpair()
        self._open()
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _open(self) -> None:
        """One port for both transports."""
        while True:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            udp.bind(("127.0.0.1", 0))
            self.port: int = udp.getsockname()[1]
            try:
                tcp.bind(("127.0.0.1", self.port))
            except OSError:
                udp.close()
                tcp.close()
                continue
            tcp.listen()
            self._udp, self._tcp = udp, tcp
            for listening in (udp, tcp):
                self._selector.register(listening, selectors.EVENT_READ)
            return

    # -- for tests -----------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """A case begins: nothing is known, nobody has asked."""
        self.records.clear()
        self.aliases.clear()
        self.faults.clear()
        self.ttl = 300
        self.queries.clear()

    def asked(self, name: str, count: int = 1, kind: int | None = None, seconds: float = 20.0) -> None:
        """Wait until a name was asked for so many times from now on."""
        with self._changed:
            start = self._count(name, kind)
            if not self._changed.wait_for(lambda: self._count(name, kind) >= start + count, seconds):
                raise AssertionError(f"{name} was not asked for: {self.queries[-20:]}")

    def _count(self, name: str, kind: int | None) -> int:
        return sum(1 for query in self.queries if query.name == name and kind in (None, query.kind))

    def close(self) -> None:
        self._stopper.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._stopper.close()

    # -- the thread ----------------------------------------------------------------------------------------------
    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stop:
                    return
                if key.fileobj is self._udp:
                    self._on_datagram()
                elif key.fileobj is self._tcp:
                    self._selector.register(self._tcp.accept()[0], selectors.EVENT_READ, bytearray())
                else:
                    self._on_bytes(key)

    def _on_datagram(self) -> None:
        query, peer = self._udp.recvfrom(4096)
        answer = self._answer(query, False, peer[1])
        if answer is not None and self.garble is not None:
            answer = self.garble(answer)
        if answer is not None:
            self._udp.sendto(answer, peer)

    def _on_bytes(self, key: selectors.SelectorKey) -> None:
        connection, buffer = key.fileobj, key.data
        assert isinstance(connection, socket.socket)
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            return
        buffer += data
        while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], "big"):
            size = int.from_bytes(buffer[:2], "big")
            answer = self._answer(bytes(buffer[2 : 2 + size]), True, 0)
            del buffer[: 2 + size]
            if answer is not None:
                connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, query: bytes, tcp: bool, source_port: int) -> bytes | None:
        name, kind, end = _question(query)
        payload = _payload(query, end)
        with self._changed:
            self.queries.append(Query(name, kind, tcp, payload, source_port))
            self._changed.notify_all()
        alias = self.aliases.get(name)
        final = alias or name
        what = self.faults.get((final, kind)) or self.records.get(final)
        if what is Fault.SILENCE:
            return None
        if what is Fault.GARBAGE:
            return query[:2] + b"\x81\x80\x00\x01\xff\xffgarbage"
        records = [] if alias is None else [_record(name, CNAME, _wire_name(alias), self.ttl)]
        code = 0
        if what is None:
            code = 3
        elif what is Fault.LOOP:
            records.append(_record(name, CNAME, _wire_name(name), self.ttl))
        elif isinstance(what, Fault):
            code = what.value if isinstance(what.value, int) else 0
        else:
            records += [_record(final, kind, _packed(kind, ip), self.ttl) for ip in what if _is_of(kind, ip)]
        body = query[12:end] + b"".join(records)
        room = 65535 if tcp else max(payload, UDP_PAYLOAD)
        flags = 0x8180 | code
        if what is Fault.TRUNCATED or 12 + len(body) > room:
            return query[:2] + struct.pack("!5H", flags | 0x0200, 1, 0, 0, 0) + query[12:end]
        return query[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0) + body


def _question(query: bytes) -> tuple[str, int, int]:
    at = 12
    labels = []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
        at += query[at] + 1
    return ".".join(labels).lower(), int.from_bytes(query[at + 1 : at + 3], "big"), at + 5


def _payload(query: bytes, end: int) -> int:
    if query[10:12] == b"\0\0" or query[end + 1 : end + 3] != OPT.to_bytes(2, "big"):
        return 0
    return int.from_bytes(query[end + 3 : end + 5], "big")


def _wire_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _is_of(kind: int, ip: str) -> bool:
    return kind == (AAAA if ":" in ip else A)


def _packed(kind: int, ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if kind == AAAA else socket.AF_INET, ip)


def _record(name: str, kind: int, data: bytes, ttl: int) -> bytes:
    return _wire_name(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data
