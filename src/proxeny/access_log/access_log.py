"""The access log contract (Envoy: AccessLog::Instance) and the log that writes formatted lines to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxeny.access_log.filters import Filter
    from proxeny.access_log.manager import AccessLogFile
    from proxeny.formatter import Formatter
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

TCP_UPSTREAM_CONNECTED = b"TcpUpstreamConnected"
TCP_PERIODIC = b"TcpPeriodic"
TCP_CONNECTION_END = b"TcpConnectionEnd"
DOWNSTREAM_START = b"DownstreamStart"
DOWNSTREAM_PERIODIC = b"DownstreamPeriodic"
DOWNSTREAM_END = b"DownstreamEnd"
DOWNSTREAM_TUNNEL_ESTABLISHED = b"DownstreamTunnelSuccessfullyEstablished"
UPSTREAM_POOL_READY = b"UpstreamPoolReady"
UPSTREAM_PERIODIC = b"UpstreamPeriodic"
UPSTREAM_END = b"UpstreamEnd"
UDP_PERIODIC = b"UdpPeriodic"
UDP_SESSION_END = b"UdpSessionEnd"
NOT_SET = b"NotSet"


class AccessLog(Protocol):
    """Writes a record of one request or connection."""

    commands: frozenset[str]
    """The commands of its format."""

    def log(
        self,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        response_trailers: HeaderMap | None,
        stream_info: StreamInfo,
        log_type: bytes = NOT_SET,
    ) -> None:
        """``log_type``: why the record is written."""
        ...


class FileAccessLog:
    """Formats a line and buffers it, unless the filter says no."""

    __slots__ = ("_file", "_filter", "_format", "_program", "commands")

    def __init__(self, file: AccessLogFile, formatter: Formatter, log_filter: Filter | None) -> None:
        self._file = file
        self._format = formatter.format
        self._program = formatter.program
        self.commands = formatter.commands
        self._filter = None if log_filter is None else log_filter.evaluate

    def log(
        self,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        response_trailers: HeaderMap | None,
        stream_info: StreamInfo,
        log_type: bytes = NOT_SET,
    ) -> None:
        evaluate = self._filter
        if evaluate is not None and not evaluate(
            request_headers, response_headers, response_trailers, stream_info, log_type
        ):
            return
        program = self._program
        if program is not None:
            line = program.format(request_headers, response_headers, response_trailers, stream_info, b"", log_type)
        else:
            line = self._format(request_headers, response_headers, response_trailers, stream_info, b"", log_type)
        self._file.write(line)


class NullAccessLog:
    """What main compiles to: the configuration was checked, nothing is ever logged."""

    __slots__ = ()

    commands: frozenset[str] = frozenset()

    def log(
        self,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        response_trailers: HeaderMap | None,
        stream_info: StreamInfo,
        log_type: bytes = NOT_SET,
    ) -> None:
        return None
