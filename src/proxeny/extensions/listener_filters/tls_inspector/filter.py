"""Finds out whether a connection begins with a TLS ClientHello, and what that hello asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.listener_filters.tls_inspector.fingerprint import ja3, ja4
from proxeny.extensions.listener_filters.tls_inspector.reasons import CONNECTION_REJECTED, failure_text
from proxeny.kernel.client_hello import CLOSED, FOUND, NOT_TLS, ClientHelloParser
from proxeny.listener.filter import ListenerFilter
from proxeny.network.filter import FilterStatus
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.listener.tls_inspector"
"""Also the namespace of its dynamic metadata."""
MAX_CLIENT_HELLO: Final = 16 * 1024
"""``max_client_hello_size`` when unset, and its most."""
MIN_VERSION: Final = 0x0301
MAX_VERSION: Final = 0x0304
FAILURE_REASON: Final = "failure_reason"
TOO_LARGE: Final = "ClientHelloTooLarge"
NOT_DETECTED: Final = "ClientHelloNotDetected"
INVALID_VERSION: Final = "ClientHelloInvalidTlsVersion"

STATS: Final = Schema(
    "tls_inspector",
    counters=(
        "alpn_found",
        "alpn_not_found",
        "client_hello_too_large",
        "sni_found",
        "sni_not_found",
        "tls_found",
        "tls_not_found",
    ),
    histograms=("bytes_processed",),
)
ALPN_FOUND: Final = STATS.slot("alpn_found")
ALPN_NOT_FOUND: Final = STATS.slot("alpn_not_found")
HELLO_TOO_LARGE: Final = STATS.slot("client_hello_too_large")
SNI_FOUND: Final = STATS.slot("sni_found")
SNI_NOT_FOUND: Final = STATS.slot("sni_not_found")
TLS_FOUND: Final = STATS.slot("tls_found")
TLS_NOT_FOUND: Final = STATS.slot("tls_not_found")
BYTES_PROCESSED: Final = STATS.slot("bytes_processed")

CONTINUE: Final = FilterStatus.CONTINUE
STOP: Final = FilterStatus.STOP_ITERATION


class TlsInspectorConfig:
    """The compiled message."""

    __slots__ = ("close_on_error", "first_read", "ja3", "ja4", "max_size", "stats")

    def __init__(self, message: Any, context: FactoryContext) -> None:
        self.stats = context.stats.block(STATS, "tls_inspector.")
        self.ja3 = message.enable_ja3_fingerprinting.value
        self.ja4 = message.enable_ja4_fingerprinting.value
        self.close_on_error = message.close_connection_on_client_hello_parsing_errors
        self.max_size = message.max_client_hello_size.value or MAX_CLIENT_HELLO
        self.first_read = min(message.initial_read_buffer_size.value or self.max_size, self.max_size)


class TlsInspector(ListenerFilter):
    """Inspects one socket."""

    __slots__ = ("_config", "_parser", "_read", "max_read_bytes")

    def __init__(self, config: TlsInspectorConfig) -> None:
        self._config = config
        self._parser = ClientHelloParser()
        self._read = 0
        self.max_read_bytes = config.first_read

    def on_accept(self) -> FilterStatus:
        """Wait for the first bytes."""
        return STOP

    def on_data(self, data: bytes) -> FilterStatus:
        """Read on in the hello."""
        size = len(data)
        if size <= self._read:
            return STOP
        self._read = size
        verdict = self._parser.feed(data)
        if verdict == FOUND:
            status = self._found()
        elif verdict == NOT_TLS:
            status = self._not_found()
        elif verdict == CLOSED:
            status = self._close()
        elif size < self._config.max_size:
            if size >= self.max_read_bytes:
                self.max_read_bytes = min(2 * size, self._config.max_size)
            return STOP
        else:
            self._config.stats.inc(HELLO_TOO_LARGE)
            self._set_failure(TOO_LARGE)
            status = self._close()
        self._config.stats.record(BYTES_PROCESSED, self._parser.processed)
        return status

    def _found(self) -> FilterStatus:
        config, hello, info = self._config, self._parser, self.socket.connection_info
        stats = config.stats
        if config.ja3:
            info.ja3_hash = ja3(hello)
        if config.ja4:
            info.ja4_hash = ja4(hello)
        protocols = hello.protocols
        if protocols is not None:
            # Latin-1 keeps bytes apart that are no UTF-8, for matching and for logs.
            info.requested_application_protocols = tuple([name.decode("latin-1") for name in protocols])
        if hello.server_name:
            info.requested_server_name = hello.server_name.lower().decode("latin-1")
        stats.inc(SNI_FOUND if hello.server_name else SNI_NOT_FOUND)
        if not MIN_VERSION <= hello.version <= MAX_VERSION:
            stats.inc(TLS_NOT_FOUND)
            self._set_failure(INVALID_VERSION)
            info.transport_failure_reason = failure_text(CONNECTION_REJECTED)
            return self._close()
        info.transport_protocol = "tls"
        stats.inc2(TLS_FOUND, ALPN_NOT_FOUND if protocols is None else ALPN_FOUND)
        return CONTINUE

    def _not_found(self) -> FilterStatus:
        config = self._config
        self.socket.connection_info.transport_failure_reason = failure_text(self._parser.error)
        if config.close_on_error and self._read >= config.max_size:
            config.stats.inc(HELLO_TOO_LARGE)
            self._set_failure(TOO_LARGE)
            return self._close()
        config.stats.inc(TLS_NOT_FOUND)
        self._set_failure(NOT_DETECTED)
        return self._close() if config.close_on_error else CONTINUE

    def _set_failure(self, reason: str) -> None:
        self.socket.stream_info.dynamic_metadata.setdefault(NAME, {})[FAILURE_REASON] = reason

    def _close(self) -> FilterStatus:
        self.socket.close()
        return STOP
